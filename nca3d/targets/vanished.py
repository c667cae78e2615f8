"""What is lost when labels are fitted: those that have no cell, and the size at which they would have one."""

from collections.abc import Mapping

import numpy as np

from nca3d.targets.fit import HAIR, Resampler, Spacing, occupied_box
from nca3d.targets.target import Size

# The longest side that is looked at, and the cells and voxels in all: a scan of a hundred organs must not take minutes.
LONGEST = 512
MOST_WORK = 100_000_000


def vanished(
    labels: np.ndarray,
    fitted: np.ndarray,
    margin: int,
    threshold: float | None,
    spacing: Spacing,
    names: Mapping[int, str],
    where: object,
) -> str:
    """Returns a line on the labels that have no cell; "" if each has one.

    Args:
        labels: The labels before, (d, h, w), 0 is empty.
        fitted: The labels after, (D, H, W).
        margin: The cells left free at each face.
        threshold: The share of its volume from which a cell is filled; None = half is enough.
        spacing: The voxel lengths along the axes (d, h, w).
        names: The name of each label that has one.
        where: The name that errors give the target.
    """
    before = np.unique(labels[labels != 0])
    lost = [int(label) for label in np.setdiff1d(before, np.unique(fitted))]
    if not lost:
        return ""
    listed = ", ".join(f"{names[one]} ({one})" if names.get(one, str(one)) != str(one) else str(one) for one in lost[:12])
    more = f" and {len(lost) - 12} more" if len(lost) > 12 else ""
    depth, height, width = fitted.shape
    words = f"{len(lost)} of {len(before)} labels have no cell at {_sides((depth, height, width))}: {listed}{more}"
    least = _least_size(labels, lost, (depth, height, width), margin, threshold, spacing, where)
    need = f"they need at least {_sides(least)}" if least else f"no size up to {LONGEST} cells a side that was tried shows all"
    return f"{words}; {need.replace('they need', 'it needs') if len(lost) == 1 else need}"


def _sides(size: Size) -> str:
    """Returns a size as people write it."""
    return f"{size[0]}³" if len(set(size)) == 1 else " × ".join(map(str, size))


def _least_size(
    labels: np.ndarray, lost: list[int], size: Size, margin: int, threshold: float | None, spacing: Spacing, where: object
) -> Size | None:
    """Returns a lattice like `size`, as small as was found, on which all lost labels have a cell; None if none was found."""
    box = occupied_box(labels != 0)
    boxes = {label: occupied_box(labels == label) for label in lost}
    work = 0

    def scaled(longest: int) -> Size:
        depth, height, width = (n if n == 1 else -(-n * longest // max(size)) for n in size)
        return depth, height, width

    def shows_all(longest: int) -> bool:
        nonlocal work
        resample = Resampler(box, spacing, scaled(longest), margin, where)
        for label, mine in boxes.items():
            ends = (mine - resample.low[:, None]) / resample.step[:, None]
            cells = [
                range(max(0, int(np.floor(low))), min(room, int(np.ceil(high))))
                for (low, high), room in zip(ends, resample.room, strict=True)
            ]
            work += int(np.prod([len(c) for c in cells]) + np.prod(mine[:, 1] - mine[:, 0]))
            winner, total = resample.shares(labels, cells)
            if not ((winner == label) & (total >= (threshold or 0.5) - HAIR)).any():
                return False
        return True

    low, high = max(size), max(size) + 1
    while high <= LONGEST and work < MOST_WORK and not shows_all(high):
        low, high = high, max(high + 1, round(high * 1.08))
    if high > LONGEST or work >= MOST_WORK:
        return None
    while high - low > 1 and work < MOST_WORK:
        middle = (low + high) // 2
        low, high = (low, middle) if shows_all(middle) else (middle, high)
    return scaled(high)
