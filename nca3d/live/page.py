"""A trained rule as one HTML file in which its body lives: cut it with the mouse, watch it heal. No server, no network."""

from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.fire import check_seed
from nca3d.lattice import Size
from nca3d.live.creature import targets_of
from nca3d.live.payload import describe
from nca3d.metrics import hues
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.targets import Target

# The files that run the rule, in the order in which they need each other; page and tests use the same ones.
ENGINE = ("kernels.js", "fire.js", "cells.js")


def script(name: str) -> str:
    """Returns the text of a JavaScript file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def live_page(
    rule: Rule, path: str | Path, size: Size, target: Target | None = None, *, title: str | None = None, random_seed: int = 0
) -> Path:
    """Writes a page in which a body lives.

    In the page `window.creature` has the methods `run(steps)`, `status()`, `state()`, `restore({state, step, seed})`,
    `fires(step)`, `cut(wound)`, `seed()`, `play(yes)` and `speed(steps a second)`; see page.js.

    Args:
        rule: A `ConvRule`, or a subclass that keeps its step and its network.
        path: The .html file to write, in a folder that exists.
        size: The lattice (D, H, W).
        target: The body that it should be, for colours, names and the IoU that the page shows; None = no IoU. A rule of several
            bodies has them on its card: the page has a button for each, and a slider between the last two.
        title: The headline; default the target's name.
        random_seed: The seed of the fire masks, used with the step number and sample id 0, as in `nca3d.rollout`.

    Returns:
        The path of the page.

    Raises:
        InputError: If the page can't run the rule, or the target has another lattice or kind.
        ValueError: If the path can't be written.
    """
    from visualize.viewer import check_page_path, packed, page, source, write_page

    file = check_page_path(path, "live")
    check_seed(random_seed)
    about = about_page(rule, size, target, title)
    bodies = _bodies(rule, target)
    described, floats = describe(rule, size, _palette(rule, bodies[0] if bodies else None))
    about |= {"rule": described, "seed": random_seed}
    occupied = b"".join(body.occupied.numpy().astype(np.uint8).tobytes() for body in bodies)
    weights = {
        "floats": packed(floats.astype("<f4").tobytes()),  # little endian, as typed arrays are in every browser
        "target": packed(occupied) if bodies else None,
    }
    # Inert blocks of text: the worker's program is one of them, because a file from disk can't load another.
    blocks = {
        "about": about,
        "weights": weights,
        "fragment": source("body.glsl"),
        "engine": "\n".join(script(name) for name in (*ENGINE, "worker.js")),
    }
    scripts = [*(source(name) for name in ("volume.js", "parts.js", "creature.js")), script("page.js")]
    start = 'await openCreature(root, data("about"), data("weights"), text("fragment"), text("engine"));'
    write_page(page(about["title"], scripts, blocks, start), file)
    return file


def about_page(rule: Rule, size: Size, target: Target | None, title: str | None) -> dict[str, Any]:
    """Returns what the viewer needs to know of a body, for JSON.

    Args:
        rule: The body's rule.
        size: The lattice (D, H, W).
        target: The body that it should be; None = it is compared with nothing.
        title: The headline; None = the target's name.

    Returns:
        The title, the lattice, whether there is an IoU, the box to look at, and names and colours of the classes.

    Raises:
        InputError: If the target has another lattice or kind than the rule.
    """
    about: dict[str, Any] = {
        "title": title or (target.name if target is not None else "creature"),
        "size": list(size),
        "compares": target is not None,
        "names": [],
        "colours": [],
    }
    if isinstance(rule, ConditionalRule):
        bodies = _bodies(rule, target)
        about |= {"bodies": list(rule.conditions), "told": rule.told, "compares": bool(bodies)}
        about["title"] = title or f"one rule, {len(rule.conditions)} bodies"
        boxes = [_box(body) for body in bodies]
        if boxes:
            about["box"] = [np.min([low for low, _ in boxes], 0).tolist(), np.max([high for _, high in boxes], 0).tolist()]
            about |= _legend(rule, bodies)
        return about
    if target is None:
        return about
    if (target.kind, target.visible, target.size) != (rule.visible_kind, rule.visible, tuple(size)):
        found = f"{target.kind} with {target.visible} visible channels, {target.size}"
        allowed = f"{rule.visible_kind} with {rule.visible}, {tuple(size)}, as the rule and its lattice"
        raise InputError("live", "target", found, allowed)
    about["box"] = [corner.tolist() for corner in _box(target)]
    return about | _legend(rule, [target])


def _legend(rule: Rule, bodies: list[Target]) -> dict[str, Any]:
    """Returns names and colours of the classes that some body shows; {} for a rule of colours."""
    if (palette := _palette(rule, bodies[0])) is None:
        return {}
    names = bodies[0].names
    # A small lattice may have lost a class of the source: a legend names only what can be seen.
    present = [k for k in range(1, len(names)) if any(bool((body.values[k] > 0).any()) for body in bodies)]
    return {
        "names": [names[label] for label in present],
        "colours": [np.round(255 * palette[label]).astype(int).tolist() for label in present],
    }


def _bodies(rule: Rule, target: Target | None) -> list[Target]:
    """Returns the bodies that the page compares with: those of a rule of several, as its card names them, or the one."""
    if isinstance(rule, ConditionalRule):
        return [body for body in targets_of(rule) if body is not None]
    return [] if target is None else [target]


def _box(target: Target) -> tuple[np.ndarray, np.ndarray]:
    """Returns the low and the high corner (x, y, z) of a body; the viewer counts x, y, z."""
    cells = np.argwhere(target.occupied.numpy())[:, ::-1]
    return cells.min(axis=0), cells.max(axis=0) + 1


def _palette(rule: Rule, target: Target | None) -> np.ndarray | None:
    """Returns the colours of the classes, float (K, 3) in 0..1; None for a rule of colours."""
    if rule.visible_kind != "classes":
        return None
    return hues(rule.visible) if target is None or target.palette is None else np.asarray(target.palette)
