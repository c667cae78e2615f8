"""Triangles to cells: how much of each cell lies inside a mesh, by rays along three axes, in numpy alone.

A point is inside where a ray from outside has entered the mesh more often than it has left it (the winding number; compare
Nooruddin & Turk 2003, "Simplification and repair of polygonal models using volumetric techniques").
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nca3d.targets.target import Size

# Points or pairs that are worked on at a time: some 100 MB of arrays.
CHUNK = 2_000_000


@dataclass(frozen=True)
class Mesh:
    """Triangles with colours.

    Attributes:
        corners: The corners of N triangles as x, y, z, (N, 3, 3).
        colours: The colours of the corners, 0..1, (N, 3, 3); None = the mesh has none.
        paint: Returns the colours of points on the surface, as a display shows them: called with the indices of their triangles
            (S,) and their barycentric shares (S, 3), it returns RGBA (S, 4) in 0..1, where a point of alpha 0 is a hole. None =
            `colours` between the corners.
    """

    corners: np.ndarray
    colours: np.ndarray | None = None
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def upright(self) -> "Mesh":
        """Returns the same mesh with z up, for one with y up: (x, y, z) become (x, -z, y)."""
        return replace(self, corners=self.corners[..., [0, 2, 1]] * (1, -1, 1))


def open_edges(corners: np.ndarray) -> int:
    """Counts the edges with an odd number of faces; a watertight mesh has none. Corners at one place count as one.

    Args:
        corners: The corners of N triangles, (N, 3, 3).
    """
    # An even number needn't be two: two cells of a body that share an edge alone have four faces there, and no hole.
    points, index = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    faces = index.reshape(-1, 3)
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    _, count = np.unique(edges[:, 0] * len(points) + edges[:, 1], return_counts=True)
    return int((count % 2 != 0).sum())


def coverage(mesh: Mesh, room: Size, fine: int) -> np.ndarray:
    """Returns the share of each cell that lies inside a mesh.

    Each sample point is inside where rays along most of the axes say so. A ray counts only if it leaves the mesh as often
    as it enters, so that a hole spoils the rays through it and nothing else; parts that overlap stay solid.

    Args:
        mesh: The triangles, measured in cells.
        room: The size (D, H, W) of the room that they lie in.
        fine: The sample points of a cell along each axis.

    Returns:
        0..1, float32 (D, H, W).
    """
    counts = tuple(n * fine for n in room)
    inside, valid = np.zeros(counts, np.int8), np.zeros(counts, np.int8)
    points = mesh.corners * fine
    for axis in range(3):  # x, y, z; array axes run the other way round
        others = [i for i in range(3) if i != axis]
        shape = (counts[2 - others[0]], counts[2 - others[1]], counts[2 - axis])
        winding = _winding(points[..., [*others, axis]], shape)
        good = winding[..., -1:] == 0  # behind the mesh a ray must be outside again
        hit = (winding[..., :-1] != 0) & good
        order = [(*others, axis).index(i) for i in (2, 1, 0)]
        inside += hit.transpose(order)
        valid += np.broadcast_to(good, hit.shape).transpose(order)
    # More than half of the valid rays must agree, and two at least: next to a hole a lone ray proves little.
    solid = (inside * 2 > valid) & (inside > 1)
    depth, height, width = room
    return solid.reshape(depth, fine, height, fine, width, fine).mean((1, 3, 5), dtype=np.float32)


def _winding(corners: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Counts how often a ray along the last coordinate has entered the mesh, less how often it has left it.

    Args:
        corners: The corners of triangles (N, 3, 3), in sample points; rays run along the last coordinate.
        shape: The sample points (A, B, C) along the three coordinates.

    Returns:
        The count before each sample point and behind the last one, int (A, B, C + 1).
    """
    columns, rows, depth = shape
    # Off the middle by an uneven hair, so that no ray runs through an edge that lies on a round number.
    at = (0.5 + 1.37e-4, 0.5 - 2.11e-4)
    total = np.zeros(columns * rows * (depth + 1))
    for tri, i, j in _pairs(corners, (columns, rows), at):
        a, b, c = corners[tri, 0], corners[tri, 1], corners[tri, 2]
        px, py = i + at[0], j + at[1]
        # Barycentric coordinates of the ray in the triangle's shadow; the sign of the area says from which side it comes.
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
        with np.errstate(divide="ignore", invalid="ignore"):
            v = ((px - a[:, 0]) * (c[:, 1] - a[:, 1]) - (py - a[:, 1]) * (c[:, 0] - a[:, 0])) / area
            w = ((b[:, 0] - a[:, 0]) * (py - a[:, 1]) - (b[:, 1] - a[:, 1]) * (px - a[:, 0])) / area
            hit = (area != 0) & (v >= 0) & (w >= 0) & (v + w <= 1)
        a, b, c, v, w = a[hit, 2], b[hit, 2], c[hit, 2], v[hit], w[hit]
        first = np.clip(np.ceil(a + v * (b - a) + w * (c - a) - 0.5), 0, depth).astype(np.int64)
        index = (i[hit] * rows + j[hit]) * (depth + 1) + first
        total += np.bincount(index, np.sign(area[hit]), total.size)
    return np.cumsum(total.reshape(columns, rows, depth + 1), -1).round().astype(np.int32)


