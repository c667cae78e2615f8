"""From a volume to a `Target`: labels become classes, RGBA and scalars become a coloured body."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import MAX_CLASSES, check_array, check_finite, from_labels, from_rgba
from nca3d.targets.fit import Spacing, labels_present
from nca3d.targets.options import check_fraction, is_number
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.place import place
from nca3d.targets.target import Target, Wanted


class Volume(NamedTuple):
    """The content of a volume file.

    Attributes:
        voxels: Labels or scalars (d, h, w), colours as uint8 (d, h, w, 3), or straight RGBA (d, h, w, 4), uint8 or floats
            0..1.
        spacing: The distances (dz, dy, dx) between voxels, in any unit.
        cells: Whether the voxels are cells of a lattice, as `visualize.save` writes them, and not samples of an object.
        names: The name of each label; None = the file has none.
        palette: The colour of each label, 0..1; None = the file has none.
    """

    voxels: np.ndarray
    spacing: Spacing = (1.0, 1.0, 1.0)
    cells: bool = False
    names: Mapping[int, str] | None = None
    palette: Mapping[int, tuple[float, ...]] | None = None


def from_volume(
    volume: Volume,
    size: Wanted,
    where: object,
    name: str,
    *,
    margin: int = 1,
    fit: bool | str = True,
    threshold: float | None = None,
    coverage: float = 0.5,
    colormap: str = "magma",
    palette: object = None,
    names: Sequence[str] | None = None,
) -> Target:
    """Makes a target of a volume: of labels "classes", of RGBA or scalars "rgb".

    Args:
        volume: The voxels, with their spacing, names and colours.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, or `place.LONGEST` along the longest side of a scan.
        where: The name that errors give it.
        name: The target's name in reports.
        margin: The cells left free at each face, if it is fitted.
        fit: True fits the volume, False keeps its own size, "auto" keeps it for cells of a lattice that has room.
        threshold: The level from which scalars, or the alpha of RGBA, are the body; see `read_volume`.
        coverage: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map of the scalars, from the threshold up.
        palette: The colours of the labels; None = the volume's own.
        names: The names of the classes; None = the volume's own.

    Raises:
        InputError: If a value is not finite, nothing is in it or left of it, or an option doesn't fit.
    """
    coverage = check_fraction(coverage, where, "coverage")
    voxels = volume.voxels
    if voxels.size == 0:
        raise InputError(where, "voxels", voxels.shape, "at least one voxel")
    if voxels.dtype.kind == "f":
        check_finite(voxels, where)
    if fit == "auto":
        # Cells come back cell by cell; samples of something have no size that a lattice should keep.
        room = voxels.shape[:3] if size == "auto" else size
        fit = not (volume.cells and all(n <= most for n, most in zip(voxels.shape, room, strict=False)))
    if voxels.ndim == 3 and threshold is None and _are_labels(voxels):
        labels = voxels if voxels.dtype.kind in "uib" else voxels.astype(np.int64)  # files often hold labels as floats
        if not labels.any():
            raise InputError(where, "labels", f"no occupied voxel in {labels.shape}", "at least one label above 0")
        labels, source_size = place(labels, size, margin, coverage, where, fit=fit is not False, spacing=volume.spacing)
        palette = volume.palette if palette is None else palette
        target = from_labels(labels, name, where, palette=palette, names=volume.names if names is None else names)
        return replace(target, source_size=source_size)
    if voxels.ndim == 4 and voxels.shape[3] == 4:
        rgba = _cut(check_array(voxels, where), threshold, where)
    else:
        rgba = _painted(voxels, threshold, colormap, where)
    rgba, source_size = place(rgba, size, margin, coverage, where, fit=fit is not False, spacing=volume.spacing)
    return replace(from_rgba(rgba, name, where), source_size=source_size)


def _are_labels(voxels: np.ndarray) -> bool:
    """Whether all voxels are whole numbers from 0 up, few enough to be classes."""
    if voxels.dtype.kind == "f" and not (voxels == np.round(voxels)).all():
        return False
    return bool(voxels.min() >= 0 and len(labels_present(voxels)) < MAX_CLASSES)


def _cut(rgba: np.ndarray, threshold: float | None, where: object) -> np.ndarray:
    """Returns straight RGBA without the voxels whose alpha is below the threshold, if there is one."""
    if threshold is None:
        return rgba
    most = float(rgba[..., 3].max())
    if not is_number(threshold) or not 0 < threshold <= most:
        raise InputError(where, "threshold", repr(threshold), f"an alpha above 0 and at most {most:.4g}")
    return np.where(rgba[..., 3:] >= threshold, rgba, 0)


def _painted(voxels: np.ndarray, threshold: float | None, colormap: str, where: object) -> np.ndarray:
    """Cuts scalars (d, h, w), or colours (d, h, w, 3) by their brightness, at the threshold.

    Returns:
        Straight RGBA (d, h, w, 4) with alpha 0 or 1.
    """
    scalars = voxels.mean(-1) if voxels.ndim == 4 else voxels.astype(np.float64)
    low, high = float(scalars.min()), float(scalars.max())
    # Halfway between the extremes: for a bright object on a dark ground that is its rim.
    level = (low + high) / 2 if threshold is None else threshold
    if not is_number(level) or not math.isfinite(level):
        raise InputError(where, "threshold", repr(level), f"a number in {low:.4g}..{high:.4g}")
    body = scalars >= level
    if not body.any() or low == high:
        allowed = f"a number in {low:.4g}..{high:.4g} with some voxels at or above it"
        raise InputError(where, "threshold", f"{level:.4g}", allowed)
    rgba = np.zeros((*body.shape, 4), np.float32)
    rgba[..., 3] = body
    if voxels.ndim == 4:
        rgba[body, :3] = voxels[body] / 255
    else:
        # The lowest quarter of the map is left out: it is nearly black, and a dark skin would hide the shape.
        rgba[body, :3] = map_colours(colormap, 0.25 + 0.75 * (scalars[body] - level) / max(high - level, 1e-12))
    return rgba
