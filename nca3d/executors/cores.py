"""How many cores compiled steps run on, and how many threads torch's own operations take.

These are two numbers: a second thread makes torch's short operations on a small body slower (it waits for its turn longer than
it works, on a busy machine a hundred times as long), and a whole segment of compiled steps faster. Results of compiled steps
don't depend on it, not in one bit: work is dealt out by its size alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from nca3d.sparse import Compact

State = TypeVar("State", Tensor, Compact)

# Number of cells in a batch below which one thread is the fastest for torch's operations.
SMALL = 32_768

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


@contextmanager
def torch_on_few(state: Tensor | Compact) -> Iterator[None]:
    """Runs torch's own operations inside the block on one core if the state (B, C, D, H, W) is small, and on the CPU."""
    with torch_on_one() if _wants_one(state) else nullcontext():
        yield


def backward_on_few(state: State) -> State:
    """Returns the state itself; what led to it runs backward on one core if the state is small, to the end of the pass."""
    values = state.values if isinstance(state, Compact) else state
    if not (values.requires_grad and _wants_one(state) and torch.get_num_threads() > 1):
        return state
    marked = _BackwardOnOne.apply(values)
    return replace(state, values=marked) if isinstance(state, Compact) else marked


def _wants_one(state: Tensor | Compact) -> bool:
    values = state.values if isinstance(state, Compact) else state
    batch, _, depth, height, width = state.shape
    return values.device.type == "cpu" and batch * depth * height * width < SMALL


class _BackwardOnOne(torch.autograd.Function):
    """The identity, whose backward pass goes on with one thread: autograd runs it in the thread that has called it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        if torch.get_num_threads() > 1:
            # The engine keeps its callbacks until the pass ends, and drops them where it fails, too.
            torch.autograd.Variable._execution_engine.queue_callback(_Restored())
        return grad


class _Restored:
    """One thread for torch and as many cores as before for compiled steps, until nobody holds this any more."""

    def __init__(self) -> None:
        self.threads, self.chosen = torch.get_num_threads(), _chosen.get()
        _chosen.set(cores())
        torch.set_num_threads(1)

    def __call__(self) -> None:
        """Does nothing: what counts is when it is dropped."""

    def __del__(self) -> None:
        torch.set_num_threads(self.threads)
        _chosen.set(self.chosen)
