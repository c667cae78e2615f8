"""The ways to a `Target`: by a name, from a file, from an array; all of them check, turn and name in one place."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError, nearest
from nca3d.registry import Registry
from nca3d.targets.analytic import cross, gyroid, heart, jack, letter, sphere, torus
from nca3d.targets.arrays import from_voxels
from nca3d.targets.creatures import axolotl, mushroom, toucan
from nca3d.targets.fit import Axes, parse_orientation, room_for, source_size, turn
from nca3d.targets.options import check_options, check_size
from nca3d.targets.pyvista_examples import ant, channels, frog
from nca3d.targets.read_arrays import read_array
from nca3d.targets.read_meshes import read_mesh
from nca3d.targets.read_volumes import read_volume
from nca3d.targets.target import Size, Target

if TYPE_CHECKING:
    import numpy as np
    import torch

# Name -> builder(size, **options) that returns straight RGBA (D, H, W, 4), labels (D, H, W) or a `Target`.
TARGETS = Registry("target")

for _body in (axolotl, mushroom, toucan, cross, jack, gyroid, heart, letter, sphere, torus, frog, ant, channels):
    TARGETS.register(_body.__name__)(_body)

# File suffix -> reader(path, size, **options).
READERS: dict[str, Callable[..., Target]] = {
    **dict.fromkeys((".npy", ".npz"), read_array),
    **dict.fromkeys((".ply", ".obj", ".stl", ".glb"), read_mesh),
    **dict.fromkeys((".vti", ".nii", ".nii.gz"), read_volume),
}


def catalogue() -> dict[str, str]:
    """The names that `load` knows, each with one line about it (nothing is built or loaded)."""
    return {name: (inspect.getdoc(builder) or "").partition("\n")[0] for name, builder in TARGETS.items()}


def load(name_or_path: str | Path, size: Size = (11, 20, 15), **options: object) -> Target:
    """A target by its name in `catalogue()` or from a file (.npy .npz · .ply .obj .stl .glb · .vti .nii .nii.gz).

    Args:
        name_or_path: a name, or a path.
        size: the lattice (D, H, W).
        **options: `orientation` for all, and those of the target: `margin` in cells (default 1), `fit`, `threshold`,
            `colormap`, `color`, `palette`, `fill`, `key`, `text`, ...

    Raises:
        InputError: no such target, an option that it doesn't take, or a file that can't be used.
    """
    return _made(*_source(name_or_path), size, options)


def from_array(rgba_or_labels: "np.ndarray | torch.Tensor", size: Size, *, name: str = "array", **options: object) -> Target:
    """A target from an array in memory, just as `load` makes one from an array in a .npy file.

    Args:
        rgba_or_labels: (D, H, W, 4) straight RGBA, uint8 or float 0..1, which becomes an "rgb" target; or (D, H, W)
            integer or bool labels with 0 empty, which become "classes". numpy or torch, on any device; it is copied.
        size: the lattice (D, H, W). The array keeps its own size and is centred.
        name: what the target is called in reports.
        **options: `fit=True` resamples it to fill the room inside `margin` (cells, default 1; aspect kept), each cell
            filled from the share `threshold` (default 0.5) of its volume; `orientation` turns it; `palette` and `names`
            are those of the classes.

    Raises:
        InputError: not such an array, nothing in it, larger than the lattice without `fit=True`, or an option that
            isn't one of these.
    """
    where = f"target {name!r}"
    return _made(partial(from_voxels, rgba_or_labels, where, name), where, name, size, options)


def _made(make: Callable[..., Any], where: object, name: str, size: object, options: dict[str, Any]) -> Target:
    """What `make` (size, **options) gives, as a target of the lattice `size`, turned as `orientation` says."""
    size = check_size(size, where)
    check_options(make, options, where)
    axes = parse_orientation(options.pop("orientation", "xyz"), where)
    before = source_size(size, axes)
    if make is TARGETS.get(name):
        margin = inspect.signature(make).parameters.get("margin")
        room_for(before, options.get("margin", margin.default if margin else 0), where)
    try:
        made = make(before, **options)
    except OSError as error:
        if not isinstance(where, Path):
            raise
        raise InputError(where, "file", f"unreadable ({error.strerror or error})", "a readable file") from error
    target = made if isinstance(made, Target) else from_voxels(made, where, name, before)
    if target.size != before:
        raise InputError(where, "size", target.size, f"the lattice {before} that was asked for")
    return _turned(target, axes)


def _source(name_or_path: str | Path) -> tuple[Callable[..., Any], object, str]:
    """The builder (size, **options), what errors call it, and its name."""
    if isinstance(name_or_path, str) and name_or_path in TARGETS:
        return TARGETS[name_or_path], f"target {name_or_path!r}", name_or_path
    suffixes = " ".join(sorted(READERS))
    if not isinstance(name_or_path, str | Path) or not str(name_or_path):
        raise InputError("target", "name", repr(name_or_path), f"{', '.join(sorted(TARGETS))}, or a file ({suffixes})")
    path = Path(name_or_path)
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if not path.exists() and not suffix and len(path.parts) == 1:
        allowed = f"{', '.join(sorted(TARGETS))}, or a file ({suffixes}){nearest(path.name, TARGETS)}"
        raise InputError("target", "name", repr(path.name), allowed)
    if not path.exists():
        raise InputError(path, "file", "nothing there", "a file that exists, or a name that `nca3d targets` lists")
    if not path.is_file():
        raise InputError(path, "file", "a directory" if path.is_dir() else "no regular file", f"a file ({suffixes})")
    if suffix not in READERS:
        raise InputError(path, "suffix", repr(suffix), suffixes)
    if path.stat().st_size == 0:
        raise InputError(path, "file", "0 bytes", "a file with something in it")
    return partial(READERS[suffix], path), path, path.stem


def _turned(target: Target, axes: Axes) -> Target:
    if axes == ((0, 1), (1, 1), (2, 1)):
        return target
    import torch

    values = torch.from_numpy(turn(target.values.numpy(), axes, first=1))
    occupied = torch.from_numpy(turn(target.occupied.numpy(), axes))
    return replace(target, values=values, occupied=occupied)
