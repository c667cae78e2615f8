"""Steps of cells that have weights of their own (`GMLPRule`), in torch: batched products over some cells at a time. `steps.py`
does the same in compiled code.

All steps of a segment are one operation of the graph. It keeps the states between them and nothing else: the backward pass
computes each block of cells again (Chen et al. 2016) and adds what it finds to one gradient for each weight.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.cube.cell import GMLPRule, from_rows, split_inputs, with_outside
from nca3d.executors.every_cell import Clock
from nca3d.fire import fire_mask
from nca3d.rules.cell import Rule

# Changes a rollout's random_seed into that of its dropout.
DROPOUT = 0x5EED

# About what the activations of one block may take: they should stay in the processor's cache.
BLOCK_BYTES = 24 << 20


def step_bytes(rule: Rule, state: Tensor) -> int:
    """What one step keeps for its backward pass: the state, and nothing else."""
    return state.numel() * state.element_size()


# (rule, clock, fire (T, B, cells), rows (cells, B, F + M), front, outside) -> the rows after T steps that are alike.
SomeSteps = Callable[[GMLPRule, Clock, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """Several steps.

    Args:
        rule: a `GMLPRule`, alone or with what it is told.
        state: float (B, D, H, W, C).
        fire: bool (T, B, D, H, W), the cells that update in each of the T steps.
        clock: when that is: which channels move, what dropout drops.

    Returns:
        The last state, (B, D, H, W, C).
    """
    return through(_in_torch, rule, state, fire, clock)


def through(some_steps: SomeSteps, rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """The same by some way to run steps: all at once where they are alike, else one by one."""
    cube, inputs = split_inputs(rule)
    rows = cube.to_rows(state.movedim(-1, 1))
    fire = fire.flatten(2)
    front = None if inputs.face is None else inputs.face.flatten(2).permute(2, 0, 1)
    alike = len(fire) if cube.is_even else 1
    for first in range(0, len(fire), alike):
        outside = cube.fed(cube.shown(rows, inputs), inputs) if cube.coarse is not None or inputs.external is not None else None
        moment = clock._replace(step=clock.step + first)
        after = some_steps(cube, moment, fire[first : first + alike], rows, front, outside)
        rows = after if cube.is_even else torch.where(cube.beats(moment.step, rows.device), after, rows)
    return from_rows(rows, cube.size).movedim(1, -1).contiguous()


def needs_gradient(rule: GMLPRule, *parts: Tensor | None) -> bool:
    """Whether a gradient may be asked for: under no_grad it may not, though weights are trained."""
    asked = [*(part for part in parts if part is not None), *rule.cells.own.values()]
    return torch.is_grad_enabled() and any(part.requires_grad for part in asked)


def _in_torch(rule: GMLPRule, clock: Clock, fire: Tensor, rows: Tensor, front: Tensor | None, outside: Tensor | None) -> Tensor:
    keep = needs_gradient(rule, rows, front, outside)
    rows = rows.contiguous()
    outside = rows.new_zeros(*rows.shape[:2], rule.external) if outside is None else outside
    firing = fire.transpose(1, 2)[..., None].contiguous()
    return _Steps.apply(rule, clock, keep, firing, rows, front, outside, *rule.cells.own.values())


class _Steps(torch.autograd.Function):
    """rows (cells, B, F + M) after the steps of firing (T, cells, B, 1)."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: GMLPRule,
        clock: Clock,
        keep: bool,
        firing: Tensor,
        rows: Tensor,
        front: Tensor | None,
        outside: Tensor,
        *own: Tensor,
    ) -> Tensor:
        device = rows.device.type
        ctx.rule, ctx.clock = rule, clock
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        states = [rows]
        for number, fires in enumerate(firing):
            after, kept = torch.empty_like(rows), _kept(rule, clock, number, rows)
            padded = _shown(rule, states[-1], front)
            for cells in blocks(rule, rows.shape[1]):
                seen = rule.seen(padded, outside, cells)
                here = None if kept is None else kept[cells]
                after[cells] = _block(
                    rule, ctx.dtype, cells, states[-1][cells], seen, fires[cells], here, rule.cells.part(cells, own)
                )
            states = [*states, after] if keep else [after]
        if keep:
            ctx.save_for_backward(firing, front, outside, *states[:-1], *own)
        return states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        rule: GMLPRule = ctx.rule
        firing, front, outside, *others = ctx.saved_tensors
        states, own = others[: len(firing)], others[len(firing) :]
        names, asked = list(rule.cells.own), ctx.needs_input_grad[7:]
        grad_own = [torch.zeros_like(p) if ask else None for p, ask in zip(own, asked, strict=True)]
        grad_front = torch.zeros_like(front) if front is not None else None
        grad_outside = torch.zeros_like(outside)
        grad_after = grad_after.contiguous()
        for number in reversed(range(len(firing))):
            rows = states[number]
            kept = _kept(rule, ctx.clock, number, rows)
            padded = _shown(rule, rows, front)
            grad_rows, grad_padded = torch.zeros_like(rows), torch.zeros_like(padded)
            for cells in blocks(rule, rows.shape[1]):
                if not grad_after[cells].any():  # an answer is read at one face: at first nothing flows back to the others
                    continue
                with torch.enable_grad():
                    part = {name: tensor.detach().requires_grad_() for name, tensor in rule.cells.part(cells, own).items()}
                    here = rows[cells].detach().requires_grad_()
                    seen = rule.seen(padded, outside, cells).requires_grad_()
                    left = None if kept is None else kept[cells]
                    after = _block(rule, ctx.dtype, cells, here, seen, firing[number][cells], left, part)
                into = torch.autograd.grad(
                    after, [here, seen, *part.values()], grad_after[cells], allow_unused=True, materialize_grads=True
                )
                grad_rows[cells] += into[0]
                *near, own_seen, fed = into[1].split([rule.features] * 7 + [rule.external], dim=-1)
                grad_padded[:-1][cells] += own_seen
                for neighbours, gradient in zip(rule.neighbours[cells].T, near, strict=True):
                    grad_padded.index_add_(0, neighbours, gradient)
                grad_outside[cells] += fed
                for name, total, gradient in zip(names, grad_own, into[-len(names) :], strict=True):
                    if total is not None and rule.cells.is_each_cells(name):
                        total[cells] += gradient
                    elif total is not None:
                        total += gradient
            grad_rows[..., : rule.features] += grad_padded[:-1]
            if grad_front is not None:
                grad_front += grad_padded[: len(grad_front)]
            grad_after = grad_rows
        return None, None, None, None, grad_after, grad_front, grad_outside, *grad_own


