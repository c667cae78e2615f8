"""The parts of a mesh and its open edges: which holes are closed, and which openings belong to the body, as a bowl's does."""

from dataclasses import dataclass

import numpy as np

from nca3d.targets.solid import components

# Corners nearer than this share of the longest side, along each axis, count as one: files of triangles name each corner anew.
WELD = 1 / (1 << 20)

# An opening is closed where a disc of its area is narrower than this share of the longest side of its part.
CLOSED = 0.25


@dataclass(frozen=True)
class Openings:
    """The openings of a mesh: loops of edges that belong to one triangle each.

    Attributes:
        ends: The places of the ends of n edges, (n, 2, 3).
        loop: The opening of each edge, int (n,).
        part: The part that each of L openings belongs to, int (L,).
        width: The width of a disc of its area, (L,).
        share: That width as a share of the longest side of its part, (L,).
    """

    ends: np.ndarray
    loop: np.ndarray
    part: np.ndarray
    width: np.ndarray
    share: np.ndarray

    @property
    def edges(self) -> np.ndarray:
        """The number of edges of each opening, int (L,)."""
        return np.bincount(self.loop, minlength=len(self.part))

    @property
    def middle(self) -> np.ndarray:
        """The middle of each opening, (L, 3)."""
        return _middle(self.ends, self.loop, len(self.part))

    def lids(self, which: np.ndarray) -> np.ndarray:
        """Returns triangles that close some openings, from their edges to their middles, (n, 3, 3).

        Args:
            which: The openings to close, bool (L,).
        """
        chosen = which[self.loop]
        return np.concatenate([self.ends[chosen], self.middle[self.loop[chosen], None]], 1)


@dataclass(frozen=True)
class Outline:
    """How the triangles of a mesh hang together.

    Attributes:
        part: The part of each triangle, int (N,): parts have no corner in common.
        parts: The number of parts.
        single: The triangles without those that have three corners in common with an earlier one, or two with themselves, (M,).
        open_edges: The edges that belong to one triangle alone, bool (N, 3); the edge k lies opposite to the corner k.
        openings: The loops of open edges.
    """

    part: np.ndarray
    parts: int
    single: np.ndarray
    open_edges: np.ndarray
    openings: Openings


def outline(corners: np.ndarray) -> Outline:
    """Finds out how triangles hang together: doubled ones count once, and corners at one place are one.

    Args:
        corners: The corners of N triangles, (N, 3, 3).
    """
    faces = _weld(corners)
    count = int(faces.max()) + 1
    root = components(count, faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())
    names, part = np.unique(root[faces[:, 0]], return_inverse=True)
    a, b, c = np.sort(faces, 1).T
    _, first = np.unique(np.unique(a * count + b, return_inverse=True)[1] * count + c, return_index=True)
    single = np.sort(first[(a != b)[first] & (b != c)[first]])
    edges = np.sort(faces[single][:, [[1, 2], [2, 0], [0, 1]]], -1)
    _, where, times = np.unique(edges[..., 0] * count + edges[..., 1], return_inverse=True, return_counts=True)
    alone = times[where.reshape(-1, 3)] == 1
    open_edges = np.zeros(faces.shape, bool)
    open_edges[single] = alone
    # A triangle alone has no hole: it is one.
    alone &= (np.bincount(part[single], minlength=len(names)) > 1)[part[single], None]
    place, owner = np.empty((count, 3)), np.empty(count, np.int64)
    place[faces.ravel()], owner[faces.ravel()] = corners.reshape(-1, 3), np.repeat(part, 3)
    openings = _openings(place, owner, _loops(edges[alone]), len(names))
    return Outline(part, len(names), single, open_edges, openings)


def _weld(corners: np.ndarray) -> np.ndarray:
    """Returns the number of each corner's place, int (N, 3)."""
    low = corners.min((0, 1))
    step = (corners.max((0, 1)) - low).max() * WELD
    # Off by half a step: round numbers, which many corners have, don't lie where one place ends and the next begins.
    x, y, z = np.rint((corners.reshape(-1, 3) - low) / step).astype(np.int64).T
    return np.unique((x << 42) | (y << 21) | z, return_inverse=True)[1].reshape(-1, 3)


def _openings(place: np.ndarray, owner: np.ndarray, loops: list[list[int]], parts: int) -> Openings:
    """Measures openings.

    Args:
        place: The places of corners, (P, 3).
        owner: The part of each corner, int (P,).
        loops: The corners of each opening, in order.
        parts: The number of parts.
    """
    low, high = np.full((parts, 3), np.inf), np.full((parts, 3), -np.inf)
    np.minimum.at(low, owner, place)
    np.maximum.at(high, owner, place)
    sizes = np.array([len(loop) for loop in loops], np.int64)
    number = np.repeat(np.arange(len(loops)), sizes)
    corners = np.array([corner for loop in loops for corner in loop], np.int64)
    ahead = np.array([corner for loop in loops for corner in (*loop[1:], loop[0])], np.int64)
    ends = np.stack([place[corners], place[ahead]], 1)
    spokes = ends - _middle(ends, number, len(loops))[number, None]
    area = np.bincount(number, np.linalg.norm(np.cross(spokes[:, 0], spokes[:, 1]), axis=-1) / 2, len(loops))
    part = owner[corners[np.cumsum(sizes) - sizes]]
    width = 2 * np.sqrt(area / np.pi)
    return Openings(ends, number, part, width, width / (high - low).max(1)[part])


def _middle(ends: np.ndarray, loop: np.ndarray, count: int) -> np.ndarray:
    """Returns the mean place of the edges (n, 2, 3) of each of `count` loops, (count, 3)."""
    total = np.stack([np.bincount(loop, ends[..., k].mean(1), count) for k in range(3)], -1)
    return total / np.maximum(np.bincount(loop, minlength=count), 1)[:, None]


def _loops(edges: np.ndarray) -> list[list[int]]:
    """Cuts edges (n, 2) into loops that meet no corner twice, each the list of its corners.

    A path that ends is a loop with a gap. Where several holes meet in a corner, the walk that comes back to it has gone
    around one of them (Wilson 1996, "Generating random spanning trees more quickly than the cover time", erases such loops).
    """
    ways: dict[int, list[tuple[int, int]]] = {}
    for number, (one, two) in enumerate(edges.tolist()):
        ways.setdefault(one, []).append((number, two))
        ways.setdefault(two, []).append((number, one))
    used = np.zeros(len(edges), bool)
    loops = []

    def step(at: int) -> int | None:
        while ways[at]:
            number, ahead = ways[at].pop()
            if not used[number]:
                used[number] = True
                return ahead
        return None

    for start in ways:
        path, seen = [start], {start: 0}
        while path:
            ahead = step(path[-1])
            if ahead is None:
                if len(path) > 2:
                    loops.append(path)
                break
            if ahead in seen:
                loop = path[seen[ahead] :]
                loops.append(loop)
                for corner in loop[1:]:
                    del seen[corner]
                del path[seen[ahead] + 1 :]
            else:
                seen[ahead] = len(path)
                path.append(ahead)
    return loops
