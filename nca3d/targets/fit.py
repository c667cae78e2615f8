"""Turning and fitting a body into the lattice: axes, margin, centring, and resampling that keeps the aspect."""

import re
from collections.abc import Sequence

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.target import Size

Spacing = tuple[float, float, float]
# For each array axis D, H, W of the lattice: (array axis of the source, sign).
Axes = tuple[tuple[int, int], ...]
# A range of cells along each of the axes D, H, W.
Window = Sequence[range]
# A hair below a share: one of exactly a half must not be lost to rounding.
HAIR = 1e-6


def parse_orientation(text: object, where: object) -> Axes:
    """Reads an orientation: what x, y and z of the lattice are in the source, in that order.

    Args:
        text: Three letters with optional signs. "xyz" changes nothing, "x-zy" stands a mesh with y up upright.
        where: The name that errors give the target.

    Raises:
        InputError: If x, y and z are not there once each.
    """
    parts = re.fullmatch(r"([+-]?[xyz])([+-]?[xyz])([+-]?[xyz])", text) if isinstance(text, str) else None
    if parts is None or len({part[-1] for part in parts.groups()}) != 3:
        allowed = "x, y and z once each, with an optional sign: what lattice x, y, z are in the source, as in 'x-zy'"
        raise InputError(where, "orientation", repr(text), allowed)
    # Array axes run z, y, x: axis 0 is D, and the letters come in the order of x, y, z.
    return tuple(("zyx".index(part[-1]), -1 if part[0] == "-" else 1) for part in reversed(parts.groups()))


def source_size(size: Size, axes: Axes) -> Size:
    """Returns the size before turning that gives `size` after it."""
    before = {axis: count for count, (axis, _) in zip(size, axes, strict=True)}
    return before[0], before[1], before[2]


def turned_size(size: Size, axes: Axes) -> Size:
    """Returns the size after turning what has this size before it."""
    depth, height, width = (size[axis] for axis, _ in axes)
    return depth, height, width


def turn(array: np.ndarray, axes: Axes, first: int = 0) -> np.ndarray:
    """Returns an array with its three space axes permuted and flipped.

    Args:
        array: Voxels (D, H, W) or values (C, D, H, W).
        axes: What `parse_orientation` read.
        first: The place of D among the axes.
    """
    order = [*range(first), *(first + axis for axis, _ in axes), *range(first + 3, array.ndim)]
    flip = tuple(first + i for i, (_, sign) in enumerate(axes) if sign < 0)
    return np.ascontiguousarray(np.flip(array.transpose(order), flip))


