"""Parts of a mesh that are thinner than a cell: they stay, and what hangs together in the mesh does in cells."""

from itertools import product

import numpy as np

from nca3d.targets.solid import components
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
    sides = tuple(n + 2 for n in room)
    offsets = np.array([np.ravel_multi_index(np.add(step, 1), sides) for step in product((-1, 0, 1), repeat=3)])
    offsets = np.delete(offsets - offsets[13], 13)
    piece = _pieces(np.pad(occupied, 1), offsets)
    more = np.zeros(sides, bool)
    if piece.max() > 0:
        for cells in _cells_of_parts(mesh, part, room):
            z, y, x = np.unravel_index(cells, room)
            places = np.ravel_multi_index((z + 1, y + 1, x + 1), sides)
            if len(np.unique(piece[places[piece[places] >= 0]])) > 1:
                more.ravel()[_ways(places, piece, offsets)] = True
    return more[1:-1, 1:-1, 1:-1]


def _pieces(occupied: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the number of the piece of each cell of an array with a free border, flat; −1 where there is none."""
    places = np.flatnonzero(occupied)
    number = np.full(occupied.size, -1)
    number[places] = np.arange(len(places))
    pairs = [(number[places], number[places + step]) for step in offsets if step > 0]
    one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
    root = components(len(places), one[two >= 0], two[two >= 0])
    number[places] = np.unique(root, return_inverse=True)[1]
    return number


def _cells_of_parts(mesh: Mesh, part: np.ndarray, room: Size) -> list[np.ndarray]:
    """Returns the cells that each part's surface runs through, by number."""
    cells = int(np.prod(room))
    keys = [np.unique(part[faces] * cells + index) for faces, index, _ in samples(mesh, room)]
    key = np.unique(np.concatenate(keys))
    return np.split(key % cells, np.flatnonzero(np.diff(key // cells)) + 1)


def _ways(places: np.ndarray, piece: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Returns the places of shortest ways between the pieces that a part runs through, as few as join them all.

    Every piece grows over the part until they meet (Kruskal 1956: the shortest links first, none between what is joined).

    Args:
        places: The places that the part runs through.
        piece: The piece at each place, −1 = none.
        offsets: The offsets of the 26 neighbours.
    """
    owner, steps, parent = np.full(len(piece), -2), np.zeros(len(piece), np.int64), np.zeros(len(piece), np.int64)
    owner[places] = -1  # open to growth
    front = places[piece[places] >= 0]
    owner[front] = piece[front]
    reached = [front]
    while len(front):
        ahead, behind = (front[:, None] + offsets).ravel(), np.repeat(front, len(offsets))
        fresh, first = np.unique(np.where(owner[ahead] == -1, ahead, -1), return_index=True)
        first, fresh = first[fresh >= 0], fresh[fresh >= 0]
        owner[fresh], parent[fresh], steps[fresh] = owner[behind[first]], behind[first], steps[behind[first]] + 1
        front = fresh
        reached.append(fresh)
    found = np.concatenate(reached)
    one, two = np.repeat(found, len(offsets)), (found[:, None] + offsets).ravel()
    link = (owner[two] >= 0) & (owner[one] < owner[two])
    one, two = one[link], two[link]
    group = {int(name): int(name) for name in np.unique(owner[found])}
    ways: list[int] = []
    for link in np.argsort(steps[one] + steps[two], kind="stable").tolist():
        ends = [int(one[link]), int(two[link])]
        here, there = (group[int(owner[end])] for end in ends)
        if here == there:
            continue
        group = {name: here if joined == there else joined for name, joined in group.items()}
        for end in ends:
            while steps[end]:
                ways.append(end)
                end = int(parent[end])
        if len(set(group.values())) == 1:
            break
    return np.array(ways, np.int64)
