"""Memory of large tensors that is used again instead of being freed.

A step of a full cube at batch 256 writes a gigabyte of new tensors, and the operating system clears every page of new memory
before it hands the page out: a third of the step's time went there.
"""

import threading
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

# Bytes from which memory is pooled: of smaller tensors the C library keeps the memory itself when they are freed.
LARGE = 1 << 20
# Bytes that the pool holds at least, free and in use, before the oldest free memory goes back to the system.
KEPT = 1 << 30

_free: list[Tensor] = []
_lock = threading.Lock()
# Bytes of all memory of the pool, free or in use; and the most that was in use at once.
_held, _peak = 0, 0


def allocate(count: int, dtype: torch.dtype, prepare: Callable[[Tensor], None]) -> Tensor:
    """Returns (count,) uninitialised numbers, whose memory is pooled once nobody holds the tensor any more.

    Args:
        count: How many numbers.
        dtype: Their type.
        prepare: Is called with memory that is new from the system, before anything is written there.
    """
    if count * dtype.itemsize < LARGE:
        return torch.empty(count, dtype=dtype)
    with _lock:
        piece = _take(count, dtype)
    if piece is None:
        piece = torch.empty(count, dtype=dtype)
        prepare(piece)
    # Every tensor on this memory holds this array, and nothing else does: when the last of them is gone, so is the array, and
    # the piece is free. Appending to a list is atomic: a finalizer may run in any thread, even in one that holds the lock.
    array = piece.numpy()
    weakref.finalize(array, _free.append, piece).atexit = False
    return torch.from_numpy(array)


def give_back() -> None:
    """Returns all free memory of the pool to the system."""
    global _held, _peak
    with _lock:
        while _free:
            _held -= _free.pop().nbytes
        _peak = _held


def _take(count: int, dtype: torch.dtype) -> Tensor | None:
    """Takes a free piece of exactly this size out of the pool; None where there is none, and a new one must be made.

    What was in use at once may stay: training takes as much in each step, and to clear it anew every time costs up to half of
    the step. Only what is more than that goes back.
    """
    global _held, _peak
    # The newest first: its pages are the likeliest to be in the cache. Finalizers may append meanwhile, at the end, which
    # moves no place that was counted before.
    places = reversed(range(len(_free)))
    place = next((n for n in places if _free[n].numel() == count and _free[n].dtype == dtype), None)
    piece = None if place is None else _free.pop(place)
    _held += count * dtype.itemsize if piece is None else 0
    _peak = max(_peak, _held - sum(free.nbytes for free in _free[:]))
    while _held > max(KEPT, _peak) and _free:
        _held -= _free.pop(0).nbytes
    return piece
