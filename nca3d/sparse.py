"""A state as its non-zero cells only: `compact(state)` and back, `dense(compact)`. Both pass gradients."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.errors import ArgumentError
from nca3d.lattice import Size, as_size


@dataclass(frozen=True)
class Compact:
    """States of a batch as rows of cells; every cell that is not listed is zero. Costs what lives, not what the lattice holds.

    Args:
        values: float (N, C), the state of each listed cell.
        cells: int64 (N,), flat indices ((b·D + d)·H + h)·W + w, rising.
        batch: B.
        size: lattice (D, H, W).

    Raises:
        ValueError: shapes that do not fit together, or cells that do not rise or lie outside.
    """

    values: Tensor
    cells: Tensor
    batch: int
    size: Size

    def __post_init__(self) -> None:
        volume = math.prod(as_size(self.size))
        if self.values.ndim != 2 or self.cells.shape != self.values.shape[:1] or self.cells.dtype != torch.int64:
            found = f"{tuple(self.values.shape)} and {self.cells.dtype} {tuple(self.cells.shape)}"
            raise ArgumentError("compact", f"values and cells {found}", "(N, C) and int64 (N,)")
        if len(self.cells):
            end = self.batch * volume
            low, high = int(self.cells[0]), int(self.cells[-1])
            if low < 0 or high >= end or not bool((self.cells[1:] > self.cells[:-1]).all()):
                raise ArgumentError("compact", f"cells from {low} to {high}", f"rising ones in 0 .. {end - 1}")

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The shape of the dense state, (B, C, D, H, W)."""
        return (self.batch, self.values.shape[1], *self.size)

    def detach(self) -> "Compact":
        """Returns the same states without their history."""
        return replace(self, values=self.values.detach())

    def to(self, device: torch.device | str) -> "Compact":
        """Returns the same states on another device."""
        return replace(self, values=self.values.to(device), cells=self.cells.to(device))


def compact(state: Tensor, background: float = 0.0) -> Compact:
    """Returns the cells of a state that are not zero (or not `background`) in every channel.

    Args:
        state: float (B, C, D, H, W).
        background: what the cells that are left out hold; `dense` needs it again.

    Raises:
        ValueError: another number of axes.
    """
    if state.ndim != 5 or not state.is_floating_point():
        raise ArgumentError("state", f"{state.dtype} {tuple(state.shape)}", "floating-point (B, C, D, H, W)")
    volume = math.prod(state.shape[2:])
    places = [(sample.detach() != background).any(0).flatten().nonzero().squeeze(1) for sample in state]
    none = torch.zeros(0, dtype=torch.int64, device=state.device)
    cells = torch.cat([none, *(where + volume * b for b, where in enumerate(places))])
    return gather(state, cells)


def dense(state: Compact, background: float = 0.0) -> Tensor:
    """Returns (B, C, D, H, W) with the listed cells in their places and `background` everywhere else."""
    return _Scatter.apply(state.values, state.cells, state.shape, background)


def gather(state: Tensor, cells: Tensor) -> Compact:
    """Returns the states of some cells of (B, C, D, H, W), int64 (N,) flat indices that rise, zero or not."""
    return Compact(_Gather.apply(state, cells), cells, len(state), as_size(state.shape[2:]))


class _Gather(torch.autograd.Function):
    """Reads cells sample by sample: no copy of the volume with another order of axes is made. The adjoint of `_Scatter`."""

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
    """Returns for each sample in order its rows, and their cells within it."""
    volume = math.prod(shape[2:])
    bounds = torch.searchsorted(cells, torch.arange(shape[0] + 1, device=cells.device) * volume).tolist()
    rows = [slice(first, last) for first, last in pairwise(bounds)]
    return [(own, cells[own] - b * volume) for b, own in enumerate(rows)]


def _read(state: Tensor, cells: Tensor) -> Tensor:
    values = state.new_empty(len(cells), state.shape[1])
    for sample, (rows, where) in zip(state, _by_sample(cells, tuple(state.shape)), strict=True):
        values[rows] = sample.flatten(1).index_select(1, where).t()
    return values


def _write(values: Tensor, cells: Tensor, shape: tuple[int, ...], background: float) -> Tensor:
    state = values.new_full(shape, background) if background else values.new_zeros(shape)
    for sample, (rows, where) in zip(state, _by_sample(cells, shape), strict=True):
        sample.flatten(1).index_copy_(1, where, values[rows].t())
    return state
