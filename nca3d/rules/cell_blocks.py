"""A step of cells that have weights of their own, some cells at a time: batched products, no loop over cells, and for the
backward pass nothing is kept but the state: each block is computed again (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from nca3d.rules.gmlp import GMLPRule

BLOCK_BYTES = 24 << 20
"""About what the activations of one block may take: they should stay in the processor's cache."""


def step_by_blocks(rule: GMLPRule, rows: Tensor, firing: Tensor, outside: Tensor) -> Tensor:
    """One step: rows (cells, B, F + M), firing bool (cells, B, 1), outside (cells, B, E) -> rows."""
    drops = rule.training and rule.dropout > 0
    # Both passes must drop the same: the draw is made here, outside of what is computed twice (law 4).
    seed = int(torch.randint(1 << 31, ())) if drops else None
    answer: Tensor = _Step.apply(rule, seed, rows, firing, outside, *rule.cells.own.values())
    return answer


def blocks(rule: GMLPRule, batch: int) -> Iterator[slice]:
    """All cells, so many at a time that a block's activations fit the cache."""
    numbers = 7 * rule.features + rule.external + 12 * rule.features + 4 * rule.widened + 8 * rule.memory
    cells = rule.cells.cells
    size = min(max(BLOCK_BYTES // (4 * batch * numbers), 1), cells)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))


class _Step(torch.autograd.Function):
    """See the module."""

    @staticmethod
    def forward(
        ctx: Any, rule: GMLPRule, seed: int | None, rows: Tensor, firing: Tensor, outside: Tensor, *own: Tensor
    ) -> Tensor:
        device = rows.device.type
        ctx.rule, ctx.seed = rule, seed
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        ctx.save_for_backward(rows, firing, outside, *own)
        padded = _with_outside(rows, rule.features)
        after = torch.empty_like(rows)
        for cells in blocks(rule, rows.shape[1]):
            seen = _seen(rule, padded, outside, cells)
            after[cells] = _block(rule, seed, ctx.dtype, cells, rows[cells], seen, firing[cells], _part(rule, own, cells))
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, into_after: Tensor) -> tuple[Tensor | None, ...]:
        rule, (rows, firing, outside, *own) = ctx.rule, ctx.saved_tensors
        padded = _with_outside(rows, rule.features)
        into_rows = torch.zeros_like(rows)
        into_padded = torch.zeros_like(padded)
        into_outside = torch.zeros_like(outside) if ctx.needs_input_grad[4] else None
        names, asked = list(rule.cells.own), ctx.needs_input_grad[5:]
        into_own: list[Tensor | None] = [torch.zeros_like(p) if ask else None for p, ask in zip(own, asked, strict=True)]
        for cells in blocks(rule, rows.shape[1]):
            with torch.enable_grad():
                part = {name: tensor.detach().requires_grad_() for name, tensor in _part(rule, own, cells).items()}
                here = rows[cells].detach().requires_grad_()
                seen = _seen(rule, padded, outside, cells).requires_grad_()
                after = _block(rule, ctx.seed, ctx.dtype, cells, here, seen, firing[cells], part)
            into = torch.autograd.grad(
                after, [here, seen, *part.values()], into_after[cells], allow_unused=True, materialize_grads=True
            )
            into_rows[cells] += into[0]
            *near, own_seen, fed = into[1].split([rule.features] * 7 + [rule.external], dim=-1)
            into_rows[cells, :, : rule.features] += own_seen
            for neighbours, gradient in zip(rule.neighbours[cells].T, near, strict=True):
                into_padded.index_add_(0, neighbours, gradient)
            if into_outside is not None:
                into_outside[cells] = fed
            for name, total, gradient in zip(names, into_own, into[-len(names) :], strict=True):
                if total is None:
                    continue
                if rule.cells.is_each_cells(name):
                    total[cells] = gradient
                else:
                    total += gradient
        into_rows[..., : rule.features] += into_padded[:-1]
        return None, None, into_rows, None, into_outside, *into_own


def _with_outside(rows: Tensor, features: int) -> Tensor:
    """The features (cells + 1, B, F), the last row zeros: what lies beyond the lattice."""
    return torch.cat([rows[..., :features], rows.new_zeros(1, rows.shape[1], features)])


def _part(rule: GMLPRule, own: tuple[Tensor, ...] | list[Tensor], cells: slice) -> dict[str, Tensor]:
    return {
        name: tensor[cells] if rule.cells.is_each_cells(name) else tensor
        for name, tensor in zip(rule.cells.own, own, strict=True)
    }


def _seen(rule: GMLPRule, padded: Tensor, outside: Tensor, cells: slice) -> Tensor:
    """What some cells see, (n, B, 7·F + E): their neighbours, themselves, what is fed in."""
    near = [padded[neighbours] for neighbours in rule.neighbours[cells].T]
    return torch.cat([*near, padded[cells], outside[cells]], dim=-1)


def _block(
    rule: GMLPRule, seed: int | None, dtype: torch.dtype | None, cells: slice, rows: Tensor, seen: Tensor, firing: Tensor,
    part: dict[str, Tensor],
) -> Tensor:  # fmt: skip
    """Some cells after the step: rows (n, B, F + M), seen (n, B, 7·F + E), firing (n, B, 1)."""
    memory = rows[..., rule.features :]
    with _drawing(seed, cells), torch.autocast(rows.device.type, dtype=dtype, enabled=dtype is not None):
        out, memory = rule.cell(rule.cells.of(part, cells), seen, memory)
    return torch.where(firing, rule.moved(rows, out.to(rows.dtype), memory.to(rows.dtype)), rows)


class _Drawing(AbstractContextManager[None]):
    """Random numbers that are the same whenever a block is computed, and leave the global generator as it was."""

    def __init__(self, seed: int) -> None:
        self.seed, self.fork = seed, torch.random.fork_rng(devices=[])

    def __enter__(self) -> None:
        self.fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *error: Any) -> None:
        self.fork.__exit__(*error)


def _drawing(seed: int | None, cells: slice) -> AbstractContextManager[None]:
    return nullcontext() if seed is None else _Drawing(seed + cells.start)
