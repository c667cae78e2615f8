"""A state as a list of its non-empty cells: `compact(state)`, and back: `dense(compact)`. Gradients pass through both.

A body of a few thousand cells in a lattice of millions then costs what the body costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.errors import ArgumentError
from nca3d.lattice import Size, as_size

# A state in either form; what is done to it keeps the form.
Form = TypeVar("Form", Tensor, "Compact")


@dataclass(frozen=True)
class Compact:
    """The states of a batch as a list of cells; a cell that is not listed is empty: zero in every channel, or the dead value.

    Args:
        values: The state of each listed cell, float (N, C).
        cells: Where each of them is: the flat index ((b·D + d)·H + h)·W + w, int64 (N,), rising.
        batch: The number of samples, B.
        size: The lattice (D, H, W).

    Raises:
        ValueError: The shapes don't fit together, or the cells don't rise or lie outside the lattice.
    """

    values: Tensor
    cells: Tensor
    batch: int
    size: Size

    def __post_init__(self) -> None:
        volume = math.prod(as_size(self.size))
        if self.values.ndim != 2 or self.cells.shape != self.values.shape[:1] or self.cells.dtype != torch.int64:
            shapes = f"{tuple(self.values.shape)} and {self.cells.dtype} {tuple(self.cells.shape)}"
            raise ArgumentError("compact", f"values and cells {shapes}", "(N, C) and int64 (N,)")
        if len(self.cells):
            # Executors search the list by halves, and sum in its order: it must be sorted, each cell once.
            end = self.batch * volume
            low, high = int(self.cells[0]), int(self.cells[-1])
            if low < 0 or high >= end or not bool((self.cells[1:] > self.cells[:-1]).all()):
                raise ArgumentError("compact", f"cells from {low} to {high}", f"rising ones in 0 .. {end - 1}")

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the dense state, (B, C, D, H, W)."""
        return (self.batch, self.values.shape[1], *self.size)

    def detach(self) -> "Compact":
        """Returns the same states without their gradient."""
        return replace(self, values=self.values.detach())

    def to(self, device: torch.device | str) -> "Compact":
        """Returns the same states on another device."""
        return replace(self, values=self.values.to(device), cells=self.cells.to(device))


def compact(state: Tensor, background: float = 0.0) -> Compact:
    """Returns a state as the list of its cells that are not empty: those that differ from `background` in some channel.

    Args:
        state: The dense state, float (B, C, D, H, W).
        background: The number that empty cells hold in all channels; `dense` needs it again.

    Raises:
        ValueError: The state has another number of axes, or whole numbers.
    """
    if state.ndim != 5 or not state.is_floating_point():
        raise ArgumentError("state", f"{state.dtype} {tuple(state.shape)}", "floating-point (B, C, D, H, W)")
    volume = math.prod(state.shape[2:])
    # Sample by sample: a comparison of the whole batch at once would need a mask of its size.
    places = [(sample.detach() != background).any(0).flatten().nonzero().squeeze(1) for sample in state]
    none = torch.zeros(0, dtype=torch.int64, device=state.device)  # so that a batch of 0 can be joined too
    cells = torch.cat([none, *(where + volume * b for b, where in enumerate(places))])
    return gather(state, cells)


def dense(state: Compact, background: float = 0.0) -> Tensor:
    """Returns the dense state, (B, C, D, H, W): the listed cells in their places and `background` everywhere else."""
    return _Scatter.apply(state.values, state.cells, state.shape, background)


def gather(state: Tensor, cells: Tensor) -> Compact:
    """Returns some cells of a state (B, C, D, H, W), empty or not.

    Args:
        state: The dense state, float (B, C, D, H, W).
        cells: The flat indices of the cells, int64 (N,), rising.
    """
    return Compact(_Gather.apply(state, cells), cells, len(state), as_size(state.shape[2:]))


