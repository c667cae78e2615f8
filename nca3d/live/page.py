"""A trained rule as one HTML file in which its body lives: cut it with the mouse, watch it heal. No server, no network."""

from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.fire import check_seed
from nca3d.lattice import Size
from nca3d.live.payload import describe
from nca3d.metrics import hues
from nca3d.rules.cell import Rule
from nca3d.targets import Target

ENGINE = ("kernels.js", "fire.js", "cells.js")


def script(name: str) -> str:
    """The text of a JavaScript file of this folder."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def live_page(
    rule: Rule, path: str | Path, size: Size, target: Target | None = None, *, title: str | None = None, random_seed: int = 0
) -> Path:
    """Writes the page; returns its path.

    In the page `window.creature` answers to `run(steps)`, `status()`, `state()`, `restore({state, step, seed})`, `fires(step)`,
    `cut(wound)`, `seed()`, `play(yes)` and `speed(steps a second)`; see page.js.

    Args:
        rule: a `ConvRule`, or a subclass that keeps its step and its network.
        path: where to, .html, in a folder that exists.
        size: lattice (D, H, W).
        target: what the body should be: its colours and names, and the IoU that the page shows; None = no IoU.
        title: headline; default the target's name.
        random_seed: of the fire masks, with step number and sample id 0, as in `nca3d.rollout`.

    Raises:
        InputError: a rule that the page can't run, a target of another lattice or kind.
        ValueError: a path that can't be written.
    """
    from visualize.viewer import check_page_path, packed, page, source, write_page

    file = check_page_path(path, "live")
    check_seed(random_seed)
    about = about_page(rule, size, target, title)
    described, floats = describe(rule, size, _palette(rule, target))
    about |= {"rule": described, "seed": random_seed}
    weights = {
        "floats": packed(floats.astype("<f4").tobytes()),
        "target": None if target is None else packed(target.occupied.numpy().astype(np.uint8).tobytes()),
    }
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
    """What the viewer wants to know of a body: title, lattice, the box to look at, names and colours of its classes.

    Raises:
        InputError: a target of another lattice or kind than the rule's.
    """
    about: dict[str, Any] = {
        "title": title or (target.name if target is not None else "creature"),
        "size": list(size),
        "compares": target is not None,
        "names": [],
        "colours": [],
    }
    if target is None:
        return about
    wanted = (rule.visible_kind, rule.visible, tuple(size))
    if (target.kind, target.visible, target.size) != wanted:
        found = f"{target.kind} with {target.visible} visible channels, {target.size}"
        raise InputError("live", "target", found, f"{wanted[0]} with {wanted[1]}, {wanted[2]}, as the rule and its lattice")
    cells = np.argwhere(target.occupied.numpy())[:, ::-1]
    about["box"] = [cells.min(axis=0).tolist(), (cells.max(axis=0) + 1).tolist()]
    if (palette := _palette(rule, target)) is not None:
        there = [label for label in range(1, len(target.names)) if bool((target.values[label] > 0).any())]
        about["names"] = [target.names[label] for label in there]
        about["colours"] = [np.round(255 * palette[label]).astype(int).tolist() for label in there]
    return about


def _palette(rule: Rule, target: Target | None) -> np.ndarray | None:
    if rule.visible_kind != "classes":
        return None
    return hues(rule.visible) if target is None or target.palette is None else np.asarray(target.palette)
