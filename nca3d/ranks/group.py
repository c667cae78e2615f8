"""What ranks tell each other: each method is called by all of them at the same point of their work, and all get the answer.

Sums are always made in the order of ranks, so that every rank has the same bits.
"""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from nca3d.errors import InputError, RunError
from nca3d.process import room

if TYPE_CHECKING:
    from torch import Tensor

Result = TypeVar("Result")


class LostRankError(RuntimeError):
    """The connection to another rank is broken, or it has not answered in time; `ending.py` finds out why."""


@contextmanager
def _in_touch() -> Iterator[None]:
    """A context whose errors are those of a connection to another rank, whatever its library calls them.

    Raises:
        LostRankError: The connection is broken, or an answer has not come in time.
    """
    try:
        yield
    except LostRankError:
        raise
    except RuntimeError as error:
        if room.ran_out(error):
            raise
        raise LostRankError(" ".join(str(error).split())) from error


class Ranks:
    """The processes that train together, as one of them sees it.

    Args:
        rank: The number of this one, 0 .. size − 1.
        size: How many there are.
        local: The number of this one among those of its machine: which device is its own.

    Attributes:
        splits: What they share out: "samples" of a batch, or the "lattice", so that each has some cells of every sample.
        doing: What this rank is about, such as "iteration 7"; the others name it when it is lost.
        calls: How often this rank has asked the others for something: who hangs, has asked less often.
        sent_bytes: How many bytes this rank has sent to others so far, as far as tensors go.
        stopped: The rank that a signal came to, where all stop for it; None = there was none.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0) -> None:
        self.rank, self.size, self.local = rank, size, local
        self.doing = ""
        self.splits = "samples"
        self.calls = self.sent_bytes = 0
        self.stopped: int | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that logs, saves and prints."""
        return self.rank == 0

    def share(self, count: int, rank: int | None = None) -> range:
        """Returns which of `count` things are a rank's: as many as those of the others, give or take one; in order of ranks.

        Rank 0, which logs what it sees of a run, has some where there are any.

        Args:
            count: How many things there are.
            rank: Whose share; None = this rank's.
        """
        rank = self.rank if rank is None else rank
        return range(-(-count * rank // self.size), -(-count * (rank + 1) // self.size))

    # What all tell all ------------------------------------------------------------------------------------------------

    @_in_touch()
    def gather(self, tensor: "Tensor") -> "list[Tensor]":
        """Returns every rank's tensor, of any shape that all have, in the order of ranks."""
        if self.size == 1:
            return [tensor]
        import torch.distributed as dist

        self.calls += 1
        tensor = tensor.contiguous()
        self.sent_bytes += tensor.nbytes * (self.size - 1)
        parts = [tensor.new_empty(tensor.shape) for _ in range(self.size)]
        dist.all_gather(parts, tensor)
        return parts

    def gather_rows(self, tensor: "Tensor", counts: Sequence[int]) -> "Tensor":
        """Returns all ranks' rows one after the other, (sum of counts, …).

        Args:
            tensor: This rank's rows, (counts[rank], …).
            counts: How many rows each rank has; all know it.
        """
        if self.size == 1:
            return tensor
        import torch

        most = max(counts)
        padded = tensor.new_zeros(most, *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        return torch.cat([part[:count] for part, count in zip(self.gather(padded), counts, strict=True)])

    def sum(self, tensor: "Tensor") -> "Tensor":
        """Returns the sum of every rank's tensor, of any shape, added in the order of ranks."""
        first, *others = self.gather(tensor)
        if not others:
            return first
        total = first.clone()
        for other in others:
            total += other
        return total

    def any(self, truth: bool) -> bool:
        """Returns whether it is true on one rank at least."""
        return any(self.gather_objects(truth)) if self.size > 1 else truth

    @_in_touch()
    def gather_objects(self, value: Result) -> list[Result]:
        """Returns every rank's value, in the order of ranks: whatever can be pickled, since only our own processes speak."""
        if self.size == 1:
            return [value]
        import torch
        import torch.distributed as dist

        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        sizes = [int(size) for size in self.gather(torch.tensor([len(data)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(data)] = data
        self.sent_bytes += len(padded) * (self.size - 1)
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return [pickle.loads(part[:size].numpy().tobytes()) for part, size in zip(parts, sizes, strict=True)]

    def from_first(self, value: Result) -> Result:
        """Returns the value of rank 0 on every rank; what the others give is not looked at."""
        return cast(Result, self.gather_objects(value if self.first else None)[0])

    # What one tells another -------------------------------------------------------------------------------------------

    def rows_on_first(self, rows: "Tensor", places: "Sequence[Tensor]") -> "Tensor | None":
        """Returns all ranks' rows in their places on rank 0, which alone needs the memory for it; None on the others.

        Args:
            rows: This rank's rows, (n, …).
            places: Which rows of the whole each rank has, int64 (n,), in the order of ranks: together all, each once.
        """
        if not self.first:
            self.exchange({0: rows.contiguous()}, {})
            return None
        whole = rows.new_empty(sum(map(len, places)), *rows.shape[1:])
        whole[places[0].to(rows.device)] = rows
        for rank in range(1, self.size):
            received = rows.new_empty(len(places[rank]), *rows.shape[1:])
            self.exchange({}, {rank: received})
            whole[places[rank].to(rows.device)] = received
        return whole

    @_in_touch()
    def exchange(self, sent: "Mapping[int, Tensor]", received: "Mapping[int, Tensor]") -> None:
        """Sends tensors to other ranks and fills those that come from them; ranks that have nothing for each other don't wait.

        Args:
            sent: By the rank that gets it, of any shape. Contiguous.
            received: By the rank that it comes from: filled in place, of the sender's shape and dtype. Contiguous.
        """
        import torch.distributed as dist

        self.calls += 1
        work = [dist.P2POp(dist.irecv, tensor, rank) for rank, tensor in sorted(received.items())]
        work += [dist.P2POp(dist.isend, tensor, rank) for rank, tensor in sorted(sent.items())]
        self.sent_bytes += sum(tensor.nbytes for tensor in sent.values())
        # As one batch: NCCL, which does one thing after the other, would wait for a sender that waits itself.
        for one in dist.batch_isend_irecv(work) if work else []:
            one.wait()

    def exchange_bytes(self, sent: "Mapping[int, Tensor]", expected: "Mapping[int, tuple[int, int]]") -> "dict[int, Tensor]":
        """Sends other ranks as many bytes as there are, and returns what comes from them, uint8 (n,), on the CPU.

        What both sides expect goes in one message; a second one follows with the rest where there are more.

        Args:
            sent: By the rank that gets them: the bytes, uint8 (n,), on the CPU.
            expected: By rank, how many bytes are expected to go to it and to come from it; the other one expects the same.
        """
        import numpy as np
        import torch

        first, left = {}, {}
        for rank, tensor in sent.items():
            data, most = tensor.numpy(), expected[rank][0]
            message = np.zeros(8 + most, np.uint8)
            message[:8].view(np.int64)[0], message[8 : 8 + len(data)] = len(data), data[:most]
            first[rank] = torch.from_numpy(message)
            if len(data) > most:
                left[rank] = tensor[most:]
        received = {rank: torch.from_numpy(np.empty(8 + most, np.uint8)) for rank, (_, most) in expected.items()}
        self.exchange(first, received)
        counts = {rank: int(tensor.numpy()[:8].view(np.int64)[0]) for rank, tensor in received.items()}
        rest = {
            rank: torch.empty(n - expected[rank][1], dtype=torch.uint8) for rank, n in counts.items() if n > expected[rank][1]
        }
        self.exchange(left, rest)
        found = {rank: tensor[8 : 8 + counts[rank]] for rank, tensor in received.items()}
        return {rank: torch.cat([tensor, rest[rank]]) if rank in rest else tensor for rank, tensor in found.items()}


@contextmanager
def alone() -> Iterator[None]:
    """A context in which this process asks the others for nothing: they do not take part in what it does."""
    ranks = current()
    set_current(ALONE)
    try:
        yield
    finally:
        set_current(ranks)


def by_first(work: Callable[[], Result]) -> Result:
    """Does something on rank 0 alone, and returns its result on every rank.

    Raises:
        Exception: What it raised on rank 0, on every rank.
    """
    ranks = current()
    if ranks.size == 1:
        return work()
    result, error = None, None
    if ranks.first:
        try:
            # The others wait for its answer, and for nothing else.
            with alone():
                result = work()
        except (InputError, RunError) as raised:
            error = raised
    told = ranks.from_first((result, None if error is None else (error, error.__cause__)))
    if told[1] is None:
        return cast(Result, told[0])
    if error is not None:
        raise error
    raise told[1][0] from told[1][1]


ALONE = Ranks()
_current = ALONE


def current() -> Ranks:
    """Returns the ranks that this process is one of; `ALONE` where it is the only one."""
    return _current


def set_current(ranks: Ranks) -> None:
    """Makes this process one of some ranks; `joined` alone calls it, and tests."""
    global _current
    _current = ranks
