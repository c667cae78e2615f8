"""Steps of cells that have weights of their own, in compiled code: as one operation of autograd's graph.

It keeps the states between steps and nothing else. Each cell is computed again in the backward pass, while its weights and
their gradient are in the processor's cache; what flows into weights is added up in the one tensor that is returned.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.cells import needs_gradient, through
from nca3d.cube.executor.native import Step, address, columns, fresh, rows_of
from nca3d.executors.every_cell import Clock
from nca3d.rules.cell import Rule

# Cells of a block, if there are so many: threads wait for each other at its end.
FEWEST = 64
# About what a block's gradients may take on their way to its neighbours.
NEAR_BYTES = 8 << 20
# About what the weights of a block may take where they are made for it: sums of low rank, mixtures of types.
MADE_BYTES = 8 << 20


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """As `cells.run`."""
    return through(_compiled, rule, state, fire, clock)


def _compiled(rule: GMLPRule, clock: Clock, fire: Tensor, rows: Tensor, front: Tensor | None, outside: Tensor | None) -> Tensor:
    half, keep = torch.is_autocast_enabled(rows.device.type), needs_gradient(rule, rows, front, outside)
    return _Steps.apply(rule, half, keep, fire, rows, front, outside, *rule.cells.own.values())


class _Steps(torch.autograd.Function):
    """rows (cells, B, F + M) after the steps of fire (T, B, cells); front (H·W, B, F), outside (cells, B, E)."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: GMLPRule,
        half: bool,
        keep: bool,
        fire: Tensor,
        rows: Tensor,
        front: Tensor | None,
        outside: Tensor | None,
        *own: Tensor,
    ) -> Tensor:
        """Runs the steps. keep: the states between them, as somebody may ask for a gradient."""
        ctx.rule, ctx.half, ctx.shape = rule, half, rows.shape
        ctx.input_shapes = [None if part is None else part.shape for part in (front, outside)]
        inputs = [None if part is None else columns(part) for part in (front, outside)]
        fires = None if fire.all() else fire.contiguous()
        x, states = columns(rows), []
        for number in range(len(fire)):
            after = fresh(len(x), rows.dtype)
            for cells in blocks(rule, rows):
                step = Step(rule, half, rows, cells, fires, number, x, *inputs)
                with torch.autocast("cpu", enabled=False):
                    made = _made(rule, own, cells)
                step.weigh(made)
                step.c.after = after.data_ptr()
                step.run("gmlp_forward")
            if keep:
                states.append(x)
            x = after
        ctx.number = len(fire)
        if keep:
            ctx.save_for_backward(fires, *inputs, *states, *own)
        return rows_of(x, rows.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint, last step first."""
        with torch.autocast("cpu", enabled=False):  # who asks may be inside one, and compiled code does not read halves
            return _Steps._adjoint(ctx, grad_after)

    @staticmethod
    def _adjoint(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        rule: GMLPRule = ctx.rule
        fires, front, outside, *others = ctx.saved_tensors
        states, own = others[: ctx.number], others[ctx.number :]
        learns = any(ctx.needs_input_grad[7:])
        grad_own = _Gradients(rule, own) if learns else None
        grad_front, grad_outside = (None if part is None else torch.zeros_like(part) for part in (front, outside))
        into = columns(grad_after)
        largest = max(cells.stop - cells.start for cells in blocks(rule, grad_after))
        near = fresh(largest * 6 * rule.features * ctx.shape[1], into.dtype)
        for number in reversed(range(ctx.number)):
            grad_x = fresh(len(into), into.dtype).zero_()
            for cells in blocks(rule, grad_after):
                step = Step(rule, ctx.half, grad_after, cells, fires, number, states[number], front, outside)
                c = step.c
                c.grad_after, c.grad_x, c.near = into.data_ptr(), grad_x.data_ptr(), near.data_ptr()
                c.grad_face, c.grad_outside = address(grad_front), address(grad_outside)
                if grad_own is None:
                    step.weigh(_made(rule, own, cells))
                    step.run("gmlp_backward")
                else:
                    grad_own.add(step, cells)
            into = grad_x
        grads = zip((grad_front, grad_outside), ctx.input_shapes, strict=True)
        grad_inputs = [None if part is None else rows_of(part, shape) for part, shape in grads]
        given = [None] * len(own) if grad_own is None else grad_own.totals
        asked = zip(given, ctx.needs_input_grad[7:], strict=True)
        return None, None, None, None, rows_of(into, ctx.shape), *grad_inputs, *(total if ask else None for total, ask in asked)


class _Gradients:
    """What flows into a rule's own parameters, summed over blocks and steps; each is touched first when it is first written."""

    def __init__(self, rule: GMLPRule, own: Sequence[Tensor]) -> None:
        self.rule, self.own = rule, own
        self.direct = rule.cells.mode in ("per_cell", "shared")
        self.totals = [fresh(weight.numel(), weight.dtype).view_as(weight) for weight in own]
        if not self.direct:
            for total in self.totals:
                total.zero_()
        self.written: set[int] = set()

    def add(self, step: Step, cells: slice) -> None:
        """Runs the backward pass of one block of one step."""
        if self.direct:
            # Blocks of cells that share weights add to one gradient; cells with their own have one each.
            part = 0 if self.rule.cells.mode == "shared" else cells.start
            step.weigh(_part(self.rule, self.own, cells), _part(self.rule, self.totals, cells), part not in self.written)
            self.written.add(part)
            step.run("gmlp_backward")
            return
        with torch.enable_grad():
            part = {name: tensor.detach().requires_grad_() for name, tensor in _part(self.rule, self.own, cells).items()}
            made = _each(self.rule, self.rule.cells.of(part, cells), cells)
        into = {name: torch.empty_like(weight) for name, weight in made.items()}
        step.weigh(made, into, assign=True)
        step.run("gmlp_backward")
        found = torch.autograd.grad(list(made.values()), list(part.values()), list(into.values()))
        for name, total, gradient in zip(part, self.totals, found, strict=True):
            (total[cells] if self.rule.cells.is_each_cells(name) else total).add_(gradient)


def blocks(rule: GMLPRule, rows: Tensor) -> Iterator[slice]:
    """All cells, so many at a time that what is made for a block is small beside the rule. By sizes alone."""
    cells, batch, _ = rows.shape
    size = max(NEAR_BYTES // (6 * rule.features * batch * rows.element_size()), FEWEST)
    if rule.cells.mode not in ("per_cell", "shared"):
        size = min(size, max(MADE_BYTES // (rule.weights_a_cell() * rows.element_size()), 1))
    size = min(size, cells)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))


def _part(rule: GMLPRule, own: Sequence[Tensor], cells: slice) -> dict[str, Tensor]:
    """Of some cells, one number after the other."""
    return {name: tensor.contiguous() for name, tensor in rule.cells.part(cells, own).items()}


def _each(rule: GMLPRule, weights: Mapping[str, Tensor], cells: slice) -> dict[str, Tensor]:
    """The weights of each cell of a block, one after the other."""
    count = cells.stop - cells.start
    return {
        name: (weight if weight.ndim > len(rule.cells.slots[name].shape) else weight.expand(count, *weight.shape)).contiguous()
        for name, weight in weights.items()
    }


def _made(rule: GMLPRule, own: Sequence[Tensor], cells: slice) -> dict[str, Tensor]:
    """A block's weights by slot, without a graph."""
    part = _part(rule, own, cells)
    return part if rule.cells.mode in ("per_cell", "shared") else _each(rule, rule.cells.of(part, cells), cells)
