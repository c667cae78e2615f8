"""What crosses a cut: rows near it go to the ranks that see them, and their gradients come back.

What a rank borrows are its ghosts: rows that exist, two planes deep, never whole planes. They are thrown away after each step.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nca3d.executors.slabs.cuts import BESIDE, BEYOND, Cuts, runs
from nca3d.executors.store import Rows, Store
from nca3d.ranks import Ranks

# Bytes at the front of a message: how many rows there are, and whether their cells follow.
HEAD = 16


@dataclass
class Crossed:
    """What one rank has sent across its cuts.

    Attributes:
        forward: Bytes of rows, with their cells and alive mask.
        backward: Bytes of gradients of rows.
    """

    forward: int = 0
    backward: int = 0


# Who wants to know.
_noted: ContextVar[Crossed | None] = ContextVar("crossed", default=None)


@contextmanager
def noted_crossing() -> Iterator[Crossed]:
    """A context that notes how many bytes this rank sends across its cuts, for measurements."""
    token = _noted.set(crossed := Crossed())
    try:
        yield crossed
    finally:
        _noted.reset(token)


def picked(tensor: Tensor, places: list[slice]) -> Tensor:
    """Returns the rows of a tensor (R, …) at some places, one after the other; a view where they follow each other."""
    return tensor[places[0]] if len(places) == 1 else torch.cat([tensor[place] for place in places]) if places else tensor[:0]


class Planes:
    """Some planes, by which their rows are found in a list of cells.

    Args:
        planes: The planes, rising.
        plane_cells: The number of cells of a plane, H·W.
        rows: The backend, whose lists of cells will be asked.
    """

    def __init__(self, planes: Iterable[int], plane_cells: int, rows: Rows) -> None:
        self.runs = list(runs(planes))
        edges = [edge * plane_cells for run in self.runs for edge in (run.start, run.stop)]
        self.edges = torch.tensor(edges, dtype=torch.int64).to(rows.device, rows.index)
        # On the CPU numpy asks the same in a fraction of the time.
        self.search = self.edges.numpy() if rows.device.type == "cpu" else None

    def rows(self, cells: Tensor) -> list[slice]:
        """Returns which rows of a list of cells (R,), rising, lie in these planes: a slice for each run of planes."""
        searched = torch.searchsorted(cells, self.edges) if self.search is None else np.searchsorted(cells.numpy(), self.search)
        at = searched.tolist()
        return [slice(first, stop) for first, stop in zip(at[::2], at[1::2], strict=True)]


class Ghosts:
    """The exchange of one rank with those whose planes are near its own.

    Args:
        ranks: The ranks.
        cuts: Which planes each of them owns.
        rows: The backend of this rank's rows, for the whole batch.
    """

    def __init__(self, ranks: Ranks, cuts: Cuts, rows: Rows) -> None:
        self.ranks, self.cuts, self.backend = ranks, cuts, rows
        me, plane_cells = ranks.rank, rows.size[1] * rows.size[2]

        def pairs(mine: int, far: tuple[int, ...]) -> dict[int, Planes]:
            """Planes so far from the taker's own, by the other rank; mine: 0 = those that are given, 1 = those that come."""
            return {
                pair[1 - mine]: Planes([plane for plane, how in planes.items() if how in far], plane_cells, rows)
                for pair, planes in sorted(cuts.lent.items())
                if pair[mine] == me
            }

        self.given, self.given_beside = pairs(0, (BESIDE, BEYOND)), pairs(0, (BESIDE,))
        self.taken_beside, self.taken_beyond = pairs(1, (BESIDE,)), pairs(1, (BEYOND,))
        self.own = Planes(cuts.planes(me), plane_cells, rows)
        self.begin()

    def begin(self) -> None:
        """Forgets what was exchanged before: called by all ranks at once, before some steps."""
        none = np.zeros(0, np.int32)
        self.cells_given, self.cells_taken = dict.fromkeys(self.given, none), dict.fromkeys(self.taken_beside, none)
        self.lengths = {rank: (0, 0) for rank in sorted({*self.given, *self.taken_beside})}

    def own_rows(self, cells: Tensor) -> slice:
        """Returns which rows of a list of cells (R,) belong to this rank."""
        return next(iter(self.own.rows(cells)), slice(0, 0))

    def fetch(self, own: Store) -> tuple[list[Store], list[Store]]:
        """Returns the ghosts before and after this rank's rows, in the order of cells.

        Args:
            own: This rank's rows, without DEAD and OUTSIDE.
        """
        sent = {rank: self._packed(rank, own) for rank in self.given}
        none, before = torch.zeros(0, dtype=torch.uint8), self.ranks.sent_bytes
        received = self.ranks.exchange_bytes({rank: sent.get(rank, none) for rank in self.lengths}, self.lengths)
        if (crossed := _noted.get()) is not None:
            crossed.forward += self.ranks.sent_bytes - before
        self.lengths = {rank: (len(sent.get(rank, none)), len(received[rank])) for rank in self.lengths}
        # The planes of a lower rank come first: sorted by rank, cells are sorted.
        ghosts = {rank: self._unpacked(rank, received[rank], own) for rank in self.taken_beside}
        me = self.ranks.rank
        return [ghosts[rank] for rank in ghosts if rank < me], [ghosts[rank] for rank in ghosts if rank > me]

    def _packed(self, rank: int, own: Store) -> Tensor:
        """Returns the rows that another rank borrows as bytes, (n,)."""
        places, channels = self.given[rank].rows(own.cells), self.backend.rule.channels
        x = picked(own.x[:, :channels], places).cpu().numpy()
        cells = picked(own.cells, places).to("cpu", torch.int32).numpy()
        alive = picked(own.alive, places).to("cpu", torch.uint8).numpy()
        # A body that keeps its shape doesn't tell it again.
        told = len(cells) > 0 and np.array_equal(cells, self.cells_given[rank])
        # A copy: what a store points to is used again.
        self.cells_given[rank] = self.cells_given[rank] if told else cells.copy()
        data = np.empty(HEAD + x.nbytes + (0 if told else cells.nbytes) + len(alive), np.uint8)
        data[:HEAD].view(np.int64)[:] = len(cells), not told
        end = HEAD + x.nbytes
        data[HEAD:end].view(x.dtype).reshape(x.shape)[:] = x
        if not told:
            data[end : end + cells.nbytes].view(np.int32)[:] = cells
        data[len(data) - len(alive) :] = alive
        return torch.from_numpy(data)

    def _unpacked(self, rank: int, message: Tensor, own: Store) -> Store:
        """Returns the rows that another rank lends, from its message (n,)."""
        backend, channels, data = self.backend, self.backend.rule.channels, message.numpy()
        count, follow = data[:HEAD].view(np.int64).tolist()
        end = HEAD + count * channels * own.x.element_size()
        x = message[HEAD:end].view(own.x.dtype).view(count, channels)
        if follow:
            self.cells_taken[rank] = data[end : end + 4 * count].view(np.int32)
        cells = torch.from_numpy(self.cells_taken[rank]).to(backend.device, backend.index)
        alive = message[len(data) - count :].to(backend.device, own.alive.dtype)
        for place in self.taken_beyond[rank].rows(cells):
            alive[place] = backend.lent(alive[place])
        x = x.to(backend.device)
        return Store(
            cells, torch.nn.functional.pad(x, (0, backend.stride - channels)) if backend.stride > channels else x, alive
        )

    def settle(self, cells: Tensor, grad_x: Tensor) -> None:
        """Sends the gradients of ghosts to the ranks that they belong to, and adds those that come, in the order of ranks.

        Args:
            cells: The cells of this rank's rows and its ghosts in a step, (R,).
            grad_x: The gradients of these rows, (R, stride), changed in place.
        """
        channels = self.backend.rule.channels
        # No row of this rank sees farther than the planes beside its own.
        places = {rank: planes.rows(cells) for rank, planes in self.taken_beside.items()}
        sent = {rank: picked(grad_x[:, :channels], at).cpu().contiguous() for rank, at in places.items()}
        targets = {rank: planes.rows(cells) for rank, planes in self.given_beside.items()}
        counts = {rank: sum(place.stop - place.start for place in at) for rank, at in targets.items()}
        received = {rank: torch.empty(count, channels, dtype=grad_x.dtype) for rank, count in counts.items()}
        before = self.ranks.sent_bytes
        self.ranks.exchange(
            {rank: tensor for rank, tensor in sent.items() if len(tensor)},
            {rank: tensor for rank, tensor in received.items() if len(tensor)},
        )
        if (crossed := _noted.get()) is not None:
            crossed.backward += self.ranks.sent_bytes - before
        for rank, at in targets.items():
            grads = iter(received[rank].to(grad_x.device).split([place.stop - place.start for place in at]))
            for place in at:
                grad_x[place, :channels] += next(grads)
