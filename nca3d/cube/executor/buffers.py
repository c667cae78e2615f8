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
# Bytes of free memory that the pool holds at most; beyond it the oldest goes back to the system.
KEPT = 1 << 30

_free: list[Tensor] = []
_lock = threading.Lock()


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
    with _lock:
        _free.clear()


def _take(count: int, dtype: torch.dtype) -> Tensor | None:
    """Takes a free piece of exactly this size out of the pool; None where there is none."""
    # The newest first: its pages are the likeliest to be in the cache. Finalizers may append meanwhile, at the end, which
    # moves no place that was counted before.
    places = reversed(range(len(_free)))
    place = next((n for n in places if _free[n].numel() == count and _free[n].dtype == dtype), None)
    piece = None if place is None else _free.pop(place)
    while sum(free.nbytes for free in _free[:]) > KEPT:
        del _free[0]
    return piece
