"""Rays through a lattice, many at once, jumping over empty space.

Stepping is after Amanatides & Woo (1987), jumping by distance after Cohen & Sheffer (1994).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visualize.frames import BoolArray, FloatArray

IntArray = NDArray[np.int32]
Table = NDArray[np.uint8]
FARTHEST = 24  # the jump table stops here: longer jumps would save nothing at the sizes that we draw


class Hits(NamedTuple):
    """What each ray met: whether, how far away, in which cell (x,y,z) and through which axis it came."""

    hit: BoolArray
    distance: FloatArray
    cell: IntArray
    axis: IntArray


def jump_table(cells: BoolArray) -> Table:
    """Chebyshev distance (nx,ny,nz) from each cell to the nearest occupied one, 0 in occupied cells, at most `FARTHEST`."""
    reached, spare = cells.copy(), np.empty_like(cells)
    table = np.zeros(cells.shape, np.uint8)
    for _ in range(FARTHEST):
        # A cell counts the rounds that end before it is reached: byte-wide additions, and no search for its ring.
        np.logical_not(reached, out=spare)
        if not spare.any():
            break
        table += spare.view(np.uint8)
        for axis in range(3):
            np.copyto(spare, reached)
            along, grown = np.moveaxis(spare, axis, 0), np.moveaxis(reached, axis, 0)
            grown[1:] |= along[:-1]
            grown[:-1] |= along[1:]
    return table


def enter(size: tuple[int, ...], origin: FloatArray, direction: FloatArray) -> tuple[FloatArray, FloatArray, IntArray]:
    """Where rays (n,3) enter and leave the lattice's box, and the axis that they enter through; leave < enter is a miss."""
    near, far = np.zeros(len(direction), np.float32), np.full(len(direction), np.inf, np.float32)
    axes = np.zeros(len(direction), np.int32)
    for axis, length in enumerate(size):
        inverse = 1 / direction[:, axis]
        first = -origin[:, axis] * inverse
        second = first + np.float32(length) * inverse
        low = np.minimum(first, second)
        axes[low > near] = axis
        np.maximum(near, low, out=near)
        np.minimum(far, np.maximum(first, second), out=far)
    return near, far, axes


def march(table: Table, origin: FloatArray, direction: FloatArray, reach: float = np.inf) -> Hits:
    """First occupied cell along each ray.

    Args:
        table: `jump_table` of the cells, indexed [x,y,z].
        origin: (n,3) or (3,), in cells.
        direction: (n,3), unit length.
        reach: rays end after this distance, in cells.
    """
    count, size = len(direction), np.array(table.shape, np.int32)[:, None]
    direction = np.where(np.abs(direction) < 1e-7, np.float32(1e-7), direction).astype(np.float32)
    origin = np.atleast_2d(origin).astype(np.float32)
    hits = Hits(
        np.zeros(count, bool), np.full(count, np.inf, np.float32), np.zeros((count, 3), np.int32), np.zeros(count, np.int32)
    )
    start, leave, axis = enter(table.shape, origin, direction)
    live = np.flatnonzero(start < np.minimum(leave, reach)).astype(np.int32)
    axis, start = axis[live], start[live]
    # From here on arrays are (3,n), one row for each axis: numpy reduces and compares long rows fastest.
    direction = np.ascontiguousarray(direction[live].T)
    origin = np.ascontiguousarray(origin[live].T) if len(origin) > 1 else origin.T
    inverse, sign = 1 / direction, np.where(direction > 0, np.int32(1), np.int32(-1))
    entry = (sign > 0) - origin  # from the origin to the far wall of cell 0
    cell = np.clip(np.floor(origin + start * direction).astype(np.int32), 0, size - 1)
    flat, strides = table.reshape(-1), (table.shape[1] * table.shape[2], table.shape[2])
    while live.size:
        jump = flat[cell[0] * strides[0] + cell[1] * strides[1] + cell[2]].astype(np.int32)
        met = jump == 0
        rows = live[met]
        hits.hit[rows], hits.distance[rows], hits.axis[rows] = True, start[met], axis[met]
        hits.cell[rows] = cell[:, met].T
        # Leave the empty cube of radius jump-1 around the cell. The index on the axis that is crossed is set
        # exactly; the other two are kept inside the cube, so that rounding can never let a ray slip through a wall.
        gap = jump - 1
        exits = (cell + sign * gap + entry) * inverse
        start = np.minimum(np.minimum(exits[0], exits[1]), exits[2])
        axis = np.where(exits[0] == start, np.int32(0), np.where(exits[1] == start, np.int32(1), np.int32(2)))
        landed = np.floor(origin + start * direction).astype(np.int32)
        np.maximum(landed, cell - gap, out=landed)
        np.minimum(landed, cell + gap, out=landed)
        for one in range(3):
            np.copyto(landed[one], cell[one] + sign[one] * jump, where=axis == one)
        inside = ((landed >= 0) & (landed < size)).all(axis=0)
        keep = np.flatnonzero(~met & (start < reach) & inside)
        live, start, axis, cell = live[keep], start[keep], axis[keep], landed[:, keep]
        direction, inverse, sign, entry = direction[:, keep], inverse[:, keep], sign[:, keep], entry[:, keep]
        origin = origin[:, keep] if origin.shape[1] > 1 else origin
    return hits
