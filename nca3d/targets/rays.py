"""Where the lines of a grid cross triangles: what `solid` builds its walls of, and what counts windings.

Parts of this follow Nooruddin & Turk 2003, "Simplification and repair of polygonal models using volumetric techniques".
"""

from collections.abc import Iterator

import numpy as np

# Pairs of a triangle and a line that are worked on at a time: some 60 MB of arrays.
CHUNK = 400_000

# Lines run off the middle of grid points by an uneven hair, so that none runs through an edge that lies on a round number.
HAIR = (1.37e-4, -2.11e-4)


def crossings(
    corners: np.ndarray, shape: tuple[int, int], slack: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Yields where lines along the last coordinate cross triangles.

    Args:
        corners: The corners of triangles (N, 3, 3), in grid points; the point k stands at k + 0.5.
        shape: The number of lines (A, B) along the first two coordinates.
        slack: How far each triangle reaches beyond its edges, in grid points, (N, 3); the edge k lies opposite to the corner k.
            None = not at all: then every line that enters a closed surface crosses it an even number of times.

    Returns:
        The triangles, the lines (i, j), the places along the last coordinate, and the sides that the lines come from (1 or
        −1), each (n,).
    """
    seen = np.flatnonzero(_twice(corners[:, 0], corners[:, 1], corners[:, 2]))  # an edge-on triangle is crossed by no line
    corners = corners[seen]
    edges = np.zeros((len(corners), 3)) if slack is None else slack[seen]
    reach = _extremes(edges)[1]
    flat = corners[..., :2]
    # How much of twice the area, seen along the last coordinate, the slack beside each edge adds.
    allowed = np.stack([-edges[:, k] * np.hypot(*(flat[:, k - 2] - flat[:, k - 1]).T) for k in range(3)], -1)
    for tri, i, j in _pairs(flat, shape, reach, allowed):
        a, b, c = flat[tri, 0], flat[tri, 1], flat[tri, 2]
        point = np.stack([i + 0.5 + HAIR[0], j + 0.5 + HAIR[1]], -1)
        area = _twice(a, b, c)
        side = np.sign(area)
        part = [_twice(point, b, c) * side, _twice(a, point, c) * side, _twice(a, b, point) * side]
        least = allowed[tri]
        hit = np.flatnonzero((part[0] >= least[:, 0]) & (part[1] >= least[:, 1]) & (part[2] >= least[:, 2]))
        heights = corners[tri[hit], :, 2]
        # Beside a triangle that is seen edge-on the plane runs away: its own height is the limit.
        beyond = reach[tri[hit]]
        low, high = _extremes(heights)
        along = sum(part[k][hit] * heights[:, k] for k in range(3)) / np.abs(area[hit])
        yield seen[tri[hit]], i[hit], j[hit], np.clip(along, low - beyond, high + beyond), side[hit]


def _extremes(three: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the largest of three values along axis 1; NumPy reduces so short an axis ten times slower."""
    low = np.minimum(np.minimum(three[:, 0], three[:, 1]), three[:, 2])
    return low, np.maximum(np.maximum(three[:, 0], three[:, 1]), three[:, 2])


def _twice(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns twice the signed areas of triangles, seen along the last coordinate."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _pairs(
    flat: np.ndarray, counts: tuple[int, int], reach: np.ndarray, allowed: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields triangles and lines (i, j) that may cross them, about `CHUNK` pairs at a time: few that don't.

    Args:
        flat: The corners of triangles along the first two coordinates, (N, 3, 2).
        counts: The number of lines along both.
        reach: How far the boxes of triangles reach beyond them, (N,).
        allowed: The least that counts as inside of each edge, as twice an area, at most 0, (N, 3).
    """
    at = np.array(HAIR) + 0.5
    low, high = _extremes(flat)
    low, high = low - reach[:, None] - at, high + reach[:, None] - at
    first = np.clip(np.ceil(low), 0, counts).astype(np.int64)
    last = np.clip(np.floor(high) + 1, 0, counts).astype(np.int64)
    some = np.flatnonzero((last > first).all(1))  # a fine mesh has many triangles between the lines
    side = np.sign(_twice(flat[:, 0], flat[:, 1], flat[:, 2]))
    for one, inner in _spread(last[some, 0] - first[some, 0]):
        tri = some[one]
        i = first[tri, 0] + inner
        begin, end = low[tri, 1], high[tri, 1]
        for k in range(3):
            (x, y), (dx, dy) = flat[tri, k - 2].T, (flat[tri, k - 1] - flat[tri, k - 2]).T
            steep = np.abs(dx) < 1e-6  # such an edge bounds rows, not the lines of one
            slope = 1 / np.where(steep, 1.0, dx)
            bound = y + ((i + at[0] - x) * dy + allowed[tri, k] * side[tri]) * slope - at[1]
            above = dx * side[tri] > 0
            begin = np.where(above & ~steep, np.maximum(begin, bound - 1e-3), begin)
            end = np.where(~above & ~steep, np.minimum(end, bound + 1e-3), end)
        start = np.clip(np.ceil(begin), 0, counts[1]).astype(np.int64)
        stop = np.clip(np.floor(end) + 1, 0, counts[1]).astype(np.int64)
        for row, along in _spread(np.maximum(stop - start, 0)):
            yield tri[row], i[row], start[row] + along


def _spread(size: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each index r of `size` as often as size[r] says, with 0, 1, ... beside it: about `CHUNK` pairs at a time."""
    ends = np.cumsum(size)
    start = 0
    while start < len(size):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CHUNK, "right")))
        row = np.repeat(np.arange(start, stop), size[start:stop])
        yield row, np.arange(len(row)) - np.repeat(ends[start:stop] - size[start:stop] - done, size[start:stop])
        start = stop