def blocks(rule: GMLPRule, batch: int) -> Iterator[slice]:
    """All cells, so many at a time that a block's activations fit the cache."""
    numbers = 7 * rule.features + rule.external + 12 * rule.features + 4 * rule.widened + 8 * rule.memory
    cells = rule.cells.cells
    size = min(max(BLOCK_BYTES // (4 * batch * numbers), 1), cells)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))


def _shown(rule: GMLPRule, rows: Tensor, front: Tensor | None) -> Tensor:
    """What neighbours see, (cells + 1, B, F)."""
    padded = with_outside(rows[..., : rule.features])
    if front is not None:
        padded[: len(front)] += front
    return padded


def _block(
    rule: GMLPRule,
    dtype: torch.dtype | None,
    cells: slice,
    rows: Tensor,
    seen: Tensor,
    firing: Tensor,
    kept: Tensor | None,
    part: dict[str, Tensor],
) -> Tensor:
    """Some cells after the step: rows (n, B, F + M), seen (n, B, 7·F + E), firing (n, B, 1)."""
    memory = rows[..., rule.features :]
    with torch.autocast(rows.device.type, dtype=dtype, enabled=dtype is not None):
        out, memory = rule.cell(rule.cells.of(part, cells), seen, memory, kept)
    return torch.where(firing, rule.moved(rows, out.to(rows.dtype), memory.to(rows.dtype)), rows)


def _kept(rule: GMLPRule, clock: Clock, number: int, rows: Tensor) -> Tensor | None:
    """What dropout leaves in one step, (cells, B, widened): counted as fire masks are (law 4), whoever is beside whom."""
    if not rule.training or not rule.dropout:
        return None
    units = (rule.cells.cells, rule.widened, 1)
    ids = torch.arange(rows.shape[1]) if clock.sample_ids is None else clock.sample_ids
    stays = fire_mask(clock.random_seed ^ DROPOUT, clock.step + number, ids.to(rows.device), units, 1 - rule.dropout)
    return stays[:, 0, :, :, 0].transpose(0, 1).to(rows) / (1 - rule.dropout)
