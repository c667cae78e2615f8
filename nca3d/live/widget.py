"""A living body in Jupyter: the page's viewer, with Python stepping the rule. Any rule lives here, also one of one's own."""

import time
from typing import Any

import anywidget
import numpy as np
import traitlets

from nca3d.lattice import Size
from nca3d.live.creature import Creature
from nca3d.live.page import about_page, script
from nca3d.reports.folder import png_of_pixels
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# Seconds of stepping for one picture: the notebook must stay quick.
LONGEST = 0.1


class LiveWidget(anywidget.AnyWidget):
    """What `nca3d.live` shows. The browser asks for steps and is sent a picture: no thread, nothing runs when nobody looks.

    `.creature` is the body itself (`.state`, `.step(n)`, `.cut(wound)`, `.seed()`); call `.refresh()` after using it.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    height = traitlets.Int(480).tag(sync=True)

    def __init__(
        self,
        rule: Rule,
        size: Size,
        target: Target | None = None,
        *,
        title: str | None = None,
        random_seed: int = 0,
        executor: str = "auto",
        height: int = 480,
    ) -> None:
        from visualize.viewer import source

        self.creature = Creature(rule, size, target, random_seed=random_seed, executor=executor)
        about = about_page(rule, self.creature.size, target, title)
        about["fragment"] = source("body.glsl")
        scripts = [*(source(name) for name in ("volume.js", "parts.js", "creature.js")), script("widget.js")]
        super().__init__(_esm="\n".join(scripts), _css=source("style.css"), about=about, height=height)
        self.on_msg(self._hear)

    def refresh(self) -> None:
        """Show the body as it is now."""
        picture = np.round(255 * self.creature.rgba()).astype(np.uint8)
        self.send({"frame": self.creature.status()}, [picture.tobytes()])

    def _hear(self, _: Any, asked: dict[str, Any], __: Any) -> None:
        """One call of the viewer: {call: name, with: value}; each is answered with a picture."""
        call: str | None = asked.get("call")
        given: Any = asked.get("with")
        if call == "steps":
            start = time.perf_counter()
            for _step in range(int(given)):
                self.creature.step()
                if time.perf_counter() - start > LONGEST:
                    break
        elif call == "cut":
            self.creature.cut(given)
        elif call == "seed":
            self.creature.seed()
        self.refresh()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The live view; where there is none, such as on a page that shows notebooks, a still of the body."""
        found = super()._repr_mimebundle_(**options)
        if found is None:
            return None
        bundle, metadata = found if isinstance(found, tuple) else (found, {})
        from visualize import volume

        low, high = self.about.get("box", ([0, 0, 0], self.creature.size[::-1]))
        box = np.array(low, np.float32), np.array(high, np.float32)
        return {**bundle, "image/png": png_of_pixels(volume(self.creature.rgba(), box=box))}, metadata