def centre_in(array: np.ndarray, size: Size, where: object) -> np.ndarray:
    """Puts an array as it is into the middle of the lattice, with zeros around it.

    Args:
        array: Voxels, (d, h, w) or (d, h, w, 4).
        size: The lattice (D, H, W).
        where: The name that errors give it.

    Returns:
        Voxels, (D, H, W) or (D, H, W, 4).

    Raises:
        InputError: If it is larger than the lattice; both sizes are named.
    """
    shape = array.shape[:3]
    if any(n > room for n, room in zip(shape, size, strict=True)):
        allowed = f"at most the lattice {size} (D, H, W); fit=True resamples it, size = 'auto' makes room"
        raise InputError(where, "size", f"{tuple(shape)}", allowed)
    pad = [((room - n) // 2, room - n - (room - n) // 2) for n, room in zip(shape, size, strict=True)]
    return np.pad(array, pad + [(0, 0)] * (array.ndim - 3))


def margins(size: Size, margin: int) -> Size:
    """Returns the free cells at each face along (D, H, W): none along an axis of a single cell, which the body needs."""
    depth, height, width = (0 if n == 1 else margin for n in size)
    return depth, height, width


def room_for(size: Size, margin: int, where: object) -> Size:
    """Returns the size of the room inside the margin.

    Raises:
        InputError: If nothing is left.
    """
    depth, height, width = (n - 2 * free for n, free in zip(size, margins(size, margin), strict=True))
    if min(depth, height, width) < 1:
        least = min(n for n in size if n > 1)
        raise InputError(where, "margin", margin, f"0..{(least - 1) // 2} on a lattice of {size}")
    return depth, height, width


def _overlap(count: int, first: int, low: float, step: float, cells: range) -> np.ndarray:
    """Returns the share of each cell (rows) that each of `count` voxels from index `first` on covers (columns)."""
    start = low + step * np.array(cells)[:, None]
    voxel = first + np.arange(count)[None]
    shared = np.minimum(start + step, voxel + 1) - np.maximum(start, voxel)
    return (np.clip(shared, 0, None) / step).astype(np.float32)


class Resampler:
    """Averages voxels over each cell's volume, from a box into the room inside the margin (aspect kept, centred).

    Attributes:
        room: The cells (d, h, w) inside the margin.
        step: The voxels along a cell's sides, (3,).
        low: The place of the room's corner among the voxels, (3,).

    Args:
        box: The first voxel and one past the last along each axis, (3, 2).
        spacing: The voxel lengths along the axes (d, h, w).
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        where: The name that errors give the target.
    """

    def __init__(self, box: np.ndarray, spacing: Spacing, size: Size, margin: int, where: object) -> None:
        self.size, self.margins = size, margins(size, margin)
        self.room = room_for(size, margin, where)
        voxels, cells = box[:, 1] - box[:, 0], np.array(self.room)
        # Flat in a flat lattice: its one layer is the lattice's, however long cells are in the other directions.
        flat = (voxels == 1) & (cells == 1)
        # One cell is as long in every direction, in the units of the source; `step` counts it in voxels of each axis.
        side = float((voxels * np.array(spacing) / cells)[~flat].max(initial=0))
        self.step = np.where(flat, 1, side / np.array(spacing))
        self.low = box.mean(1) - np.array(self.room) / 2 * self.step

    def average(self, voxels: np.ndarray, first: Sequence[int] = (0, 0, 0), cells: Window | None = None) -> np.ndarray:
        """Returns the mean of the voxels in each cell of the room, float32 (d, h, w).

        Args:
            voxels: Part of the source, (d, h, w).
            first: The index of its first voxel in the source.
            cells: The cells of the room along each axis; None = all.
        """
        part = voxels.astype(np.float32)
        for axis, wanted in enumerate(cells or map(range, self.room)):  # a box filter is separable: three small matrices
            weights = _overlap(part.shape[axis], first[axis], self.low[axis], self.step[axis], wanted)
            part = np.moveaxis(np.tensordot(weights, part, (1, axis)), 0, axis)
        return part

    def padded(self, cells: np.ndarray) -> np.ndarray:
        """Returns cells of the room with the margin around them, (D, H, W) or (D, H, W, 4)."""
        return np.pad(cells, [(free, free) for free in self.margins] + [(0, 0)] * (cells.ndim - 3))

    def shares(self, labels: np.ndarray, cells: Window | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns the most frequent label of each cell of the room, and how much of it is filled, both (d, h, w).

        Args:
            labels: The labels of the whole source, (d, h, w), 0 is empty.
            cells: The cells of the room along each axis; None = all.
        """
        start = [0, 0, 0]
        if cells is not None:  # what lies in these cells is enough
            first, last = (np.array([getattr(c, end) for c in cells]) for end in ("start", "stop"))
            start = np.maximum(np.floor(self.low + self.step * first), 0).astype(int).tolist()
            stop = np.maximum(np.ceil(self.low + self.step * last), start).astype(int)
            labels = labels[tuple(map(slice, start, stop))]
        shape = [len(c) for c in cells or map(range, self.room)]
        best, total, winner = np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.int64)
        places = np.nonzero(labels)
        kinds = labels[places].astype(np.int64)
        for label in np.unique(kinds):
            # Only the box of one label at a time: organs are small in a scan of 32 million voxels.
            mine = kinds == label
            spans = [(int(at[mine].min()), int(at[mine].max()) + 1) for at in places]
            part = labels[tuple(slice(*span) for span in spans)] == label
            share = self.average(part, [at + low for at, (low, _) in zip(start, spans, strict=True)], cells)
            total += share
            winner[share > best] = label
            best = np.maximum(best, share)
        return winner, total


def fill_level(total: np.ndarray, threshold: float | None) -> float:
    """Returns the share from which cells are filled: the threshold, or where there is none, half.

    A body that is thinner than a cell would lose most of itself at half: where less than half of its volume would stay, it is
    the share at which as many cells are filled as its volume makes.

    Args:
        total: The share of each cell that is filled, (d, h, w).
        threshold: The share that is asked for; None = none is.
    """
    if threshold is not None:
        return threshold
    volume = float(total.sum(dtype=np.float64))
    if (total >= 0.5 - HAIR).sum() >= volume / 2:
        return 0.5
    ranked = np.sort(total, axis=None)[::-1]
    return float(ranked[min(max(round(volume), 1), int((ranked > 0).sum())) - 1])


def occupied_box(occupied: np.ndarray) -> np.ndarray:
    """Returns the box of the occupied voxels: the first index and one past the last along each axis, (3, 2)."""
    hits = [np.flatnonzero(occupied.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return np.array([(hit[0], hit[-1] + 1) for hit in hits])


def fit_labels(
    labels: np.ndarray,
    size: Size,
    margin: int,
    threshold: float | None,
    where: object,
    spacing: Spacing = (1, 1, 1),
    whole: bool = False,
) -> np.ndarray:
    """Resamples labels to the lattice; each cell gets the most frequent label in it.

    Args:
        labels: Integer labels (d, h, w), 0 is empty.
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        threshold: The share of its volume from which a cell is filled, see `fill_level`.
        where: The name that errors give the target.
        spacing: The voxel lengths along the axes (d, h, w).
        whole: Whether to fit the whole block of voxels, not the occupied part of it.

    Returns:
        Labels (D, H, W).
    """
    box = np.array([(0, n) for n in labels.shape]) if whole else occupied_box(labels != 0)
    resample = Resampler(box, spacing, size, margin, where)
    winner, total = resample.shares(labels)
    return resample.padded(np.where(total >= fill_level(total, threshold) - HAIR, winner, 0))


def fit_rgba(
    rgba: np.ndarray, size: Size, margin: int, threshold: float | None, where: object, spacing: Spacing = (1, 1, 1)
) -> tuple[np.ndarray, float]:
    """Resamples straight RGBA to the lattice; a body with crisp alpha (0 or 1) stays crisp.

    Args:
        rgba: Straight RGBA (d, h, w, 4), 0..1.
        size: The lattice (D, H, W).
        margin: The cells left free at each face.
        threshold: The share of its volume from which a cell of a crisp body is filled, see `fill_level`.
        where: The name that errors give the target.
        spacing: The voxel lengths along the axes (d, h, w).

    Returns:
        Straight RGBA (D, H, W, 4), 0..1, and the share from which cells are filled, 0 where alpha is kept as it is.
    """
    alpha = rgba[..., 3]
    resample = Resampler(occupied_box(alpha > 0), spacing, size, margin, where)
    # Colours are averaged with their alpha as weight, or empty voxels would darken the rim.
    cover = resample.average(alpha)
    colour = np.stack([resample.average(rgba[..., c] * alpha) for c in range(3)], -1) / np.maximum(cover, 1e-9)[..., None]
    crisp = bool(((alpha == 0) | (alpha == 1)).all())
    level = fill_level(cover, threshold) if crisp else 0.0
    new = (cover >= level - HAIR).astype(np.float32) if crisp else cover
    fitted = np.concatenate([np.clip(colour, 0, 1) * (new > 0)[..., None], np.clip(new, 0, 1)[..., None]], -1)
    return resample.padded(fitted), level
