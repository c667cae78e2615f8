"""Ranks that are threads of one process: what they tell each other goes by a common table."""

import pickle
import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from torch import Tensor

from nca3d.ranks import ALONE, Ranks, group
from nca3d.training import agreed, shares

_own = threading.local()


class Room:
    """Where they meet."""

    def __init__(self, size: int) -> None:
        self.barrier, self.table = threading.Barrier(size, timeout=20), [None] * size
        self.sent: defaultdict[tuple[int, int], queue.Queue[Tensor]] = defaultdict(queue.Queue)


class ThreadRanks(Ranks):
    def __init__(self, rank: int, room: Room) -> None:
        super().__init__(rank, len(room.table))
        self.room = room

    def _all(self, value: Any) -> list[Any]:
        self.room.table[self.rank] = value
        self.room.barrier.wait()
        values = list(self.room.table)
        self.room.barrier.wait()
        return values

    def gather(self, tensor: Tensor) -> list[Tensor]:
        parts = self._all(tensor)
        assert all((part.shape, part.dtype) == (tensor.shape, tensor.dtype) for part in parts), "as gloo wants it"
        return [part.clone() for part in parts]

    def gather_objects(self, value: Any) -> list[Any]:
        return [pickle.loads(data) for data in self._all(pickle.dumps(value))]

    def exchange(self, sent: Mapping[int, Tensor], received: Mapping[int, Tensor]) -> None:
        for rank, tensor in sent.items():
            assert tensor.is_contiguous()
            self.room.sent[self.rank, rank].put(tensor.clone())
        for rank, tensor in received.items():
            came = self.room.sent[rank, self.rank].get(timeout=20)
            assert (came.shape, came.dtype) == (tensor.shape, tensor.dtype)
            tensor.copy_(came)


def together(size: int, work: Callable[[Ranks], Any]) -> list[Any]:
    """What some work gives on each of so many ranks; what one of them raises is raised here."""
    room, found, errors = Room(size), [None] * size, list[BaseException]()

    def run(rank: int) -> None:
        _own.ranks = ThreadRanks(rank, room)
        try:
            found[rank] = work(_own.ranks)
        except BaseException as error:
            errors.append(error)
            room.barrier.abort()

    with pytest.MonkeyPatch.context() as patch:
        for module in (group, shares, agreed):
            patch.setattr(module, "current", lambda: getattr(_own, "ranks", ALONE))
        patch.setattr(group, "set_current", lambda ranks: setattr(_own, "ranks", ranks))
        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return found
