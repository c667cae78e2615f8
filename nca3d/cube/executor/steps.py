"""Steps of cells that have weights of their own, in compiled code: one operation of autograd's graph.

Choose it (executor "compiled") on a processor: it is the fastest way to train and to ask a cube there. It needs a C compiler
once and can't run dropout in training or a cell that a subclass overrides; `cells.py` can.

It saves the states between steps and nothing else. The backward pass computes each cell again, while its weights and their
gradient are in the processor's cache, and adds gradients up in the one tensor for each weight that is returned.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.cells import needs_gradient, run_by, summed
from nca3d.cube.executor.learning import Past, noting
from nca3d.cube.executor.native import Step, address, cells_of, columns, fresh, rows_of
from nca3d.executors.every_cell import Clock
from nca3d.rules.cell import Rule

# Cells of a block at least, if there are so many: threads wait for each other at its end, and with few cells mostly wait.
FEWEST = 64
# About how many bytes a block's gradients with respect to its neighbours may take.
NEAR_BYTES = 8 << 20
# About how many bytes a block's weights may take where they are computed for it: sums of low rank, mixtures of types.
WEIGHT_BYTES = 8 << 20


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """Runs several steps, with the arguments and the result (B, D, H, W, C) of `cells.run`."""
    return run_by(_compiled, rule, state, fire, clock)


def _compiled(rule: GMLPRule, clock: Clock, fire: Tensor, rows: Tensor, front: Tensor | None, outside: Tensor | None) -> Tensor:
    """Runs steps that are alike; see `cells.SomeSteps`."""
    # Decided here: inside a Function's forward, grad mode is off whatever the caller's is.
    half, with_grad = torch.is_autocast_enabled(rows.device.type), needs_gradient(rule, rows, front, outside)
    return _Steps.apply(rule, half, with_grad, fire, rows, front, outside, *rule.cells.own.values())


class _Steps(torch.autograd.Function):
    """Maps rows (cells, B, F + M) after the steps of fire (T, B, cells), with front (H·W, B, F), outside (cells, B, E)."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: GMLPRule,
        half: bool,
        with_grad: bool,
        fire: Tensor,
        rows: Tensor,
        front: Tensor | None,
        outside: Tensor | None,
        *own: Tensor,
    ) -> Tensor:
        """Runs the steps and saves the state before each, where a backward pass may follow."""
        ctx.rule, ctx.half, ctx.shape = rule, half, rows.shape
        ctx.input_shapes = [None if part is None else part.shape for part in (front, outside)]
        inputs = [None if part is None else columns(part) for part in (front, outside)]
        # None = every cell fires, in all steps: no mask is saved, and compiled code reads none (fire_rate 1, the default).
        fires = None if fire.all() else fire.contiguous()
        x, states = columns(rows), []
        for number in range(len(fire)):
            after = fresh(len(x), rows.dtype)
            _show(rule, rows.shape[1], x, inputs[0])
            for cells in blocks(rule, rows):
                step = Step(rule, half, rows, cells, fires, number, x, *inputs)
                # Compiled code rounds to bfloat16 itself, where it multiplies: weights must come to it in full.
                with torch.autocast("cpu", enabled=False):
                    weights = _weights(rule, own, cells)
                step.set_weights(weights)
                step.c.after = after.data_ptr()
                step.run("gmlp_forward")
            if with_grad:
                states.append(x)
            x = after
        ctx.number = len(fire)
        if with_grad:
            ctx.save_for_backward(fires, *inputs, *states, *own)
        return rows_of(x, rows.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of `forward`'s arguments."""
        # The caller may be inside an autocast, and compiled code does not read halves.
        with torch.autocast("cpu", enabled=False):
            return _Steps._adjoint(ctx, grad_after)

    @staticmethod
    def _adjoint(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        """Runs the adjoint of every step, the last one first."""
        rule: GMLPRule = ctx.rule
        fires, front, outside, *others = ctx.saved_tensors
        states, own = others[: ctx.number], others[ctx.number :]
        # The first seven arguments of `forward` are no weights.
        needs_grad, learner = ctx.needs_input_grad[7:], noting(rule)
        grad_own = _Gradients(rule, own) if any(needs_grad) and learner is None else None
        grad_front, grad_outside = (None if part is None else torch.zeros_like(part) for part in (front, outside))
        grad = columns(grad_after)
        # Each cell of a block writes its six neighbours' gradients here, and each neighbour then adds up its own: threads never
        # write to the same cell, and sums have one order.
        largest = max(cells.stop - cells.start for cells in blocks(rule, grad_after))
        near = fresh(largest * 6 * rule.features * ctx.shape[1], grad.dtype)
        for number in reversed(range(ctx.number)):
            if learner is not None:
                learner.pasts.append(Past(ctx.half, grad_after, fires, number, states[number], grad, front, outside))
            grad_x = fresh(len(grad), grad.dtype).zero_()
            # Into the first state nothing flows that is asked for, but what cells were told.
            told_alone = learner is not None and number == 0 and not ctx.needs_input_grad[4] and outside is None
            for cells in blocks(rule, grad_after, _told(rule) if told_alone else None):
                step = Step(rule, ctx.half, grad_after, cells, fires, number, states[number], front, outside)
                c = step.c
                c.grad_after, c.grad_x, c.near = grad.data_ptr(), grad_x.data_ptr(), near.data_ptr()
                c.grad_face, c.grad_outside = address(grad_front), address(grad_outside)
                if grad_own is None:
                    step.set_weights(_weights(rule, own, cells))
                    step.run("gmlp_backward")
                else:
                    grad_own.add(step, cells)
            grad = grad_x
            if rule.cells.share is not None:
                batch = ctx.shape[1]
                rule.cells.share.give_back(_features(rule, batch, grad), _face(rule, batch, grad_front))
        shaped = zip((grad_front, grad_outside), ctx.input_shapes, strict=True)
        grad_inputs = [None if part is None else rows_of(part, shape) for part, shape in shaped]
        totals = [None] * len(own) if grad_own is None else grad_own.totals
        grad_weights = [total if needed else None for total, needed in zip(totals, needs_grad, strict=True)]
        return None, None, None, None, rows_of(grad, ctx.shape), *grad_inputs, *summed(rule, grad_weights)


def _show(rule: GMLPRule, batch: int, x: Tensor, face: Tensor | None) -> None:
    """Writes the features of other ranks' cells into columns x, where ranks share the cells out."""
    share = rule.cells.share
    if share is None:
        return
    # Nobody sees their memory; but whoever looks for the largest number of a state looks there too.
    for view in cells_of(x, share.rows, batch):
        view[:, rule.cells.held :, rule.features :] = 0
    share.show(_features(rule, batch, x), _face(rule, batch, face))


def _features(rule: GMLPRule, batch: int, flat: Tensor) -> list[Tensor]:
    """Returns views of the features in columns of states, (chunks, cells, F, samples)."""
    return [view[:, :, : rule.features] for view in cells_of(flat, len(rule.neighbours), batch)]


def _face(rule: GMLPRule, batch: int, face: Tensor | None) -> list[Tensor]:
    """Returns views of columns at the front face, (chunks, front, F, samples); [] for None."""
    share = rule.cells.share
    return [] if face is None or share is None else cells_of(face, share.front, batch)


def _told(rule: GMLPRule) -> int:
    """Returns how many cells see the front face, of those that are here: those at it, and the layer behind."""
    return min(2 * rule.cells.held // rule.size[0], rule.cells.held)


class _Gradients:
    """The gradients of a rule's parameters, summed over blocks and steps.

    Their memory is not cleared first: the first block that writes to a part of it overwrites what is there, the others add.

    Args:
        rule: The rule.
        own: Its parameters, in their order.
    """

    def __init__(self, rule: GMLPRule, own: Sequence[Tensor]) -> None:
        self.rule, self.own = rule, own
        self.direct = rule.cells.mode in ("per_cell", "shared")
        self.totals = [fresh(weight.numel(), weight.dtype).view_as(weight) for weight in own]
        # These add by torch (below), which can't overwrite the first time.
        if not self.direct:
            for total in self.totals:
                total.zero_()
        self.written: set[int] = set()

    def add(self, step: Step, cells: slice) -> None:
        """Runs the backward pass of one block of one step and adds its gradients of weights to the totals."""
        if self.direct:
            # Blocks of cells that share weights add to one gradient; cells with their own have one each.
            part = 0 if self.rule.cells.mode == "shared" else cells.start
            step.set_weights(_part(self.rule, self.own, cells), _part(self.rule, self.totals, cells), part not in self.written)
            self.written.add(part)
            step.run("gmlp_backward")
            return
        with torch.enable_grad():
            part = {name: tensor.detach().requires_grad_() for name, tensor in _part(self.rule, self.own, cells).items()}
            weights = _each(self.rule, self.rule.cells.of(part, cells), cells)
        # Compiled code knows each cell's weights alone; how those come from the parameters, autograd knows.
        grads = {name: torch.empty_like(weight) for name, weight in weights.items()}
        step.set_weights(weights, grads, assign=True)
        step.run("gmlp_backward")
        grad_part = torch.autograd.grad(list(weights.values()), list(part.values()), list(grads.values()))
        for name, total, gradient in zip(part, self.totals, grad_part, strict=True):
            (total[cells] if self.rule.cells.is_per_cell(name) else total).add_(gradient)


def blocks(rule: GMLPRule, rows: Tensor, first: int | None = None) -> Iterator[slice]:
    """Yields all cells that are here in blocks whose own tensors are small beside the rule.

    Args:
        rule: The rule, by the sizes of its cells.
        rows: A tensor (cells, B, N) of the batch and dtype that run; its values are not read.
        first: Yield only so many cells, the first ones; None = all.
    """
    # By sizes alone, not by cores or cache: sums over blocks must be the same on every machine.
    cells, batch = rule.cells.held, rows.shape[1]
    size = max(NEAR_BYTES // (6 * rule.features * batch * rows.element_size()), FEWEST)
    if rule.cells.mode not in ("per_cell", "shared"):
        size = min(size, max(WEIGHT_BYTES // (rule.weights_a_cell() * rows.element_size()), 1))
    cells = cells if first is None else first
    size = min(size, cells)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))


def _part(rule: GMLPRule, own: Sequence[Tensor], cells: slice) -> dict[str, Tensor]:
    """Returns the parameters of some cells, contiguous; where `own` is so, they are views that can be written to."""
    return {name: tensor.contiguous() for name, tensor in rule.cells.part(cells, own).items()}


def _each(rule: GMLPRule, weights: Mapping[str, Tensor], cells: slice) -> dict[str, Tensor]:
    """Returns the weights of each cell of a block, contiguous (n, *shape), even where cells share them."""
    count = cells.stop - cells.start
    return {
        name: (weight if weight.ndim > len(rule.cells.slots[name].shape) else weight.expand(count, *weight.shape)).contiguous()
        for name, weight in weights.items()
    }


def _weights(rule: GMLPRule, own: Sequence[Tensor], cells: slice) -> dict[str, Tensor]:
    """Returns a block's weights by slot, as compiled code reads them, without a graph of autograd."""
    part = _part(rule, own, cells)
    return part if rule.cells.mode in ("per_cell", "shared") else _each(rule, rule.cells.of(part, cells), cells)
