"""Where a batch is cut: each rank owns a range of its planes, which are numbered over samples and depth, plane = b·D + d.

The cells of a range of planes follow each other in the list of all cells, whatever the sample, so the rows of a rank are one
range of all rows. Two samples on two ranks can come out with no cut through a body at all.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

# How far a plane that a rank borrows is from its own ones: its cells fire, for their alpha decides who lives beside them; those
# beyond are only looked at, by them.
BESIDE, BEYOND = 1, 2

# Rows move when the fullest rank has more than so many times the mean, and if it then has at most so much of what it had.
UNEVEN, WORTH = 1.1, 0.95


@dataclass(frozen=True)
class Cuts:
    """The planes of each rank.

    Attributes:
        bounds: The first plane of each rank, and the number of all planes; rising, 0 in front. Ranks may have no plane.
        depth: The number of planes of a sample, D.
        circular: Whether the last plane of a sample touches its first.
    """

    bounds: tuple[int, ...]
    depth: int
    circular: bool

    @classmethod
    def even(cls, rows: Sequence[int], ranks: int, depth: int, circular: bool) -> "Cuts":
        """Returns the cuts after which each rank has about as many rows.

        Args:
            rows: The number of rows of each plane, (B·D,).
            ranks: How many ranks there are.
            depth: The number of planes of a sample, D.
            circular: Whether the last plane of a sample touches its first.
        """
        before = [0, *accumulate(rows)]
        # Where nothing lives planes count: a body will grow somewhere.
        before = before if before[-1] else list(range(len(rows) + 1))
        # At the border of a plane that is nearest to each rank's share.
        places = range(len(before))
        inner = [min(places, key=lambda at: abs(before[at] * ranks - before[-1] * rank)) for rank in range(1, ranks)]
        return cls((0, *inner, len(rows)), depth, circular)

    @property
    def ranks(self) -> int:
        """The number of ranks."""
        return len(self.bounds) - 1

    def planes(self, rank: int) -> range:
        """Returns the planes of a rank."""
        return range(self.bounds[rank], self.bounds[rank + 1])

    def owner(self, plane: int) -> int:
        """Returns the rank that a plane belongs to."""
        return bisect_right(self.bounds, plane) - 1

    def borrowed(self, rank: int) -> dict[int, int]:
        """Returns the planes of other ranks that a rank needs in a step, rising, each as BESIDE or BEYOND."""
        own, depth = self.planes(rank), self.depth
        found: dict[int, int] = {}
        for sample in range(own.start // depth, -(-own.stop // depth) if own else 0):
            first = sample * depth
            low, high = max(own.start, first) - first, min(own.stop, first + depth) - first
            for far in (BESIDE, BEYOND):
                for at in (low - far, high - 1 + far):
                    plane = first + (at % depth if self.circular else at)
                    if (self.circular or 0 <= at < depth) and plane not in own:
                        # A plane that is reached both ways is as near as the shorter one makes it.
                        found.setdefault(plane, far)
        return dict(sorted(found.items()))

    @cached_property
    def lent(self) -> dict[tuple[int, int], dict[int, int]]:
        """By (giver, taker) the planes that one rank lends another, as `borrowed` has them; only pairs that have any."""
        pairs: dict[tuple[int, int], dict[int, int]] = {}
        for taker in range(self.ranks):
            for plane, far in self.borrowed(taker).items():
                pairs.setdefault((self.owner(plane), taker), {})[plane] = far
        return pairs

    def rows_of_ranks(self, rows: Sequence[int]) -> list[int]:
        """Returns how many rows each rank has, from the number of rows of each plane (B·D,)."""
        return [sum(rows[plane] for plane in self.planes(rank)) for rank in range(self.ranks)]

    def rebalanced(self, rows: Sequence[int]) -> "Cuts":
        """Returns even cuts if these are uneven and others are better, else these.

        Args:
            rows: The number of rows of each plane, (B·D,).
        """
        most = max(self.rows_of_ranks(rows))
        if most * self.ranks <= UNEVEN * sum(rows):
            return self
        other = Cuts.even(rows, self.ranks, self.depth, self.circular)
        return other if max(other.rows_of_ranks(rows)) <= WORTH * most else self


def runs(planes: Iterable[int]) -> Iterator[range]:
    """Yields the ranges of planes that follow each other.

    Args:
        planes: Some planes, rising.
    """
    start = stop = -1
    for plane in planes:
        if plane != stop:
            if stop > start:
                yield range(start, stop)
            start = plane
        stop = plane + 1
    if stop > start:
        yield range(start, stop)
