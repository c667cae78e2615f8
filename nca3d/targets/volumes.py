"""From a volume to a `Target`: labels become classes, RGBA and scalars a coloured body."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import MAX_CLASSES, check_array, check_finite, from_labels, from_rgba
from nca3d.targets.fit import Spacing, centre_in, fit_labels, fit_rgba, labels_present
from nca3d.targets.options import check_fraction, is_number
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.target import Size, Target


class Volume(NamedTuple):
    """What a file holds.

    Attributes:
        voxels: (d, h, w); (d, h, w, 3) colours as uint8; or (d, h, w, 4) straight RGBA, uint8 or floats 0..1.
        spacing: (dz, dy, dx) between them.
        cells: they are cells of a lattice, as `visualize.save` writes them, not samples of something.
        names: words for labels.
        palette: a colour for each label, 0..1.
    """

    voxels: np.ndarray
    spacing: Spacing = (1.0, 1.0, 1.0)
    cells: bool = False
    names: Mapping[int, str] | None = None
    palette: Mapping[int, tuple[float, ...]] | None = None


def from_volume(
    volume: Volume,
    size: Size,
    where: object,
    name: str,
    *,
    margin: int = 1,
    fit: bool | str = True,
    threshold: float | None = None,
    coverage: float = 0.5,
    colormap: str = "magma",
    palette: Any = None,
    names: Any = None,
) -> Target:
    """A volume of labels ("classes"), of RGBA or of scalars ("rgb") as a target; see `read_volume`."""
    coverage = check_fraction(coverage, where, "coverage")
    voxels = volume.voxels
    if voxels.size == 0:
        raise InputError(where, "voxels", voxels.shape, "at least one voxel")
    if voxels.dtype.kind == "f":
        check_finite(voxels, where)
    if fit == "auto":
        fit = not (volume.cells and all(n <= room for n, room in zip(voxels.shape, size, strict=False)))
    if voxels.ndim == 3 and threshold is None and _are_labels(voxels):
        labels = voxels if voxels.dtype.kind in "uib" else voxels.astype(np.int64)
        if not labels.any():
            raise InputError(where, "labels", f"no occupied voxel in {labels.shape}", "at least one label above 0")
        if fit is False:
            labels = centre_in(labels, size, where)
        else:
            labels = fit_labels(labels, size, margin, coverage, where, volume.spacing)
        palette = volume.palette if palette is None else palette
        return from_labels(labels, name, where, palette=palette, names=volume.names if names is None else names)
    if voxels.ndim == 4 and voxels.shape[3] == 4:
        rgba = _cut(check_array(voxels, where), threshold, where)
    else:
        rgba = _painted(voxels, threshold, colormap, where)
    rgba = centre_in(rgba, size, where) if fit is False else fit_rgba(rgba, size, margin, coverage, where, volume.spacing)
    return from_rgba(rgba, name, where)


def _are_labels(voxels: np.ndarray) -> bool:
    """Whole numbers from 0 up, few enough to be classes."""
    if voxels.dtype.kind == "f" and not (voxels == np.round(voxels)).all():
        return False
    return bool(voxels.min() >= 0 and len(labels_present(voxels)) < MAX_CLASSES)


def _cut(rgba: np.ndarray, threshold: Any, where: object) -> np.ndarray:
    """Straight RGBA without the voxels whose alpha is below the threshold, if there is one."""
    if threshold is None:
        return rgba
    most = float(rgba[..., 3].max())
    if not is_number(threshold) or not 0 < threshold <= most:
        raise InputError(where, "threshold", repr(threshold), f"an alpha above 0 and at most {most:.4g}")
    return np.where(rgba[..., 3:] >= threshold, rgba, 0)


def _painted(voxels: np.ndarray, threshold: Any, colormap: str, where: object) -> np.ndarray:
    """Scalars (d, h, w), or colours (d, h, w, 3) by their brightness, cut at the threshold -> straight RGBA, alpha 0 or 1."""
    scalars = voxels.mean(-1) if voxels.ndim == 4 else voxels.astype(np.float64)
    low, high = float(scalars.min()), float(scalars.max())
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
        rgba[body, :3] = map_colours(colormap, 0.25 + 0.75 * (scalars[body] - level) / max(high - level, 1e-12))
    return rgba
