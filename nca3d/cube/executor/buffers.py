"""Memory of large tensors that is used again. A step of a full cube at batch 256 writes a gigabyte that is new to it, and the
system clears each page before it hands it out: a third of the step's time went there."""

import threading
import weakref
from collections.abc import Callable

import torch
from torch import Tensor

# Bytes from which memory is kept: what is smaller does not go back to the system when it is freed.
LARGE = 1 << 20
# Bytes of free memory that are kept at most; beyond it the oldest goes back.
KEPT = 1 << 30

_free: list[Tensor] = []
_lock = threading.Lock()


def allocate(count: int, dtype: torch.dtype, prepare: Callable[[Tensor], None]) -> Tensor:
    """(count,) numbers, not written yet; their memory is used again when nobody holds the tensor any more.

    Args:
        count: of numbers.
        dtype: theirs.
        prepare: is shown memory that is new.
    """
    if count * dtype.itemsize < LARGE:
        return torch.empty(count, dtype=dtype)
    with _lock:
        piece = _found(count, dtype)
    if piece is None:
        piece = torch.empty(count, dtype=dtype)
        prepare(piece)
    # Every tensor on this memory holds this array, and nothing else does: with the last of them it goes.
    array = piece.numpy()
    weakref.finalize(array, _free.append, piece).atexit = False
    return torch.from_numpy(array)


def give_back() -> None:
    """Free memory goes back to the system."""
    with _lock:
        _free.clear()


def _found(count: int, dtype: torch.dtype) -> Tensor | None:
    """A free piece of this size; others may be added meanwhile, at the end."""
    places = reversed(range(len(_free)))
    place = next((n for n in places if _free[n].numel() == count and _free[n].dtype == dtype), None)
    found = None if place is None else _free.pop(place)
    while sum(piece.nbytes for piece in _free[:]) > KEPT:
        del _free[0]
    return found
