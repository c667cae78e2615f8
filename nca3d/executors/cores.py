"""How many cores compiled steps run on. Results don't depend on it, not in one bit: work is dealt out by its size alone.

It is a number apart from torch's threads: a second thread makes torch's short operations on a small body slower, and a whole
segment of compiled steps faster.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

# A context variable, so that a choice holds in one thread and ends with its block.
_chosen: ContextVar[int | None] = ContextVar("cores", default=None)


def cores() -> int:
    """Returns the number of cores that `use_cores` chose, else as many as torch uses now."""
    return _chosen.get() or torch.get_num_threads()


@contextmanager
def use_cores(count: int) -> Iterator[None]:
    """Runs compiled steps inside the block on so many cores, whatever torch's number of threads is."""
    token = _chosen.set(count)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Runs torch's own operations inside the block on so many threads; None = as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_on_one() -> Iterator[None]:
    """Runs torch's own operations inside the block on one core, and compiled steps on as many as before."""
    # Nothing to change, and so nothing to restore, which another thread inside such a block would feel.
    if torch.get_num_threads() == 1:
        yield
        return
    # In this order: `cores` may have to ask torch for its threads before there is only one.
    with use_cores(cores()), torch_threads(1):
        yield
