"""How many cores compiled steps run on. Results do not depend on it, not by one bit: work is dealt out by its size alone.

It is not torch's number of threads: torch's short operations on a small body lose by a second thread, whole segments gain.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_chosen: ContextVar[int | None] = ContextVar("cores", default=None)


def cores() -> int:
    """Returns the number of cores that `use_cores` chose, else as many as torch uses now."""
    return _chosen.get() or torch.get_num_threads()


@contextmanager
def use_cores(count: int) -> Iterator[None]:
    """Has compiled steps inside run on so many cores, whatever torch's number of threads is."""
    token = _chosen.set(count)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """Has torch's own operations inside run on so many threads; None = on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def torch_on_one() -> Iterator[None]:
    """Has torch's own operations inside run on the calling core alone, compiled steps on as many cores as before."""
    if torch.get_num_threads() == 1:  # nothing to give back: another thread may be inside already
        yield
        return
    with use_cores(cores()), torch_threads(1):
        yield