def _pairs(
    corners: np.ndarray, counts: tuple[int, int], at: tuple[float, float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields triangles and the rays (i, j) in the box of each, about `CHUNK` pairs at a time.

    Args:
        corners: The corners of triangles, (N, 3, 3); the first two coordinates count.
        counts: The number of rays along both.
        at: The place of a ray within its unit square.
    """
    low, high = corners[..., :2].min(1), corners[..., :2].max(1)
    first = np.clip(np.ceil(low - at), 0, counts).astype(np.int64)
    last = np.clip(np.floor(high - at) + 1, 0, counts).astype(np.int64)
    span = np.maximum(last - first, 0)
    size = span[:, 0] * span[:, 1]
    ends = np.cumsum(size)
    start = 0
    while start < len(size):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + CHUNK, "right")))
        tri = np.repeat(np.arange(start, stop), size[start:stop])
        inner = np.arange(len(tri)) - np.repeat(ends[start:stop] - size[start:stop] - done, size[start:stop])
        yield (
            tri,
            first[tri, 0] + inner // np.maximum(span[tri, 1], 1),
            first[tri, 1] + inner % np.maximum(span[tri, 1], 1),
        )
        start = stop


def surface(mesh: Mesh, room: Size, per_cell: int = 3) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples the surface of a mesh.

    Args:
        mesh: The triangles, measured in cells.
        room: The size (D, H, W) of the room that they lie in.
        per_cell: The sample points along a cell's length.

    Returns:
        The number of sample points in each cell, (D, H, W), and their mean colours, (D, H, W, 3), or None without colours.
    """
    cells = int(np.prod(room))
    count, colour = np.zeros(cells), np.zeros((cells, 3))
    edges = np.linalg.norm(mesh.corners - np.roll(mesh.corners, 1, 1), axis=-1).max(1)
    steps = np.clip(np.ceil(edges * per_cell), 1, 4 * max(room) * per_cell).astype(np.int64)
    for n in np.unique(steps):  # triangles of about one size share their grid of sample points
        u, v = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        keep = u + v <= n
        share = np.stack([(n - u - v)[keep], u[keep], v[keep]], -1) / n
        share = share * (1 - 1e-6) + 1e-6 / 3  # a hair inside: points on an edge would fall into the next cell
        which = np.flatnonzero(steps == n)
        for part in np.array_split(which, max(1, len(which) * len(share) // CHUNK)):
            points = np.einsum("sk,nkd->nsd", share, mesh.corners[part])
            at = np.clip(np.floor(points), 0, np.array(room[::-1]) - 1).astype(np.int64)
            index = ((at[..., 2] * room[1] + at[..., 1]) * room[2] + at[..., 0]).ravel()
            count += np.bincount(index, minlength=cells)
            if mesh.colours is not None:
                painted = np.einsum("sk,nkd->nsd", share, mesh.colours[part]).reshape(-1, 3)
                colour += np.stack([np.bincount(index, painted[:, c], cells) for c in range(3)], -1)
    if mesh.colours is None:
        return count.reshape(room), None
    return count.reshape(room), (colour / np.maximum(count, 1)[:, None]).reshape(*room, 3)


def thin_parts(touched: np.ndarray, solid: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Returns the surface cells of parts too thin to fill a cell, and those that join them to the solid ones.

    The skin of a thick body lies next to cells that are all inside; a wing or a leg doesn't.

    Args:
        touched: The cells that the surface runs through, bool (D, H, W).
        solid: The cells that are filled already, bool (D, H, W).
        share: The share of each cell that lies inside, 0..1, (D, H, W).
    """
    rest = touched & ~solid
    thin = rest & ~_grown(share > 0.95)
    return thin | (rest & _grown(thin))


def _grown(cells: np.ndarray) -> np.ndarray:
    """Returns the cells of a bool (D, H, W) array and their 26 neighbours."""
    for axis in range(3):
        padded = np.pad(cells, [(1, 1) if i == axis else (0, 0) for i in range(3)])
        n = cells.shape[axis]
        cells = padded.take(range(n), axis) | cells | padded.take(range(2, n + 2), axis)
    return cells


def spread(colour: np.ndarray, known: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Spreads colours from known cells to others, step by step, as means of face neighbours.

    Args:
        colour: The colours (D, H, W, 3).
        known: The cells that have one, bool (D, H, W).
        cells: The cells that need one, bool (D, H, W).

    Returns:
        Colours (D, H, W, 3) of all these cells, and of others on the way.
    """
    colour, known = colour * known[..., None], known.copy()
    while (cells & ~known).any() and known.any():
        near, weight = np.zeros_like(colour), np.zeros(known.shape)
        for axis in range(3):
            for shift in (-1, 1):
                from_, to = [slice(None)] * 3, [slice(None)] * 3
                from_[axis], to[axis] = (slice(1, None), slice(None, -1)) if shift < 0 else (slice(None, -1), slice(1, None))
                near[tuple(to)] += colour[tuple(from_)]
                weight[tuple(to)] += known[tuple(from_)]
        new = (weight > 0) & ~known
        colour[new] = near[new] / weight[new][:, None]
        known |= new
    return colour
