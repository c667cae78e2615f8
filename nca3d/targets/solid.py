"""The inside of a mesh, whichever way its faces look: what a flood from outside doesn't reach.

The flood goes from grid point to grid point, six ways, wherever no triangle lies between the two. So it needs neither the
windings of faces nor whole edges between them: doubled faces, overlapping parts, inner walls and T-junctions change nothing.
Winding numbers (Jacobson et al. 2013) and rays (Nooruddin & Turk 2003) believe the windings, and miss what is turned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nca3d.targets.rays import crossings
from nca3d.targets.target import Size

# A point this near to a triangle counts as inside, in grid points. A rounding error mustn't put it on one side along x and on
# the other along y: the flood would step through it. So a point on a face has walls on both sides; `BOTH` is a little less,
# for what lies that near along one axis must be hit by the lines along the others, which run off the points by a hair.
NEAR = 0.01
BOTH = 0.009

# How far triangles reach beyond their open edges, in cells: cracks of up to twice this width could not be seen in cells.
CRACK = 0.15

# Hollows of fewer grid points are what the grid makes of wedges between faces.
SMALL = 8

# The share of its points that must agree before the winding number of a hollow is believed.
AGREED = 0.9

# The share of a hollow's border that is one part's; parts that enclose a gap together have less.
ALONE = 0.99


@dataclass(frozen=True)
class Inside:
    """The inside of a mesh.

    Attributes:
        share: The share of each cell that lies inside, 0..1, float32 (D, H, W).
        cavities: The number of hollows that stay empty, because the windings of a well-made file say so.
        hollow: The share of each cell that lies in those, float32 (D, H, W).
        filled: The volume of the hollows that would be empty, if no part of the file were inside out, in cells.
    """

    share: np.ndarray
    cavities: int
    hollow: np.ndarray
    filled: float = 0.0


def inside(corners: np.ndarray, open_edges: np.ndarray, room: Size, fine: int, part: np.ndarray | None = None) -> Inside:
    """Returns what lies inside of triangles.

    A hollow in a body (a closed surface within another) stays empty where the file is well made: the winding number is 0 in
    it, and nowhere negative in the same body. A gap that several parts enclose is no such hollow: all else that can't be
    reached from outside is solid.

    Args:
        corners: The corners of N triangles as x, y, z, measured in cells, (N, 3, 3).
        open_edges: The edges that belong to one triangle alone, bool (N, 3); the edge k lies opposite to the corner k.
        room: The size (D, H, W) of the room that they lie in.
        fine: The grid points of a cell along each axis.
        part: The part of each of the first M triangles, those whose windings count, int (M,); none of them is there twice.
            None = no hollow stays empty.
    """
    depth, height, width = room
    # A way around the body at each end, farther out than triangles reach.
    free = 1 + math.ceil(CRACK * fine)
    counts = (depth * fine + 2 * free, height * fine + 2 * free, width * fine + 2 * free)
    points = corners * fine + free
    slack = np.where(open_edges, CRACK * fine, NEAR)
    on_face = np.zeros(counts, bool)
    root, runs = regions([_walls(points, slack, axis, on_face) for axis in range(3)])
    solid = (root != root[0])[runs]
    cavities, filled, hollow = 0, 0.0, np.zeros_like(solid)
    if part is not None and solid.any():
        names, size = np.unique(root[runs[solid]], return_counts=True)
        sheet = np.bincount(root[runs[on_face]], minlength=len(root))[names]
        names = names[(size >= max(SMALL, fine**3 / 2)) & (2 * sheet < size)]  # what lies in a face is no room beside it
        body = np.linalg.det(points[: len(part)]).sum() / 6  # less than what is enclosed, if it has hollows or flipped faces
        if len(names) > 1 or abs(body) < 0.9 * solid.sum():
            number = np.full(len(root), -1)
            number[names] = np.arange(len(names))
            region = number[root][runs]
            empty, doubtful = _hollows(points[: len(part)], part, region, solid)
            volume = np.bincount(region[region >= 0], minlength=len(names)) / fine**3
            empty, doubtful = empty & (volume >= 1), doubtful & (volume >= 1)  # less couldn't be seen
            hollow = np.append(empty, False)[region]
            cavities, filled = int(empty.sum()), float(volume[doubtful].sum())

    def share(where: np.ndarray) -> np.ndarray:
        inner = where[free:-free, free:-free, free:-free].reshape(depth, fine, height, fine, width, fine)
        return inner.mean((1, 3, 5), dtype=np.float32)

    return Inside(share(solid & ~hollow), cavities, share(hollow), filled)


def regions(walls: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Finds which points of a grid hang together, six ways, where no wall is between them.

    Args:
        walls: Whether there is a wall between a point and the next one along x, y and z, three bool arrays (D, H, W); the last
            point of each line has none.

    Returns:
        The region of each run, int (n,), named by the first of its runs, and the run of each point, int (D, H, W). Points in
        a row along x without a wall between them are a run; that of point (0, 0, 0) is 0.
    """
    first = np.ones(walls[0].shape, bool)
    first[..., 1:] = walls[0][..., :-1]
    runs = (np.cumsum(first.ravel(), dtype=np.int32) - 1).reshape(first.shape)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    for axis, wall in ((1, walls[1]), (0, walls[2])):
        here = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        there = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        # Two runs side by side are one pair: it is looked at where one of them, or the gap in the wall, begins.
        begins = first[here] | first[there]
        begins[..., 1:] |= wall[here][..., :-1]
        begins &= ~wall[here]
        pairs.append((runs[here][begins], runs[there][begins]))
    one, two = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return components(int(runs[-1, -1, -1]) + 1, one, two), runs


