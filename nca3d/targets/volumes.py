"""From a volume to a `Target`: labels become classes, RGBA and scalars become a coloured body."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.arrays import from_labels, from_rgba
from nca3d.targets.fit import Spacing, occupied_box
from nca3d.targets.labels import LabelOptions, as_labels, choose, without_nan
from nca3d.targets.layouts import check_rgba, read_layout, short_name
from nca3d.targets.options import check_fraction, is_number
from nca3d.targets.palette import colormap as map_colours
from nca3d.targets.place import place
from nca3d.targets.target import Size, Target, Wanted

# A body of fewer cells than this is hardly what its owner meant.
FEW = 8


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


class VolumeOptions(LabelOptions, total=False):
    """The options of every file that holds voxels; fit="auto" keeps cells if there is room, and fits samples of an object.

    Attributes:
        threshold: Scalars at or above it are the body (default: Otsu's, which parts dark from bright best), of RGBA the voxels
            with at least this alpha (default: all, as they are). Whole numbers become labels unless there is a threshold.
        coverage: The share of its volume from which a cell is filled, above 0 to 1; None = half, or less where the body would
            lose more than half of its volume.
        colormap: The colour map of the scalars, from the threshold up.
    """

    threshold: float | None
    coverage: float | None
    colormap: str


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
    margin, fit, palette = options.get("margin", 1), options.get("fit", "auto"), options.get("palette")
    threshold, names = options.get("threshold"), options.get("names")
    coverage = options.get("coverage")
    if coverage is not None:
        coverage = check_fraction(coverage, where, "coverage")
    if volume.voxels.size == 0:
        raise InputError(where, "voxels", volume.voxels.shape, "at least one voxel")
    voxels, filled = without_nan(volume.voxels, options.get("nan"), where)
    notes = (*volume.notes, *filled)
    if fit == "auto":
        # Cells come back cell by cell; samples of something have no size that a lattice should keep.
        fit = not (volume.cells and (size == "auto" or _has_room(voxels, size)))
        if fit and volume.cells:
            notes += (f"{short_name(where)}: its {_sides(voxels)} cells have no room here and are resampled",)
    how: dict[str, Any] = {"fit": fit is not False, "spacing": volume.spacing}
    read = None
    if voxels.ndim == 3 and threshold is None:
        read = as_labels(voxels, where, names=volume.names, palette=volume.palette, sure=volume.labels)
    if read is not None:
        way_on = "" if volume.labels else "; threshold = … cuts measurements"
        read = choose(read, options.get("labels"), options.get("merge"), where, way_on)
        placed = place(read.labels, size, margin, coverage, where, names=read.names, **how)
        palette = read.palette if palette is None else palette
        target = from_labels(placed.voxels, name, where, palette=palette, names=names or read.names)
        notes += read.notes
    else:
        for field in ("labels", "merge"):
            if options.get(field) is not None:
                raise InputError(where, field, f"{field} for {voxels.dtype} colours or measurements", "only with labels")
        if voxels.ndim == 4 and voxels.shape[3] == 4:
            rgba = _cut(check_rgba(read_layout(voxels, where)[0], where), threshold, where)
        else:
            rgba, cut = _painted(voxels, threshold, options.get("colormap", "magma"), where)
            notes += cut
        placed = place(rgba, size, margin, coverage, where, **how)
        target = from_rgba(placed.voxels, name, where)
    few = int(target.occupied.sum())
    if how["fit"] and few < FEW:
        words = f"only {few} cell{'s' * (few > 1)} of it; a lower threshold or a larger size shows more"
        notes += (f"{short_name(where)}: {words}",)
    return replace(target, source_size=placed.source_size, notes=(*target.notes, *notes, *placed.notes))


def _has_room(voxels: np.ndarray, size: Size) -> bool:
    """Whether voxels (d, h, w, …) have room in a lattice, or what is drawn on their canvas has."""
    drawn = voxels[..., 3] > 0 if voxels.ndim == 4 and voxels.shape[3] == 4 else voxels != 0
    if all(n <= room for n, room in zip(voxels.shape, size, strict=False)) or drawn.ndim == 4 or not drawn.any():
        return True  # what is empty is refused later
    return bool((np.ptp(occupied_box(drawn), axis=1) <= size).all())


def _sides(voxels: np.ndarray) -> str:
    """Returns the sides of voxels (d, h, w, …) as people write them."""
    return " × ".join(map(str, voxels.shape[:3]))


def _cut(rgba: np.ndarray, threshold: float | None, where: object) -> np.ndarray:
    """Returns straight RGBA without the voxels whose alpha is below the threshold, if there is one."""
    if threshold is None:
        return rgba
    most = float(rgba[..., 3].max())
    if not is_number(threshold) or not 0 < threshold <= most:
        raise InputError(where, "threshold", repr(threshold), f"an alpha above 0 and at most {most:.4g}")
    return np.where(rgba[..., 3:] >= threshold, rgba, 0)


def _painted(voxels: np.ndarray, threshold: float | None, colormap: str, where: object) -> tuple[np.ndarray, tuple[str, ...]]:
    """Cuts scalars (d, h, w), or colours (d, h, w, 3) by their brightness, at the threshold.

    Returns:
        Straight RGBA (d, h, w, 4) with alpha 0 or 1, and a line that says where they were cut, if nobody asked for that level.
    """
    scalars = voxels.mean(-1) if voxels.ndim == 4 else voxels.astype(np.float64)
    low, high = float(scalars.min()), float(scalars.max())
    if low == high:
        raise InputError(
            where, "threshold", f"one value everywhere, {low:.4g}", "numbers that tell a body from what is around it"
        )
    level = otsu(scalars) if threshold is None else threshold
    if not is_number(level) or not math.isfinite(level):
        raise InputError(where, "threshold", repr(level), f"a number in {low:.4g}..{high:.4g}")
    body = scalars >= level
    if not body.any():
        allowed = f"a number in {low:.4g}..{high:.4g} with some voxels at or above it"
        raise InputError(where, "threshold", f"{level:.4g}", allowed)
    rgba = np.zeros((*body.shape, 4), np.float32)
    rgba[..., 3] = body
    if voxels.ndim == 4:
        rgba[body, :3] = voxels[body] / 255
    else:
        # The lowest quarter of the map is left out: it is nearly black, and a dark skin would hide the shape.
        rgba[body, :3] = map_colours(colormap, 0.25 + 0.75 * (scalars[body] - level) / max(high - level, 1e-12))
    what = "brightness" if voxels.ndim == 4 else "measurements"
    words = f"{short_name(where)}: {what} from {low:.4g} to {high:.4g}, cut at {level:.4g}; threshold = … cuts elsewhere"
    return rgba, (words,) if threshold is None else ()


def otsu(scalars: np.ndarray) -> float:
    """Returns the level that parts numbers (…) best into dark and bright (Otsu 1979, "A threshold selection method")."""
    low, high = scalars.min(), scalars.max()
    # On 0..1, because numpy makes no bins where numbers are huge or all but equal. Halves: their difference doesn't overflow.
    scalars = (scalars / 2 - low / 2) / (high / 2 - low / 2 or 1)
    counts, edges = np.histogram(scalars, 512, (0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(counts), counts.sum() - np.cumsum(counts)
    sums = np.cumsum(counts * middles)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    # Of equal levels, as in a gap between two values, the one in the middle.
    best = np.flatnonzero(np.nan_to_num(apart) >= np.nan_to_num(apart).max() * (1 - 1e-12))
    share = (edges[best[0] + 1] + edges[best[-1] + 1]) / 2
    return float(low * (1 - share) + high * share)
