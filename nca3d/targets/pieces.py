"""The ways through a body: how many steps growth takes from cell to cell, which pieces hang together, where it can begin.

Growth moves from a cell to one of its 26 neighbours in a step. It crosses a single void cell between two pieces, but seldom
more, so pieces are *apart* when more than one void cell lies between them (a Chebyshev distance above 2).
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nca3d.targets.target import Target

Size = tuple[int, int, int]

# Pieces that are named by their cells; more are counted.
NAMED = 4

# Content of a cell of the lattice in the arrays below.
VOID, BODY, BRIDGE = 0, 1, 2


class Pieces:
    """The pieces of a body, and the steps of growth from cell to cell of it.

    Args:
        occupied: The cells of the body, bool (D, H, W).

    Attributes:
        cells: The cells (z, y, x) of the body, int (n, 3), in that order.
        piece: The number of each cell's piece, int (n,), from 0, the largest first. Its cells touch, by a corner at least.
        cluster: The number of each cell's cluster, int (n,), from 0, the largest first. Pieces of a cluster have at most one
            void cell between them; clusters are apart, and growth that begins in one doesn't come to the others. Of clusters
            of one size the one nearest to the centre n // 2 of the lattice comes first.
    """

    def __init__(self, occupied: np.ndarray) -> None:
        self.size = (int(occupied.shape[0]), int(occupied.shape[1]), int(occupied.shape[2]))
        self.cells = np.argwhere(occupied)
        # One layer of void around the lattice: then a neighbour is an offset, and no border has to be looked at.
        self._sides = tuple(n + 2 for n in self.size)
        self._offsets = np.array([np.dot(step, self._strides) for step in product((-1, 0, 1), repeat=3) if any(step)])
        self._places = (self.cells + 1) @ self._strides
        self._content = np.zeros(int(np.prod(self._sides)), np.int8)
        self._content[self._places] = BODY
        self.piece = self._labels()
        if self.piece.max(initial=0):
            self._content[self._bridges()] = BRIDGE
        self.cluster = self._labels(central=True)

    @property
    def _strides(self) -> np.ndarray:
        return np.array([self._sides[1] * self._sides[2], self._sides[2], 1])

    def steps_from(self, cell: tuple[int, int, int]) -> np.ndarray:
        """Returns how many steps of growth each cell of the body is from one of them, int (n,); −1 = out of reach."""
        steps = np.full(len(self._content), -1, np.int32)
        self._flood(steps, int((np.array(cell) + 1) @ self._strides))
        return steps[self._places]

    def start(self) -> Size:
        """Returns the cell (z, y, x) of the largest cluster where growth begins.

        It is the centre n // 2, if that is a cell of the cluster whose eccentricity (the steps to the farthest cell) is within
        one step of the least. Else it is a cell of least eccentricity; of several the one nearest the centre, then the first.

        Raises:
            ValueError: The body has no cells.
        """
        if not len(self.cells):
            raise ValueError("a body without cells has no start")
        middle = np.array(self.size) // 2
        # The nearest to the centre first. Cells come in the order of (z, y, x), and the sort keeps it among equals.
        order = np.argsort(((self.cells - middle) ** 2).sum(1), kind="stable")
        order = order[self.cluster[order] == 0]
        cells = self.cells[order]
        # Bounds instead of a search from every cell (Takes & Kosters 2011, "Determining the diameter of small world
        # networks"): a cell d steps from one of eccentricity e has at least max(d, e − d).
        least, exact = np.zeros(len(cells), np.int64), np.full(len(cells), -1, np.int64)

        def farthest_from(number: int) -> int:
            steps = self.steps_from(_cell(cells[number]))[order]
            exact[number] = steps.max()
            np.maximum(least, np.maximum(steps, exact[number] - steps), out=least)
            least[number] = exact[number]
            return int(steps.argmax())

        at_centre = bool((cells[0] == middle).all())
        number = 0
        while True:
            # A cell at the rim says much of those near it: it is far from all others.
            if exact[far := farthest_from(number)] < 0:
                farthest_from(far)
            if at_centre and exact[0] <= least.min() + 1:
                return _cell(cells[0])
            best = exact[exact >= 0].min()
            first = int(np.flatnonzero(exact == best)[0])
            open_ = exact < 0
            open_ &= (least < best) | ((least == best) & (np.arange(len(cells)) < first))
            if not open_.any():
                return _cell(cells[first])
            number = int(np.flatnonzero(open_)[least[open_].argmin()])

    def _labels(self, central: bool = False) -> np.ndarray:
        """Returns the number of each body cell's connected part, int (n,), the largest first.

        Args:
            central: Whether of equals the one nearest to the centre comes first; else the one whose first cell does.
        """
        label, steps = np.full(len(self._content), -1, np.int32), np.full(len(self._content), -1, np.int32)
        count = 0
        for place in self._places:
            if label[place] < 0:
                reached = self._flood(steps, int(place))
                label[reached] = count
                count += 1
        labels = label[self._places]
        nearest = np.full(count, np.iinfo(np.int64).max)
        if central:
            np.minimum.at(nearest, labels, ((self.cells - np.array(self.size) // 2) ** 2).sum(1))
        order = np.lexsort((nearest, -np.bincount(labels, minlength=count)))
        rank = np.empty(count, np.int64)
        rank[order] = np.arange(count)
        return rank[labels]

    def _bridges(self) -> np.ndarray:
        """Returns the void cells that touch two pieces or more."""
        piece = np.full(len(self._content), -1, np.int32)
        piece[self._places] = self.piece
        beside = np.unique((self._places[:, None] + self._offsets).ravel())
        beside = beside[(self._content[beside] == VOID) & self._inside(beside)]
        around = piece[beside[:, None] + self._offsets]
        lowest = np.where(around < 0, around.max() + 1, around).min(1)
        return beside[around.max(1) > lowest]

    def _inside(self, places: np.ndarray) -> np.ndarray:
        cells = np.stack(np.unravel_index(places, self._sides), 1)
        return np.all((cells > 0) & (cells < np.array(self._sides) - 1), axis=1)

    def _flood(self, steps: np.ndarray, start: int) -> np.ndarray:
        """Counts steps from a cell in place, as far as they lead to cells not yet reached, and returns all that it reached."""
        front, reached, count = np.array([start]), [], 0
        while len(front):
            steps[front] = count
            reached.append(front)
            body, bridge = front[self._content[front] == BODY], front[self._content[front] == BRIDGE]
            beyond = (bridge[:, None] + self._offsets).ravel()
            # From a void cell to the body alone: two void cells in a row are no bridge.
            beyond = np.concatenate([(body[:, None] + self._offsets).ravel(), beyond[self._content[beyond] == BODY]])
            front = np.unique(beyond[(self._content[beyond] != VOID) & (steps[beyond] < 0)])
            count += 1
        return np.concatenate(reached)


def describe(pieces: Pieces) -> str:
    """Returns what to know of the pieces of a body, and what can be done about those that are out of reach."""
    sizes, count = np.bincount(pieces.piece).tolist(), len(pieces.cells)
    if len(sizes) < 2:
        return "1 piece"
    more = f" and {len(sizes) - NAMED} smaller" if len(sizes) > NAMED else ""
    told = f"{len(sizes)} pieces of {', '.join(f'{size:,}' for size in sizes[:NAMED])}{more} cells"
    apart = int((pieces.cluster > 0).sum())
    if not apart:
        return f"{told} with one void cell between: bridged, growth crosses it"
    bridged = ", others with one void cell between are bridged" if len(sizes) > pieces.cluster.max() + 1 else ""
    share = 100 * apart / count
    percent = f"{share:.0f} %" if share >= 1 else f"{share:.2g} %"
    return (
        f"{told}, more than one void cell apart{bridged}: {apart:,} of {count:,} cells ({percent}) are out of reach; "
        "--target-options pieces=join joins them by the shortest lines of cells, pieces=largest leaves them out"
    )


def join(target: "Target") -> "Target":
    """Returns the body with its clusters joined by lines of cells, the shortest first; its notes say how many cells they have.

    Each new cell looks like the cell that its line begins at.
    """
    pieces = target.pieces
    if not pieces.cluster.any():
        return target
    values, occupied, added = target.values.clone(), target.occupied.clone(), 0
    outside = pieces.cluster > 0
    tree, others, cluster = pieces.cells[~outside], pieces.cells[outside], pieces.cluster[outside]
    # Prim (1957): the shortest line from what hangs together to a cell of what doesn't, again and again.
    gap, nearest = _gaps(others, tree)
    while len(others):
        number = int(gap.argmin())
        begin, end, length = tree[nearest[number]], others[number], int(gap[number])
        line = [begin + np.rint((end - begin) * k / length).astype(int) for k in range(1, length)]
        for z, y, x in line:
            values[:, z, y, x], occupied[z, y, x] = values[:, begin[0], begin[1], begin[2]], True
        added += len(line)
        arrived = cluster == cluster[number]
        fresh = np.concatenate([others[arrived], np.array(line).reshape(-1, 3)])
        others, cluster, gap, nearest = others[~arrived], cluster[~arrived], gap[~arrived], nearest[~arrived]
        closer, place = _gaps(others, fresh)
        nearest, gap = np.where(closer < gap, len(tree) + place, nearest), np.minimum(gap, closer)
        tree = np.concatenate([tree, fresh])
    notes = (*target.notes, f"note: {target.name}: pieces joined by {added} more cells")
    return replace(target, values=values, occupied=occupied, notes=notes)


def largest(target: "Target") -> "Target":
    """Returns the largest cluster of the body alone; its notes say how many cells are dropped."""
    pieces = target.pieces
    if not pieces.cluster.any():
        return target
    values, occupied = target.values.clone(), target.occupied.clone()
    dropped = pieces.cells[pieces.cluster > 0]
    for z, y, x in dropped:
        values[:, z, y, x], occupied[z, y, x] = 0, False
        # What is empty has class 0, as everywhere in a target.
        values[0, z, y, x] = float(target.kind == "classes")
    dropping = f"note: {target.name}: {len(dropped)} of {len(pieces.cells)} cells dropped: all but the largest of its pieces"
    return replace(target, values=values, occupied=occupied, notes=(*target.notes, dropping))


# What becomes of a body whose pieces are apart, by the value of the option `pieces`.
MENDS: dict[str, Callable[["Target"], "Target"]] = {
    "keep": lambda target: target,
    "join": join,
    "largest": largest,
}


def _gaps(cells: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns for each cell (n, 3) the Chebyshev distance to the nearest of others (m, 3), and that one's number."""
    gap, nearest = np.empty(len(cells), np.int64), np.empty(len(cells), np.int64)
    # In parts: all distances at once would be gigabytes for a large body.
    part = max(1, (1 << 22) // max(1, len(others)))
    for first in range(0, len(cells), part):
        away = np.abs(cells[first : first + part, None] - others[None]).max(-1)
        nearest[first : first + part] = away.argmin(1)
        gap[first : first + part] = away.min(1)
    return gap, nearest


def _cell(place: np.ndarray) -> Size:
    z, y, x = place.tolist()
    return z, y, x
