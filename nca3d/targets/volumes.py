"""From a volume to a `Target`: labels become classes, RGBA and scalars become a coloured body."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypedDict, Unpack

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
        labels: Whether the file says that its whole numbers are labels; None = it doesn't say.
        notes: What was decided while it was read, one line each; they go into `Target.notes`.
    """

    voxels: np.ndarray
    spacing: Spacing = (1.0, 1.0, 1.0)
    cells: bool = False
    names: Mapping[int, str] | None = None
    palette: Mapping[int, tuple[float, ...]] | None = None
    labels: bool | None = None
    notes: tuple[str, ...] = ()


class VolumeOptions(TypedDict, total=False):
    """The options of every file that holds voxels.

    Attributes:
        margin: The cells left free at each face, if the volume is fitted or the size is "auto".
        fit: False keeps the volume's own size, True fits it; "auto" keeps the cells of a lattice if there is room for them, and
            fits samples of an object.
        threshold: Scalars at or above it are the body (default: halfway from lowest to highest), of RGBA the voxels with at
            least this alpha (default: all, as they are). Whole numbers become labels unless there is a threshold.
        coverage: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map of the scalars, from the threshold up.
        palette: The colours of the labels, instead of the file's.
        names: The names of the classes, instead of the file's.
    """

    margin: int
    fit: bool | str
    threshold: float | None
    coverage: float
    colormap: str
    palette: object
    names: Sequence[str] | None


def from_volume(volume: Volume, size: Wanted, where: object, name: str, **options: Unpack[VolumeOptions]) -> Target:
    """Makes a target of a volume: of labels "classes", of RGBA or scalars "rgb".

    One whole number a voxel makes "classes", other numbers a body cut at `threshold`. Four bands are straight RGBA: alpha says
    where the body is, so that black cells stay. Three bands are colours, cut by their brightness.

    Args:
        volume: The voxels, with their spacing, names and colours.
        size: The lattice (D, H, W); "auto" = its own cells and the margin, or `place.LONGEST` along the longest side of a scan.
        where: The name that errors give it.
        name: The target's name in reports.
        **options: See `VolumeOptions`.

    Raises:
        InputError: If a value is not finite, nothing is in it or left of it, or an option doesn't fit.
    """
    margin, fit = options.get("margin", 1), options.get("fit", "auto")
    threshold, coverage = options.get("threshold"), options.get("coverage", 0.5)
    colormap, palette, names = options.get("colormap", "magma"), options.get("palette"), options.get("names")
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
        return replace(target, source_size=source_size, notes=(*target.notes, *volume.notes))
    if voxels.ndim == 4 and voxels.shape[3] == 4:
        rgba = _cut(check_array(voxels, where), threshold, where)
    else:
        rgba = _painted(voxels, threshold, colormap, where)
    rgba, source_size = place(rgba, size, margin, coverage, where, fit=fit is not False, spacing=volume.spacing)
    return replace(from_rgba(rgba, name, where), source_size=source_size, notes=volume.notes)


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
