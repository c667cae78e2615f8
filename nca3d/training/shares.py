"""What each of several processes runs of one batch, and how what they find becomes the batch's again.

A sample is known by its place in the whole batch: its fire masks follow from it (law 4), and sums are made in its order
(law 8), so that nothing depends on who runs it. One process alone has all places, and is asked nothing else.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nca3d.ranks import ALONE, Ranks, current

# Share of a process's work by which it may have more to do than another.
SLACK = 0.02


@dataclass(frozen=True)
class Share:
    """Who runs which samples of a batch.

    Attributes:
        ranks: The processes, as this one sees them.
        runner: The rank that runs the sample at each place.
        places: The places of those that this process runs, rising.
    """

    ranks: Ranks
    runner: tuple[int, ...]
    places: tuple[int, ...]

    @classmethod
    def of(cls, runner: Sequence[int], ranks: Ranks = ALONE) -> "Share":
        """Returns this process's share, from the rank that runs the sample at each place."""
        return cls(ranks, tuple(runner), tuple(place for place, rank in enumerate(runner) if rank == ranks.rank))

    def __len__(self) -> int:
        return len(self.places)

    @property
    def index(self) -> Tensor:
        """The places of this process's samples, int64 (n,)."""
        return torch.tensor(self.places, dtype=torch.int64)

    def among(self, places: Sequence[int]) -> list[int]:
        """Returns which of some places are this process's, as their numbers in that list."""
        own = set(self.places)
        return [number for number, place in enumerate(places) if place in own]

    def whole(self, rows: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Returns what all processes have found, one row for each sample, (B, …) in the order of places.

        Args:
            rows: What this process has found of its own samples, (n, …) in their order.
            places: Some places, in the order in which their rows are wanted and come; None = all.
        """
        if self.ranks.size == 1:
            return rows
        order = list(range(len(self.runner)) if places is None else places)
        by_rank = [
            [number for number, place in enumerate(order) if self.runner[place] == rank] for rank in range(self.ranks.size)
        ]
        found = self.ranks.gather_rows(rows, [len(own) for own in by_rank])
        back = torch.tensor([number for own in by_rank for number in own], dtype=torch.int64)
        return found[back.argsort().to(found.device)]

    def mean(self, metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Returns the means over the whole batch of what all processes have measured, by name.

        A figure with parts, `iou` of `iou.cross` and `iou.torus`, is the mean of its parts, as many samples as each may have.

        Args:
            metrics: The figures of each of this process's samples.
        """
        found = [one for own in self.ranks.gather_objects([dict(one) for one in metrics]) for one in own]
        values = {name: [one[name] for one in found if name in one] for name in dict.fromkeys(n for one in found for n in one)}
        means = {name: sum(own) / len(own) for name, own in values.items()}
        for name in means:
            if parts := [mean for part, mean in means.items() if part.startswith(f"{name}.")]:
                means[name] = sum(parts) / len(parts)
        return means


def split(batch: int) -> Share:
    """Returns the shares of a batch whose samples lie nowhere yet: as many for each process, in the order of ranks.

    Where processes share out the lattice, each runs all samples.

    Args:
        batch: The number of samples.
    """
    ranks = current()
    if ranks.size == 1 or ranks.splits != "samples":
        return Share.of([0] * batch)
    return Share.of([rank for rank in range(ranks.size) for _ in ranks.share(batch, rank)], ranks)


def deal(owner: Sequence[int], costs: Sequence[float]) -> Share:
    """Returns the shares of a batch by what its samples cost, so that no process waits long for another.

    Samples stay where they lie, but that the busiest process gives the idlest one a sample, or changes one with it, as long as
    this brings the two closer together.

    Args:
        owner: The rank where the sample at each place lies.
        costs: What each sample is expected to cost, 0 or more, in any unit; all ranks know the same.
    """
    ranks, runner = current(), list(owner)
    load = [sum(cost for cost, rank in zip(costs, owner, strict=True) if rank == own) for own in range(ranks.size)]
    for _ in owner:
        high, low = load.index(max(load)), load.index(min(load))
        gap = load[high] - load[low]
        if gap <= SLACK * sum(costs) / ranks.size:
            break
        given = [place for place, rank in enumerate(runner) if rank == high]
        taken = [None, *(place for place, rank in enumerate(runner) if rank == low)]
        moved = {(one, other): costs[one] - (0 if other is None else costs[other]) for one in given for other in taken}
        (one, other), less = min(moved.items(), key=lambda pair: abs(pair[1] - gap / 2))
        if not 0 < less < gap:
            break
        runner[one], load[high], load[low] = low, load[high] - less, load[low] + less
        if other is not None:
            runner[other] = high
    return Share.of(runner, ranks)


def move(rows: Tensor, before: Share, after: Share) -> Tensor:
    """Returns the rows of a process's new share of a batch, (m, …); ranks send each other what they have and need.

    Args:
        rows: The rows of its share before, (n, …).
        before: Who has which samples.
        after: Who is to have them.
    """
    if before.runner == after.runner:
        return rows
    me, row = before.ranks.rank, {place: number for number, place in enumerate(before.places)}
    going, coming = defaultdict(list), defaultdict(list)
    for place, (a, b) in enumerate(zip(before.runner, after.runner, strict=True)):
        if a == me != b:
            going[b].append(place)
        elif b == me != a:
            coming[a].append(place)
    room = {rank: rows.new_empty(len(places), *rows.shape[1:]) for rank, places in coming.items()}
    before.ranks.exchange({rank: rows[[row[place] for place in places]] for rank, places in going.items()}, room)
    found = {place: one for rank, places in coming.items() for place, one in zip(places, room[rank], strict=True)}
    own = [found[place] if place in found else rows[row[place]] for place in after.places]
    return torch.stack(own) if own else rows[:0]