def bodies(solid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds which points of a bool array (D, H, W) hang together, six ways; returns what `regions` does."""
    walls = []
    for axis in (2, 1, 0):
        wall = np.zeros_like(solid)
        here = tuple(slice(None, -1) if i == axis else slice(None) for i in range(3))
        there = tuple(slice(1, None) if i == axis else slice(None) for i in range(3))
        wall[here] = ~(solid[here] & solid[there])
        walls.append(wall)
    return regions(walls)


def components(count: int, one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Returns the connected component of each node of a graph, int (count,), named by the first of its nodes.

    Args:
        count: The number of nodes.
        one: The node at one end of each edge, (n,).
        two: The node at the other end, (n,).
    """
    root = np.arange(count)
    while True:
        low, high = np.minimum(root[one], root[two]), np.maximum(root[one], root[two])
        apart = low < high
        if not apart.any():
            return root
        one, two = low[apart], high[apart]
        np.minimum.at(root, two, one)
        while ((above := root[root]) != root).any():
            root = above


def _walls(points: np.ndarray, slack: np.ndarray, axis: int, on_face: np.ndarray) -> np.ndarray:
    """Returns whether a triangle lies between each grid point and the next one along an axis (0 = x), bool (D, H, W).

    Args:
        points: The corners of triangles, in grid points, (N, 3, 3).
        slack: How far each reaches beyond its edges, (N, 3).
        axis: The axis.
        on_face: Where points that lie on a triangle are noted, bool (D, H, W).
    """
    depth, height, width = on_face.shape
    others, order, shape = _line_up(axis, (depth, height, width))
    on = on_face.transpose([order.index(i) for i in range(3)])
    wall = np.zeros(shape, bool)
    for _, i, j, along, _ in crossings(points[..., [*others, axis]], shape[:2], slack):
        ends = [np.floor(along - 0.5 + near).astype(np.int64) for near in (-BOTH, BOTH)]
        for before in ends:
            within = (before >= 0) & (before < shape[2] - 1)
            wall[i[within], j[within], before[within]] = True
        both = (ends[0] < ends[1]) & (ends[1] >= 0) & (ends[1] < shape[2])
        on[i[both], j[both], ends[1][both]] = True
    return wall.transpose(order)


def _line_up(axis: int, counts: Size) -> tuple[list[int], list[int], tuple[int, int, int]]:
    """Returns the two other axes, what transposes lines along the last axis to (z, y, x), and the shape before that."""
    others = [i for i in range(3) if i != axis]
    order = [[*others, axis].index(i) for i in (2, 1, 0)]
    return others, order, (counts[2 - others[0]], counts[2 - others[1]], counts[2 - axis])


def _hollows(points: np.ndarray, part: np.ndarray, region: np.ndarray, solid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the regions that windings call empty.

    Args:
        points: The corners of triangles, in grid points, (N, 3, 3), none twice.
        part: The part of each triangle, int (N,).
        region: The number of each grid point's region, (D, H, W); −1 = none.
        solid: The grid points that can't be reached from outside, bool (D, H, W).

    Returns:
        Whether each region is empty, bool (n,), and whether it would be, if nothing in the same body were inside out, (n,).
    """
    counts = (region.shape[0], region.shape[1], region.shape[2])
    known, zero, negative = (np.zeros(region.max() + 1, np.int64) for _ in range(3))
    parts = int(part.max()) + 1
    border: list[np.ndarray] = []
    for axis in range(3):
        others, order, shape = _line_up(axis, counts)
        lines = region.transpose([order.index(i) for i in range(3)])
        steps = np.zeros((*shape[:2], shape[2] + 1), np.int32)
        for tri, i, j, along, side in crossings(points[..., [*others, axis]], shape[:2]):
            first = np.clip(np.ceil(along - 0.5), 0, shape[2]).astype(np.int64)
            for point in (first - 1, first):
                beside = lines[i, j, np.clip(point, 0, shape[2] - 1)]
                border.append((beside * parts + part[tri])[beside >= 0])
            # Entering counts 1. Seen along z or x, a face that looks at us turns clockwise; along y the axes are mirrored.
            np.add.at(steps, (i, j, first), (side if axis == 1 else -side).astype(np.int32))
        winding = np.cumsum(steps, -1, out=steps)
        closed = winding[..., -1:] == 0  # behind the mesh a line must be outside again
        asked = (region >= 0) & np.broadcast_to(closed, shape).transpose(order)
        name, value = region[asked], winding[..., :-1].transpose(order)[asked]
        known += np.bincount(name, minlength=len(known))
        zero += np.bincount(name[value == 0], minlength=len(known))
        negative += np.bincount(name[value < 0], minlength=len(known))
    size = np.bincount(region[region >= 0], minlength=len(known))
    hollow = (known > size) & (zero >= AGREED * known)
    # How much of the border of each region is of the part that has most of it.
    pairs, times = np.unique(np.concatenate(border), return_counts=True)
    most, total = np.zeros(len(known), np.int64), np.bincount(pairs // parts, times, len(known))
    np.maximum.at(most, pairs // parts, times)
    alone = most >= ALONE * total
    if not hollow.any():
        return hollow, hollow
    # Points of one body hang together, its inner walls notwithstanding.
    root, runs = bodies(solid)
    body = np.zeros(len(known), np.int64)
    body[region[region >= 0]] = root[runs[region >= 0]]
    turned = np.isin(body, body[2 * negative > known])
    return hollow & alone & ~turned, hollow & turned
