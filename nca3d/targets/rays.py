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
    reach = np.zeros(len(corners)) if slack is None else _extremes(slack)[1]
    for tri, i, j in _pairs(corners, shape, reach):
        a, b, c = corners[tri, 0], corners[tri, 1], corners[tri, 2]
        point = np.stack([i + 0.5 + HAIR[0], j + 0.5 + HAIR[1]], -1)
        area = _twice(a, b, c)
        side = np.sign(area)
        part = [_twice(point, b, c) * side, _twice(a, point, c) * side, _twice(a, b, point) * side]
        hit = area != 0
        for k, (one, two) in enumerate(((b, c), (c, a), (a, b))):
            allowed = 0 if slack is None else -slack[tri, k] * np.hypot(*(one[:, :2] - two[:, :2]).T)
            hit &= part[k] >= allowed
        heights = corners[tri[hit]][..., 2]
        weights = np.stack(part, -1)[hit] / np.abs(area[hit])[:, None]
        # Beside a triangle that is seen edge-on the plane runs away: its own height is the limit.
        beyond = reach[tri[hit]]
        low, high = _extremes(heights)
        along = np.clip(np.einsum("nk,nk->n", weights, heights), low - beyond, high + beyond)
        yield tri[hit], i[hit], j[hit], along, side[hit]


def _extremes(three: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the largest of three values along axis 1; NumPy reduces so short an axis ten times slower."""
    low = np.minimum(np.minimum(three[:, 0], three[:, 1]), three[:, 2])
    return low, np.maximum(np.maximum(three[:, 0], three[:, 1]), three[:, 2])


def _twice(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Returns twice the signed areas of triangles, seen along the last coordinate."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _pairs(
    corners: np.ndarray, counts: tuple[int, int], reach: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields triangles and the lines (i, j) in the box of each, about `CHUNK` pairs at a time.

    Args:
        corners: The corners of triangles, (N, 3, 3); the first two coordinates count.
        counts: The number of lines along both.
        reach: How far the boxes reach beyond the triangles, (N,).
    """
    low, high = _extremes(corners[..., :2])
    low, high = low - reach[:, None], high + reach[:, None]
    at = np.array(HAIR) + 0.5
    first = np.clip(np.ceil(low - at), 0, counts).astype(np.int64)
    last = np.clip(np.floor(high - at) + 1, 0, counts).astype(np.int64)
    span = np.maximum(last - first, 0)
    size = span[:, 0] * span[:, 1]
    some = np.flatnonzero(size)  # a fine mesh has many triangles between the lines
    first, span, size = first[some], span[some], size[some]
    ends = np.cumsum(size)
    start = 0
    while start < len(size):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CHUNK, "right")))
        row = np.repeat(np.arange(start, stop), size[start:stop])
        inner = np.arange(len(row)) - np.repeat(ends[start:stop] - size[start:stop] - done, size[start:stop])
        yield some[row], first[row, 0] + inner // span[row, 1], first[row, 1] + inner % span[row, 1]
        start = stop
