"""What ranks tell each other: each method is called by all of them at the same point of their work, and all get the answer.

Sums are always made in the order of ranks, so that every rank has the same bits.
"""

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


class Ranks:
    """The processes that train together, as one of them sees it.

    Args:
        rank: The number of this one, 0 .. size − 1.
        size: How many there are.
        local: The number of this one among those of its machine: which device is its own.

    Attributes:
        splits: What they share out: "samples" of a batch, or the "lattice", so that each has some cells of every sample.
        doing: What this rank is about, such as "iteration 7"; the others name it when it is lost.
        sent_bytes: How many bytes this rank has sent to others so far, as far as tensors go.
    """

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0) -> None:
        self.rank, self.size, self.local = rank, size, local
        self.doing = ""
        self.splits = "samples"
        self.sent_bytes = 0

    @property
    def first(self) -> bool:
        """Whether this is the rank that logs, saves and prints."""
        return self.rank == 0

    def share(self, count: int, rank: int | None = None) -> range:
        """Returns which of `count` things are a rank's: as many as those of the others, give or take one; in order of ranks.

        Args:
            count: How many things there are.
            rank: Whose share; None = this rank's.
        """
        rank = self.rank if rank is None else rank
        return range(count * rank // self.size, count * (rank + 1) // self.size)

    # What all tell all ------------------------------------------------------------------------------------------------

    def gather(self, tensor: "Tensor") -> "list[Tensor]":
        """Returns every rank's tensor, in the order of ranks; all have one shape and dtype."""
        if self.size == 1:
            return [tensor]
        import torch.distributed as dist

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
        """Returns the sum of every rank's tensor, added in the order of ranks."""
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

    def gather_objects(self, value: Any) -> list[Any]:
        """Returns every rank's value, in the order of ranks: whatever can be pickled, since only our own processes speak here."""
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

    def from_first(self, value: Any) -> Any:
        """Returns the value of rank 0 on every rank; what the others give is not looked at."""
        return self.gather_objects(value if self.first else None)[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """Returns what some work gives that rank 0 alone does; where it fails, it fails on every rank, with the same error."""
        if self.size == 1:
            return work()
        result, error = None, None
        if self.first:
            try:
                result = work()
            except Exception as wrong:
                # The cause is told too: whoever asks whether a disk was full asks it.
                error = wrong, wrong.__cause__
        result, error = self.from_first((result, error))
        if error is not None:
            raise error[0] from error[1]
        return result

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

    def exchange(self, sent: "Mapping[int, Tensor]", received: "Mapping[int, Tensor]") -> None:
        """Sends tensors to other ranks and fills those that come from them; ranks that have nothing for each other don't wait.

        Args:
            sent: By the rank that gets it. Contiguous.
            received: By the rank that it comes from: filled in place, of the sender's shape and dtype. Contiguous.
        """
        import torch.distributed as dist

        work = [dist.P2POp(dist.irecv, tensor, rank) for rank, tensor in sorted(received.items())]
        work += [dist.P2POp(dist.isend, tensor, rank) for rank, tensor in sorted(sent.items())]
        self.sent_bytes += sum(tensor.nbytes for tensor in sent.values())
        # As one batch: NCCL, which does one thing after the other, would wait for a sender that waits itself.
        for one in dist.batch_isend_irecv(work) if work else []:
            one.wait()


ALONE = Ranks()
_current = ALONE


def current() -> Ranks:
    """Returns the ranks that this process is one of; `ALONE` where it is the only one."""
    return _current


def set_current(ranks: Ranks) -> None:
    """Makes this process one of some ranks; `joined` alone calls it, and tests."""
    global _current
    _current = ranks


def expected() -> int:
    """Returns how many processes a launcher such as torchrun says that there are; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if os.environ.get("RANK", "").isdigit() else 1
