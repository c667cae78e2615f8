"""Where a body stands in the lattice, and how large that is where no size was set (`size = "auto"`).

A source either has a size of its own, in cells (voxel files, arrays, small pictures), or it has not (meshes, scans). The first
is taken cell by cell, the second scaled. A reader says which by how it ends: in `place` with or without `fit`, or in
`scaled_size`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.fit import HAIR, Resampler, Spacing, centre_in, fill_level, fit_rgba, occupied_box
from nca3d.targets.layouts import short_name
from nca3d.targets.options import MAX_CELLS
from nca3d.targets.target import Size, Wanted
from nca3d.targets.vanished import vanished

# The longest side of the lattice of a body without cells of its own: it is grown in minutes, and its legs are two cells thick.
LONGEST = 24
# The longest side that a config takes.
MAX_SIDE = 512


class Placed(NamedTuple):
    """Voxels on the lattice.

    Attributes:
        voxels: Labels (D, H, W) or straight RGBA (D, H, W, 4).
        source_size: The size (d, h, w) of those that came cell by cell; None = they were resampled.
        notes: What became of them, one line each.
    """

    voxels: np.ndarray
    source_size: Size | None = None
    notes: tuple[str, ...] = ()


def place(
    voxels: np.ndarray,
    size: Wanted,
    margin: int,
    threshold: float | None,
    where: object,
    *,
    fit: bool = False,
    spacing: Spacing = (1, 1, 1),
    names: Mapping[int, str] | None = None,
) -> Placed:
    """Puts voxels into a lattice: cell by cell and centred, or resampled to the room inside the margin.

    Args:
        voxels: Integer or bool labels (d, h, w) with 0 empty, or straight RGBA (d, h, w, 4), 0..1.
        size: The lattice (D, H, W). "auto" = the box of what is occupied and the margin; its free border is left out, since
            a canvas is often larger than what is drawn on it, and each of its cells would cost as much as one of the body.
        margin: The cells left free at each face, where the body is resampled or the size is "auto".
        threshold: The share of its volume from which a cell is filled, above 0 to 1, where the body is resampled; None = half,
            or less where the body would lose more than half of its volume.
        where: The name that errors give it.
        fit: Whether to resample.
        spacing: The voxel lengths along the axes (d, h, w), where the body is resampled.
        names: The name of each label that has one, for notes.

    Raises:
        InputError: If the lattice is too small for them, or would be too large.
    """
    # A canvas that is larger than the lattice is cut down to what is drawn on it: what "auto" chooses can also be asked for.
    if size == "auto" or (not fit and any(n > room for n, room in zip(voxels.shape, size, strict=False))):
        box = occupied_box(voxels[..., 3] > 0 if voxels.ndim == 4 else voxels != 0)
        extent = box[:, 1] - box[:, 0]
        if not fit and (size == "auto" or (extent <= size).all()):
            voxels = voxels[tuple(slice(low, high) for low, high in box)]
    if size == "auto":
        size = scaled_size(_thick(extent) * np.array(spacing), margin) if fit else own_size(extent, margin, where)
    if not fit:
        depth, height, width = voxels.shape[:3]
        return Placed(centre_in(voxels, size, where), (depth, height, width))
    if voxels.ndim == 4:
        fitted, level = fit_rgba(voxels, size, margin, threshold, where, spacing)
        return Placed(fitted, None, _filled(level, threshold, where))
    resample = Resampler(occupied_box(voxels != 0), spacing, size, margin, where)
    winner, total = resample.shares(voxels)
    level = fill_level(total, threshold)
    labels = resample.padded(np.where(total >= level - HAIR, winner, 0))
    lost = vanished(voxels, labels, margin, threshold, spacing, names or {}, where)
    return Placed(labels, None, (*_filled(level, threshold, where), *[f"{short_name(where)}: {lost}"] * bool(lost)))


def _filled(level: float, threshold: float | None, where: object) -> tuple[str, ...]:
    """Returns a line that says from which share cells are filled, where that isn't half and nobody asked for it."""
    if threshold is not None or level in (0, 0.5):
        return ()
    return (f"{short_name(where)}: thinner than a cell: cells are filled from {level:.2g} of their volume, not half",)


def own_size(extent: np.ndarray, margin: int, where: object) -> Size:
    """Returns the lattice of a body that keeps its cells: its own extent and the margin, none along an axis of one cell.

    Args:
        extent: The cells of the body along its axes, (3,) for d, h, w.
        margin: The cells left free at each face.
        where: The name that errors give it.

    Raises:
        InputError: If no run can have such a lattice; the error names a size that can be set.
    """
    depth, height, width = (int(n) + (2 * margin if n > 1 else 0) for n in extent)
    if max(depth, height, width) > MAX_SIDE or depth * height * width > MAX_CELLS:
        sides = " × ".join(str(int(n)) for n in extent)
        least = " ".join(map(str, scaled_size(_thick(extent), margin, 2 * LONGEST)))
        allowed = (
            f"at most {MAX_SIDE} cells a side and {MAX_CELLS:,} in all; --size {least} --target-options fit=true resamples it"
        )
        raise InputError(where, "size", f"{sides} cells of its own and a margin of {margin}", allowed)
    return depth, height, width


def scaled_size(sides: Sequence[float] | np.ndarray, margin: int, longest: int = LONGEST) -> Size:
    """Returns the lattice of a body without cells of its own: `longest` along its longest side, else as small as it allows.

    Args:
        sides: The lengths of the body (d, h, w), in any unit; 0 = a flat body, which is one cell thick and has no margin there.
        margin: The cells left free at each face, which the lattice includes.
        longest: The cells of the lattice along the longest side, margin included.
    """
    cell = max(sides) / max(longest - 2 * margin, 1)
    # A hair less, so that a side of exactly so many cells doesn't get one more by rounding.
    depth, height, width = (max(1, math.ceil(side / cell - 1e-6)) + 2 * margin if side else 1 for side in sides)
    return depth, height, width


def _thick(extent: np.ndarray) -> np.ndarray:
    """Returns the sides (d, h, w) of voxels for `scaled_size`: a body of one layer of voxels is flat."""
    return np.where(extent == 1, 0, extent)
