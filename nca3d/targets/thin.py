"""Parts of a mesh that are thinner than a cell: they stay, and what hangs together in the mesh does in cells."""

from itertools import product

import numpy as np

from nca3d.targets.solid import bodies, components
from nca3d.targets.target import Size
from nca3d.targets.voxelise import Mesh, samples


def thin_parts(touched: np.ndarray, solid: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Returns the surface cells of parts too thin to fill a cell, and those that join them to the solid ones.

    The skin of a thick body lies next to cells that are all inside; a wing or a leg doesn't.

    Args:
        touched: The cells that the surface runs through, bool (D, H, W).
        solid: The cells that are filled already, bool (D, H, W).
        share: The share of each cell that lies inside, 0..1, (D, H, W).
    """
    rest = touched & ~solid
    thin = rest & ~grown(share > 0.95)
    return thin | (rest & grown(thin))


def grown(cells: np.ndarray) -> np.ndarray:
    """Returns the cells of a bool (D, H, W) array and their 26 neighbours."""
    for axis in range(3):
        padded = np.pad(cells, [(1, 1) if i == axis else (0, 0) for i in range(3)])
        n = cells.shape[axis]
        cells = padded.take(range(n), axis) | cells | padded.take(range(2, n + 2), axis)
    return cells


def joints(mesh: Mesh, part: np.ndarray, room: Size, occupied: np.ndarray) -> np.ndarray:
    """Returns the cells that join what hangs together in a mesh, the shortest ways first; they lie on its surface.

    Args:
        mesh: The triangles, measured in cells.
        part: The part of each triangle, int (N,); parts may lie apart.
        room: The size (D, H, W) of the room.
        occupied: The cells that are filled already, bool (D, H, W).

    Returns:
        More cells, bool (D, H, W): with them the pieces (by faces, edges or corners) that a part runs through are one.
    """
    # One layer of void around the room: then a neighbour is an offset, and no border has to be looked at.
    sides = (room[0] + 2, room[1] + 2, room[2] + 2)
    offsets = np.array([np.ravel_multi_index(np.add(step, 1), sides) for step in product((-1, 0, 1), repeat=3)])
    offsets = np.delete(offsets - offsets[13], 13)
    piece = _pieces(np.pad(occupied, 1), offsets)
    more = np.zeros(sides, bool)
    number = np.full(piece.size, -1)
    if piece.max() > 0:
        for cells in _cells_of_parts(mesh, part, room):
            z, y, x = np.unravel_index(cells, room)
            places = np.ravel_multi_index((z + 1, y + 1, x + 1), sides)
            met = piece[places]
            if met.max() > 0 and len(np.unique(met[met >= 0])) > 1:
                number[places] = np.arange(len(places))
                more.ravel()[places[_ways(met, number[places[:, None] + offsets])]] = True
                number[places] = -1
    return more[1:-1, 1:-1, 1:-1]


def _pieces(occupied: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the number of the piece of each cell of an array with a free border, flat; −1 where there is none."""
    root, runs = bodies(occupied)
    piece = np.where(occupied, root[runs], -1).ravel()
    # What faces don't join, edges and corners may: of cells with a void one beside them.
    skin = np.flatnonzero(occupied & grown(~occupied))
    pairs = [(piece[skin], piece[skin + step]) for step in offsets if step > 0]
    one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
    root = components(len(root), one[two >= 0], two[two >= 0])
    names = np.unique(root[piece[skin]])
    rank = np.full(len(root) + 1, -1)
    rank[names] = np.arange(len(names))
    return rank[np.where(piece < 0, len(root), root[piece])]


def _cells_of_parts(mesh: Mesh, part: np.ndarray, room: Size) -> list[np.ndarray]:
    """Returns the cells that each part's surface runs through, by number."""
    cells = int(np.prod(room))
    keys = [np.unique(part[faces] * cells + index) for faces, index, _ in samples(mesh, room)]
    key = np.unique(np.concatenate(keys))
    return np.split(key % cells, np.flatnonzero(np.diff(key // cells)) + 1)


def _ways(piece: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Returns the cells of shortest ways between the pieces that a part runs through, as few as join them all.

    Every piece grows over the part until they meet (Kruskal 1956: the shortest links first, none between what is joined).

    Args:
        piece: The piece that each of m cells of the part belongs to, int (m,); −1 = none.
        beside: The numbers of the 26 neighbours of each, int (m, 26); −1 = not of the part.
    """
    owner, steps, parent = piece.copy(), np.zeros(len(piece), np.int64), np.zeros(len(piece), np.int64)
    front = np.flatnonzero(owner >= 0)
    while len(front):
        ahead, behind = beside[front].ravel(), np.repeat(front, beside.shape[1])
        fresh, first = np.unique(np.where((ahead >= 0) & (owner[ahead] < 0), ahead, -1), return_index=True)
        first, fresh = first[fresh >= 0], fresh[fresh >= 0]
        owner[fresh], parent[fresh], steps[fresh] = owner[behind[first]], behind[first], steps[behind[first]] + 1
        front = fresh
    one, two = np.repeat(np.arange(len(piece)), beside.shape[1]), beside.ravel()
    meet = (two >= 0) & (owner[one] >= 0) & (owner[one] < owner[two])
    one, two = one[meet], two[meet]
    joined = {int(name): int(name) for name in np.unique(owner[owner >= 0])}

    def head(name: int) -> int:
        while joined[name] != name:
            name = joined[name]
        return name

    ways: list[int] = []
    for link in np.argsort(steps[one] + steps[two], kind="stable").tolist():
        ends = [int(one[link]), int(two[link])]
        here, there = (head(int(owner[end])) for end in ends)
        if here == there:
            continue
        joined[there] = here
        for end in ends:
            while steps[end]:
                ways.append(end)
                end = int(parent[end])
    return np.array(ways, np.int64)
