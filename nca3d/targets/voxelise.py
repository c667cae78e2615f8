"""The surface of a mesh in cells: which cells it runs through, and their colours."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from nca3d.targets.target import Size

# Points that are worked on at a time: some 100 MB of arrays.
CHUNK = 500_000


@dataclass(frozen=True)
class Mesh:
    """Triangles with colours.

    Attributes:
        corners: The corners of N triangles as x, y, z, (N, 3, 3).
        colours: The colours of the corners, 0..1, (N, 3, 3); None = the mesh has none.
        paint: Returns the colours of points on the surface, as a display shows them: called with the indices of their triangles
            (S,) and their barycentric shares (S, 3), it returns RGBA (S, 4) in 0..1, where a point of alpha 0 is a hole. None =
            `colours` between the corners.
        cell: The length of the cells that it is built of, as `visualize.save` notes it in a .glb; 0 = it is no such mesh.
    """

    corners: np.ndarray
    colours: np.ndarray | None = None
    paint: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    cell: float = 0.0

    def upright(self) -> "Mesh":
        """Returns the same mesh with z up, for one with y up: (x, y, z) become (x, -z, y)."""
        return replace(self, corners=self.corners[..., [0, 2, 1]] * (1, -1, 1))

    def only(self, which: np.ndarray) -> "Mesh":
        """Returns the mesh of some of its triangles, by number (n,)."""
        colours, paint = self.colours, self.paint
        return replace(
            self,
            corners=self.corners[which],
            colours=None if colours is None else colours[which],
            paint=None if paint is None else lambda faces, shares: paint(which[faces], shares),
        )


def samples(mesh: Mesh, room: Size, per_cell: int = 3) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yields points on the surface of a mesh, without those in its holes: about `CHUNK` at a time.

    Args:
        mesh: The triangles, measured in cells.
        room: The size (D, H, W) of the room that they lie in.
        per_cell: The sample points along a cell's length.

    Returns:
        The triangles of the points, int (n,), the numbers of their cells in the room, int (n,), and their colours (n, 3), or
        None without colours.
    """
    long, narrow, apex = _sides(mesh.corners)
    steps = np.clip(np.ceil(long * per_cell), 1, 4 * max(room) * per_cell).astype(np.int64)
    # Rows of a sliver have few points: as many as its height asks for, with some to spare, in powers of two.
    halved = np.floor(np.log2(np.maximum(long / np.maximum(narrow, 1e-9 * long + 1e-300) / 4, 1))).astype(np.int64)
    across = -(-steps // (1 << np.minimum(halved, 20)))
    key = (steps << 34) | (across << 2) | apex
    order = np.argsort(key, kind="stable")
    for which in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):  # of one shape, they share their grid of points
        if not len(which):
            continue
        share = np.roll(_grid(int(steps[which[0]]), int(across[which[0]])), int(apex[which[0]]), 1)
        for part in np.array_split(which, max(1, len(which) * len(share) // CHUNK)):
            index = np.zeros((len(part), len(share)), np.int64)
            for axis in (2, 1, 0):
                sides = room[2 - axis]
                at = mesh.corners[part, :, axis] @ share.T
                index = index * sides + np.clip(at, 0, sides - 1, out=at).astype(np.int64)
            faces, cells = np.repeat(part, len(share)), index.ravel()
            if mesh.paint is not None:
                rgba = mesh.paint(faces, np.tile(share, (len(part), 1)))
                seen = rgba[:, 3] >= 0.5
                yield faces[seen], cells[seen], rgba[seen, :3]
            elif mesh.colours is not None:
                yield faces, cells, (share @ mesh.colours[part]).reshape(-1, 3)
            else:
                yield faces, cells, None


def _sides(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the longest side of triangles (N, 3, 3), the height above it, and the corner opposite to the shortest side."""
    edges = np.stack([np.linalg.norm(corners[:, k - 2] - corners[:, k - 1], axis=-1) for k in range(3)], -1)
    long = edges.max(1)
    return long, 2 * areas(corners) / np.maximum(long, 1e-300), edges.argmin(1)


def areas(corners: np.ndarray) -> np.ndarray:
    """Returns the areas of triangles (N, 3, 3)."""
    return np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1) / 2


def _grid(rows: int, across: int) -> np.ndarray:
    """Returns barycentric shares (S, 3): points in rows from the first corner on, the last of `across`."""
    row = np.arange(rows + 1)
    many = -(-row * across // rows)
    at = np.repeat(row, many + 1)
    inner = np.arange(len(at)) - np.repeat(np.cumsum(many + 1) - many - 1, many + 1)
    third = at / rows * inner / np.maximum(many[at], 1)
    share = np.stack([1 - at / rows, at / rows - third, third], -1)
    return share * (1 - 1e-6) + 1e-6 / 3  # a hair inside: points on an edge would fall into the next cell


def surface(mesh: Mesh, room: Size) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples the surface of a mesh.

    Args:
        mesh: The triangles, measured in cells.
        room: The size (D, H, W) of the room that they lie in.

    Returns:
        The number of sample points in each cell, (D, H, W), and their mean colours, (D, H, W, 3), or None without colours.
    """
    cells, painted = int(np.prod(room)), mesh.paint is not None or mesh.colours is not None
    count, colour = np.zeros(cells), np.zeros((3, cells if painted else 0))
    for _, index, colours in samples(mesh, room):
        _add(count, index, None)
        if colours is not None:
            for channel in range(3):
                _add(colour[channel], index, colours[:, channel])
    if not painted:
        return count.reshape(room), None
    return count.reshape(room), np.moveaxis(colour / np.maximum(count, 1), 0, -1).reshape(*room, 3)


def _add(total: np.ndarray, index: np.ndarray, values: np.ndarray | None) -> None:
    """Adds values, or ones, to the elements `index` of an array, which may be named many times."""
    if len(index) > len(total) // 8:
        total += np.bincount(index, values, len(total))
    else:
        np.add.at(total, index, 1.0 if values is None else values)


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
