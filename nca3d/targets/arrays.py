"""From an array to a `Target`: straight RGBA is premultiplied, labels are made one-hot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.labels import LabelOptions, Labels, as_labels, choose, present, without_nan
from nca3d.targets.layouts import HAIR, LAYOUTS, check_rgba, mend, read_layout, short_name
from nca3d.targets.options import MAX_BYTES, check_fraction
from nca3d.targets.palette import parse_palette
from nca3d.targets.place import place
from nca3d.targets.target import OCCUPIED_ALPHA, Target, Wanted

if TYPE_CHECKING:
    import torch


class ArrayOptions(LabelOptions, total=False):
    """The options of every array; fit="auto" keeps its size.

    Attributes:
        threshold: The share of its volume from which a cell is filled, above 0 to 1, with fit=True; None = half, or less where
            the body would lose more than half of its volume.
    """

    threshold: float | None


def from_voxels(
    array: "np.ndarray | torch.Tensor | Labels", where: object, name: str, size: Wanted, **options: Unpack[ArrayOptions]
) -> Target:
    """Makes a target of an array, at its own size and centred, or with fit=True resampled to the room inside the margin.

    Args:
        array: Straight RGBA (D, H, W, 4) or labels (D, H, W), see `read_layout`; or labels with what is known of them.
        where: The name that errors give it, or its file.
        name: The target's name in reports.
        size: The lattice (D, H, W); "auto" = what is occupied and the margin, see `place`.
        **options: See `ArrayOptions`.

    Raises:
        InputError: If the array can't be a target, is larger than the lattice without fit=True, or nothing is left after
            fitting.
    """
    margin, fit, threshold = options.get("margin", 1), options.get("fit", "auto") is True, options.get("threshold")
    palette, names = options.get("palette"), options.get("names")
    if threshold is not None:
        threshold = check_fraction(threshold, where)
    known = array if isinstance(array, Labels) else Labels(np.empty(0), {})
    voxels, notes = read_layout(array.labels if isinstance(array, Labels) else array, where)
    if voxels.ndim == 4:
        for field in ("palette", "labels", "merge"):
            if options.get(field) is not None:
                raise InputError(where, field, f"{field} for RGBA colours", "only with labels")
        faint = int(((voxels[..., 3] > 0) & (voxels[..., 3] <= OCCUPIED_ALPHA)).sum())
        if faint and not fit:
            notes += (f"{short_name(where)}: {faint:,} of its cells, of alpha {OCCUPIED_ALPHA} or less, count as empty",)
        placed = place(check_rgba(voxels, where), size, margin, threshold, where, fit=fit)
        return replace(from_rgba(placed.voxels, name, where), source_size=placed.source_size, notes=(*notes, *placed.notes))
    voxels, filled = without_nan(voxels, options.get("nan"), where)
    sure = voxels.dtype.kind in "uib" or None
    read = as_labels(voxels, where, names=known.names, palette=known.palette, sure=sure)
    if read is None:
        raise InputError(where, "values", *_no_labels(voxels, where))
    read = read.noted(*notes, *filled, *known.notes)
    if voxels.dtype.kind == "f" and voxels.min() >= 0 and voxels.max() <= 1:
        read = read._replace(labels=read.labels != 0)  # a mask
    if read.labels.dtype == bool and names is None and not read.names:
        names = ("empty", "body")
    read = choose(read, options.get("labels"), options.get("merge"), where)
    placed = place(read.labels, size, margin, threshold, where, fit=fit, names=read.names)
    palette = read.palette if palette is None else palette
    target = from_labels(placed.voxels, name, where, palette=palette, names=names or read.names)
    return replace(target, source_size=placed.source_size, notes=(*read.notes, *placed.notes))


def _no_labels(voxels: np.ndarray, where: object) -> tuple[str, str]:
    """Returns what was found in numbers (D, H, W) that are no labels, and what would be allowed."""
    low, high = voxels.min(), voxels.max()
    if low < -1 and not np.any(np.abs(voxels - np.rint(voxels)) > HAIR):
        found = f"{int((voxels < 0).sum())} negative, the least {low:.6g}"
        return found, f"0 (empty) and above, -1 for background; {mend(where, 'np.maximum(a, 0)')} empties those below"
    found = f"{voxels.dtype} measurements (D, H, W) from {low:.4g} to {high:.4g}"
    if low < 0 < high:  # distances to a surface, perhaps
        return found, f"{LAYOUTS}; {mend(where, 'a <= 0')} makes a body of signed distances, {mend(where, 'a > 0')} its outside"
    body = mend(where, f"a > {(float(low) + float(high)) / 2:.4g}")
    return found, f"{LAYOUTS}; {body} makes a body of what is above a level"


def from_rgba(rgba: np.ndarray, name: str, where: object) -> Target:
    """Makes an "rgb" target with premultiplied colours.

    Args:
        rgba: Straight RGBA of the lattice's size, (D, H, W, 4), 0..1.
        name: The target's name in reports.
        where: The name that errors give it.

    Raises:
        InputError: If no cell is occupied.
    """
    import torch

    alpha = rgba[..., 3:].astype(np.float32)
    values = np.moveaxis(np.concatenate([rgba[..., :3] * alpha, alpha], -1), -1, 0).astype(np.float32)
    occupied = values[3] > OCCUPIED_ALPHA
    if not occupied.any():
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    # moveaxis is only a view: the copy has the channels first in memory, as a state does.
    return Target(torch.from_numpy(values.copy()), torch.from_numpy(occupied), "rgb", (), None, name)


def from_labels(
    labels: np.ndarray,
    name: str,
    where: object,
    *,
    palette: object = None,
    names: Sequence[str] | Mapping[int, str] | None = None,
) -> Target:
    """Makes a "classes" target; the labels that occur become classes 1, 2, ... in rising order.

    Args:
        labels: Integer labels of the lattice's size, (D, H, W), 0 is empty.
        name: The target's name in reports.
        where: The name that errors give it.
        palette: One colour for each class, a colour map's name, or the colours of the original labels.
        names: All class names ("empty" first), or the names of the original labels.

    Raises:
        InputError: If no cell is occupied, or the number of names or colours is wrong.
    """
    import torch

    there = [int(label) for label in present(labels)]
    if not there:
        raise InputError(where, "threshold", "no occupied cell after fitting", "a lower threshold or a larger lattice")
    classes = len(there) + 1
    if names is None or isinstance(names, Mapping):
        known = names or {}
        names = ("empty", *(known.get(label, str(label)) for label in there))
    if len(names) != classes:
        raise InputError(where, "names", f"{len(names)} names", f"{classes}, the first of them for empty cells")
    need = 4 * (classes + 1) * labels.size
    if need > MAX_BYTES:
        found = f"{classes - 1} classes on {' × '.join(map(str, labels.shape))} cells, {need:,} bytes"
        raise InputError(where, "size", found, f"at most {MAX_BYTES:,} bytes: a smaller size with fit = true, or fewer labels")
    # Every label occurs in the sorted list, so that its place there is its class.
    index = np.searchsorted(np.array([0, *there]), labels.astype(np.int64))
    onehot = (index[None] == np.arange(classes)[:, None, None, None]).astype(np.float32)
    occupied = index > 0
    values = np.concatenate([onehot, occupied[None].astype(np.float32)])
    if isinstance(palette, Mapping):
        spare = parse_palette(None, classes, where)  # for labels that the table leaves out
        palette = [palette.get(label, spare[i]) for i, label in enumerate(there, 1)]
    colours = parse_palette(palette, classes, where)
    return Target(torch.from_numpy(values), torch.from_numpy(occupied), "classes", tuple(names), colours, name)
