"""The names that `load` knows, and the way from a name or a file to a `Target`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError, nearest
from nca3d.registry import Registry
from nca3d.targets import analytic, carried, creatures
from nca3d.targets.arrays import read_array
from nca3d.targets.build import from_array
from nca3d.targets.fit import Size, parse_orientation, room_for, source_size, turn
from nca3d.targets.meshes import read_mesh
from nca3d.targets.options import check_options, check_size
from nca3d.targets.target import Target
from nca3d.targets.volumes import read_volume

TARGETS = Registry("target")
"""Name -> builder(size, **options) that returns straight RGBA (D, H, W, 4), labels (D, H, W) or a `Target`."""

for _name, _builder in {
    "axolotl": creatures.axolotl,
    "mushroom": creatures.mushroom,
    "toucan": creatures.toucan,
    "cross": analytic.cross,
    "jack": analytic.jack,
    "gyroid": analytic.gyroid,
    "heart": analytic.heart,
    "letter": analytic.letter,
    "sphere": analytic.sphere,
    "torus": analytic.torus,
    "frog": carried.frog,
    "ant": carried.ant,
    "channels": carried.channels,
}.items():
    TARGETS.register(_name)(_builder)

READERS: dict[str, Callable[..., Target]] = {
    **dict.fromkeys((".npy", ".npz"), read_array),
    **dict.fromkeys((".ply", ".obj", ".stl", ".glb"), read_mesh),
    **dict.fromkeys((".vti", ".nii", ".nii.gz"), read_volume),
}
"""File suffix -> reader(path, size, **options)."""


def catalogue() -> dict[str, str]:
    """The names that `load` knows, each with one line about it (nothing is built or loaded)."""
    return {name: (inspect.getdoc(builder) or "").partition("\n")[0] for name, builder in TARGETS.items()}


def load(name_or_path: str | Path, size: Size = (11, 20, 15), **options: Any) -> Target:
    """A target by its name in `catalogue()` or from a file (.npy .npz · .ply .obj .stl .glb · .vti .nii .nii.gz).

    Args:
        name_or_path: a name, or a path.
        size: the lattice (D, H, W).
        **options: `orientation` for all, and those of the target: `margin` in cells (default 1), `fit`, `threshold`,
            `colormap`, `color`, `palette`, `fill`, `key`, `text`, ...

    Raises:
        InputError: no such target, an option that it doesn't take, or a file that can't be used.
    """
    builder, where, name = _source(name_or_path)
    size = check_size(size, where)
    check_options(builder, options, where, more=("orientation",))
    axes = parse_orientation(options.pop("orientation", "xyz"), where)
    before = source_size(size, axes)
    if builder is TARGETS.get(name):
        margin = inspect.signature(builder).parameters.get("margin")
        room_for(before, options.get("margin", margin.default if margin else 0), where)
    made = builder(before, **options)
    target = made if isinstance(made, Target) else from_array(np.asarray(made), before, where, name)
    if target.size != before:
        raise InputError(where, "size", target.size, f"the lattice {before} that was asked for")
    return _turned(target, axes)


def _source(name_or_path: str | Path) -> tuple[Callable[..., Any], object, str]:
    """The builder (size, **options), what errors call it, and its name."""
    if isinstance(name_or_path, str) and name_or_path in TARGETS:
        return TARGETS[name_or_path], f"target {name_or_path!r}", name_or_path
    if not isinstance(name_or_path, str | Path) or not str(name_or_path):
        raise InputError("target", "name", repr(name_or_path), f"{', '.join(sorted(TARGETS))}, or a file ({_suffixes()})")
    path = Path(name_or_path)
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if not path.exists() and not suffix and len(path.parts) == 1:
        allowed = f"{', '.join(sorted(TARGETS))}, or a file ({_suffixes()}){nearest(path.name, TARGETS)}"
        raise InputError("target", "name", repr(path.name), allowed)
    if not path.exists():
        raise InputError(path, "file", "nothing there", "a file that exists, or a name that `nca3d targets` lists")
    if not path.is_file():
        raise InputError(path, "file", "a directory" if path.is_dir() else "no regular file", f"a file ({_suffixes()})")
    if suffix not in READERS:
        raise InputError(path, "suffix", repr(suffix), _suffixes())
    if path.stat().st_size == 0:
        raise InputError(path, "file", "0 bytes", "a file with something in it")
    return _reader(READERS[suffix], path), path, path.stem


def _reader(read: Callable[..., Target], path: Path) -> Callable[..., Target]:
    """A builder that reads one file and still shows which options its reader takes."""

    def build(size: Size, **options: Any) -> Target:
        try:
            return read(path, size, **options)
        except OSError as error:
            raise InputError(path, "file", f"unreadable ({error.strerror or error})", "a readable file") from error

    inner = list(inspect.signature(read).parameters.values())
    build.__signature__ = inspect.Signature(inner[1:])  # type: ignore[attr-defined]
    return build


def _suffixes() -> str:
    return " ".join(sorted(READERS))


def _turned(target: Target, axes: tuple[tuple[int, int], ...]) -> Target:
    if axes == ((0, 1), (1, 1), (2, 1)):
        return target
    from dataclasses import replace

    import torch

    values = torch.from_numpy(turn(target.values.numpy(), axes, first=1))
    occupied = torch.from_numpy(turn(target.occupied.numpy(), axes))
    return replace(target, values=values, occupied=occupied)
