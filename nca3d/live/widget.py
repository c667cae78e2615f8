"""A living body in Jupyter: the page's viewer, while Python steps the rule. Any rule can live here, also one of your own."""

import copy
import time
from typing import Any

import anywidget
import numpy as np
import traitlets

from nca3d.lattice import Size
from nca3d.live.creature import Creature
from nca3d.live.page import about_page, script
from nca3d.reports.pictures import png_of_pixels
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# The most seconds of stepping for one picture: the notebook must stay responsive.
MAX_SECONDS = 0.1

# Pixels of each side of the still, and its number of colours: some kilobytes in a notebook that is kept in git.
STILL, COLOURS = 320, 128

# The most seconds of growing for the still: a body that takes longer is shown as far as it came.
MAX_STILL_SECONDS = 2.0


class LiveWidget(anywidget.AnyWidget):
    """The widget that `nca3d.live` shows.

    The browser requests steps and gets a picture: there is no thread, and nothing runs when nobody looks.

    Args:
        rule: Any rule.
        size: The lattice (D, H, W).
        target: The body that it should be; None = its IoU isn't known. A rule of several bodies has them on its card.
        title: The headline; None = the target's name.
        random_seed: The seed of the fire masks.
        executor: The executor's name, see `nca3d.rollout`.
        height: The height of the view in pixels.

    Attributes:
        creature: The body itself (`.state`, `.step(n)`, `.cut(wound)`, `.seed()`); call `.refresh()` after using it.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    about = traitlets.Dict().tag(sync=True)
    # What a page shows where the widget's state was saved and no kernel runs: {"step": n, "cells": deflated RGBA, base64}.
    still = traitlets.Dict().tag(sync=True)
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
        self.on_msg(self._receive)

    def refresh(self) -> None:
        """Shows the body as it is now."""
        # Bytes beside the message, not numbers in its JSON: a picture of 32³ cells would be half a megabyte of text.
        picture = np.round(255 * self.creature.rgba()).astype(np.uint8)
        self.send({"frame": self.creature.status()}, [picture.tobytes()])

    def _receive(self, _: object, message: dict[str, Any], __: object) -> None:
        """Carries out one call of the viewer, {call: name, with: value}, and answers it with a picture."""
        call: str | None = message.get("call")
        value: Any = message.get("with")
        if call == "steps":
            start = time.perf_counter()
            for _step in range(int(value)):
                self.creature.step()
                if time.perf_counter() - start > MAX_SECONDS:  # a large body gets fewer steps, not a slower view
                    break
        elif call == "cut":
            self.creature.cut(value)
        elif call == "seed":
            self.creature.seed()
        elif call == "become":
            self.creature.become(value)
        self.refresh()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Returns the live view, and a still of the body for places without one, such as a page that shows notebooks."""
        result = super()._repr_mimebundle_(**options)
        if result is None:
            return None
        # anywidget returns the bundle alone or with its metadata.
        bundle, metadata = result if isinstance(result, tuple) else (result, {})
        from visualize import volume
        from visualize.viewer import packed

        body = self._grown()
        cells = body.rgba()
        self.still = {"step": body.step_number, "cells": packed(np.round(255 * cells).astype(np.uint8).tobytes())}
        low, high = self.about.get("box", ([0, 0, 0], self.creature.size[::-1]))
        box = np.array(low, np.float32), np.array(high, np.float32)
        return {**bundle, "image/png": png_of_pixels(volume(cells, size=(STILL, STILL), box=box), COLOURS)}, metadata

    def _grown(self) -> Creature:
        """Returns the body as a still shows it: as it is, or grown to its horizon where it is one cell still."""
        body = copy.copy(self.creature)  # `step` replaces the state, so that the widget's own body stays what it is
        horizon, start = (body.rule.card or {}).get("horizon", 0), time.perf_counter()
        if body.step_number == 0:
            while body.step_number < horizon and time.perf_counter() - start < MAX_STILL_SECONDS:
                body.step()
        return body
