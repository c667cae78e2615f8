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
    edges = np.linalg.norm(mesh.corners - np.roll(mesh.corners, 1, 1), axis=-1).max(1)
    steps = np.clip(np.ceil(edges * per_cell), 1, 4 * max(room) * per_cell).astype(np.int64)
    for n in np.unique(steps):  # triangles of about one size share their grid of sample points
        u, v = np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij")
        keep = u + v <= n
        share = np.stack([(n - u - v)[keep], u[keep], v[keep]], -1) / n
        share = share * (1 - 1e-6) + 1e-6 / 3  # a hair inside: points on an edge would fall into the next cell
        which = np.flatnonzero(steps == n)
        for part in np.array_split(which, max(1, len(which) * len(share) // CHUNK)):
            points = share @ mesh.corners[part]
            at = np.clip(np.floor(points), 0, np.array(room[::-1]) - 1).astype(np.int64)
            index = ((at[..., 2] * room[1] + at[..., 1]) * room[2] + at[..., 0]).ravel()
            faces = np.repeat(part, len(share))
            if mesh.paint is not None:
                rgba = mesh.paint(faces, np.tile(share, (len(part), 1)))
                seen = rgba[:, 3] >= 0.5
                yield faces[seen], index[seen], rgba[seen, :3]
            elif mesh.colours is not None:
                yield faces, index, (share @ mesh.colours[part]).reshape(-1, 3)
            else:
                yield faces, index, None


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
        np.add.at(count, index, 1.0)
        if colours is not None:
            for channel in range(3):
                np.add.at(colour[channel], index, colours[:, channel])
    if not painted:
        return count.reshape(room), None
    return count.reshape(room), np.moveaxis(colour / np.maximum(count, 1), 0, -1).reshape(*room, 3)


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
