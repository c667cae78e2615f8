"""The space that cells live in: sizes, axes, neighbourhoods, faces. The only place that says x, y, z.

A lattice has size (D, H, W). x runs along W (the last axis), y along H, z along D; z is up in pictures.
"""

from itertools import product

import torch
from torch import Tensor

from nca3d.errors import ArgumentError

Size = tuple[int, int, int]

# The place of each axis in (D, H, W).
AXES = {"x": 2, "y": 1, "z": 0}

# What lies beyond the border: zeros, the border itself again, or the opposite side. C code counts them in this order.
PADDINGS = ("zeros", "replicate", "circular")

# Offsets (d, h, w) of the neighbours of a cell: 6 that share a face, or all 26 that touch it.
NEIGHBOURHOODS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "von_neumann": ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1)),
    "moore": tuple((d, h, w) for d, h, w in product((-1, 0, 1), repeat=3) if d or h or w),
}


def as_size(size: object, least: int = 1) -> Size:
    """Returns `size` as three ints (D, H, W).

    Args:
        size: Three whole numbers.
        least: The smallest side that is allowed.

    Raises:
        ValueError: These are not three whole numbers, or one is below `least`.
    """
    # bool is an int in Python: a stray True would be a lattice one cell deep.
    values = tuple(size) if isinstance(size, (tuple, list, torch.Size)) else (size,)
    if len(values) != 3 or any(isinstance(n, bool) or not isinstance(n, int) or n < least for n in values):
        raise ArgumentError("size", repr(size), f"three whole numbers (D, H, W), each at least {least}")
    return values


def centre(size: Size) -> Size:
    """Returns the centre cell (d, h, w), which is number n // 2 along each axis of n cells."""
    depth, height, width = size
    return depth // 2, height // 2, width // 2


def dilate(mask: Tensor, circular: bool = False) -> Tensor:
    """Returns the mask grown by one cell: all cells that are in it or touch it, by a face, an edge or a corner.

    Args:
        mask: The cells that are marked, bool (…, D, H, W).
        circular: Whether the lattice wraps around; otherwise nothing beyond the border counts.

    Returns:
        The larger mask, bool (…, D, H, W).
    """
    # A 3×3×3 maximum splits into a maximum of 3 along each axis: 6 looks at neighbours instead of 26.
    for axis in (-1, -2, -3):
        length = mask.shape[axis]
        if circular:
            mask = mask | mask.roll(1, axis) | mask.roll(-1, axis)
        elif length > 1:
            # Into one copy, in place: this runs on the whole lattice in each step.
            wider = mask.clone()
            wider.narrow(axis, 1, length - 1).logical_or_(mask.narrow(axis, 0, length - 1))
            wider.narrow(axis, 0, length - 1).logical_or_(mask.narrow(axis, 1, length - 1))
            mask = wider
    return mask
