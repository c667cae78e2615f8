"""How rows come to ranks, move between them and come together again, with their gradients: nodes of autograd's graph.

All ranks run the same graph, so the passes backward through these nodes meet, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.executors.slabs.cuts import Cuts
from nca3d.ranks import Ranks


def share(values: Tensor, ranks: Ranks, counts: Sequence[int]) -> Tensor:
    """Returns this rank's rows (n, C) of rows that all ranks have; backward all ranks get all gradients.

    Args:
        values: All rows, (N, C).
        ranks: The ranks.
        counts: How many rows each rank has, in their order.
    """
    own: Tensor = _Share.apply(values, ranks, counts)
    return own


def join(values: Tensor, ranks: Ranks, counts: Sequence[int]) -> Tensor:
    """Returns the rows of all ranks, (N, C); backward each rank takes the gradients of its own.

    Args:
        values: This rank's rows, (n, C).
        ranks: The ranks.
        counts: How many rows each rank has, in their order.
    """
    whole: Tensor = _Joined.apply(values, ranks, counts)
    return whole


class _Share(torch.autograd.Function):
    """See `share`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks, counts: Sequence[int]) -> Tensor:
        ctx.ranks, ctx.counts = ranks, counts
        first = sum(counts[: ranks.rank])
        return values[first : first + counts[ranks.rank]].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return ctx.ranks.gather_rows(gradient, ctx.counts), None, None


class _Joined(torch.autograd.Function):
    """See `join`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks, counts: Sequence[int]) -> Tensor:
        first = sum(counts[: ranks.rank])
        ctx.place = slice(first, first + counts[ranks.rank])
        return ranks.gather_rows(values, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.place], None, None


@dataclass(frozen=True)
class Move:
    """Which rows of a rank go where when cuts change.

    Attributes:
        ranks: The ranks.
        sent: By rank, which of this rank's rows it gets; this rank itself is among them.
        received: By rank, which of this rank's rows come from it.
        count: How many rows this rank has afterwards.
    """

    ranks: Ranks
    sent: dict[int, slice]
    received: dict[int, slice]
    count: int

    @classmethod
    def between(cls, ranks: Ranks, old: Cuts, new: Cuts, rows: Sequence[int]) -> "Move":
        """Returns what this rank has to send and receive.

        Args:
            ranks: The ranks.
            old: The cuts so far.
            new: The cuts from now on.
            rows: The number of rows of each plane, (B·D,).
        """
        before, me = [0, *accumulate(rows)], ranks.rank

        def common(here: Cuts, there: Cuts) -> dict[int, slice]:
            """The rows that this rank has under the one cuts, by the rank that has them under the others."""
            own, found = here.planes(me), {}
            for rank in range(ranks.size):
                other = there.planes(rank)
                first, stop = max(own.start, other.start), min(own.stop, other.stop)
                if first < stop and before[first] < before[stop]:
                    found[rank] = slice(before[first] - before[own.start], before[stop] - before[own.start])
            return found

        planes = new.planes(me)
        return cls(ranks, common(old, new), common(new, old), before[planes.stop] - before[planes.start])

    def back(self, count: int) -> "Move":
        """Returns the way back, for a rank that had `count` rows."""
        return Move(self.ranks, self.received, self.sent, count)

    def apply(self, rows: Tensor) -> Tensor:
        """Returns this rank's rows (m, …) after the move, from those before it (n, …)."""
        me = self.ranks.rank
        after = rows.new_empty(self.count, *rows.shape[1:])
        if me in self.received:
            after[self.received[me]] = rows[self.sent[me]]
        # Bytes on the CPU: no backend sends bools, and not every one sends from a device.
        sent = {rank: rows[place].cpu().contiguous() for rank, place in self.sent.items() if rank != me}
        come = {rank: after[place].cpu().contiguous() for rank, place in self.received.items() if rank != me}
        self.ranks.exchange(
            {rank: tensor.view(torch.uint8) for rank, tensor in sent.items()},
            {rank: tensor.view(torch.uint8) for rank, tensor in come.items()},
        )
        for rank, tensor in come.items():
            after[self.received[rank]] = tensor.to(rows.device)
        return after


def move_rows(x: Tensor, move: Move) -> Tensor:
    """Returns rows (m, stride) after a move, from those before it (n, stride); backward their gradients go back."""
    moved: Tensor = _Moved.apply(x, move)
    return moved


class _Moved(torch.autograd.Function):
    """See `move_rows`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, move: Move) -> Tensor:
        ctx.way_back = move.back(len(x))
        return move.apply(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.way_back.apply(gradient.contiguous()), None