def chosen(state: Form, samples: Sequence[int]) -> Form:
    """Returns some samples of a batch, dense or compact like the batch itself.

    Args:
        state: The batch, (B, C, D, H, W).
        samples: The places of the samples, rising.
    """
    if isinstance(state, Tensor):
        return state[torch.tensor(samples, device=state.device)]
    parts, volume = _by_sample(state.cells, state.shape), math.prod(state.size)
    values = torch.cat([state.values[parts[sample][0]] for sample in samples])
    cells = torch.cat([parts[sample][1] + place * volume for place, sample in enumerate(samples)])
    return Compact(values, cells, len(samples), state.size)


def joined(parts: Sequence[tuple[Sequence[int], Form]]) -> Form:
    """Returns the batch that `chosen` took apart, (B, C, D, H, W).

    Args:
        parts: Of each part the places of its samples in the batch, and their states, all of one form.
    """
    order, first = torch.tensor([place for samples, _ in parts for place in samples]), parts[0][1]
    if isinstance(first, Tensor):
        return torch.cat([state for _, state in parts if isinstance(state, Tensor)])[order.argsort().to(first.device)]
    pieces: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * len(order)
    size = first.size
    for samples, state in parts:
        assert isinstance(state, Compact)
        for place, (rows, cells) in zip(samples, _by_sample(state.cells, state.shape), strict=True):
            pieces[place] = (state.values[rows], cells + place * math.prod(size))
    return Compact(torch.cat([rows for rows, _ in pieces]), torch.cat([cells for _, cells in pieces]), len(order), size)


# Written out because autograd's own indexing would copy the whole volume with its channels last, forward and backward.
class _Gather(torch.autograd.Function):
    """Reads cells from a dense state; its backward pass is the forward pass of `_Scatter`."""

    @staticmethod
    def forward(ctx: Any, state: Tensor, cells: Tensor) -> Tensor:
        ctx.save_for_backward(cells)
        ctx.shape = state.shape
        return _read(state, cells)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (cells,) = ctx.saved_tensors
        return _write(gradient, cells, ctx.shape, 0.0), None


class _Scatter(torch.autograd.Function):
    """Writes cells into a dense state; its backward pass is the forward pass of `_Gather`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, cells: Tensor, shape: tuple[int, ...], background: float) -> Tensor:
        ctx.save_for_backward(cells)
        return _write(values, cells, shape, background)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (cells,) = ctx.saved_tensors
        return _read(gradient, cells), None, None, None


def _by_sample(cells: Tensor, shape: tuple[int, ...]) -> list[tuple[slice, Tensor]]:
    """Returns for each sample, in order, which rows of the list are its own, and their cells counted within the sample."""
    volume = math.prod(shape[2:])
    # Cells rise, so the rows of a sample follow each other.
    bounds = torch.searchsorted(cells, torch.arange(shape[0] + 1, device=cells.device) * volume).tolist()
    rows = [slice(first, last) for first, last in pairwise(bounds)]
    return [(own, cells[own] - b * volume) for b, own in enumerate(rows)]


def _read(state: Tensor, cells: Tensor) -> Tensor:
    """Returns the values (N, C) of cells of a dense state."""
    values = state.new_empty(len(cells), state.shape[1])
    for sample, (rows, where) in zip(state, _by_sample(cells, tuple(state.shape)), strict=True):
        values[rows] = sample.flatten(1).index_select(1, where).t()
    return values


def _write(values: Tensor, cells: Tensor, shape: tuple[int, ...], background: float) -> Tensor:
    """Returns a dense state of a shape (B, C, D, H, W) with these values (N, C) in their places."""
    # Zeros come from the system without a write; any other number must be written everywhere.
    state = values.new_full(shape, background) if background else values.new_zeros(shape)
    for sample, (rows, where) in zip(state, _by_sample(cells, shape), strict=True):
        sample.flatten(1).index_copy_(1, where, values[rows].t())
    return state
