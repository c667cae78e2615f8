"""Steps on rows of living cells and their gradient, written out: see `event.py` for what a step does and why it is exact.

Of each step the rows' states and who fired are kept; what cells saw and the hidden layers are computed again on the way back.
All steps of a segment are one node of autograd's graph.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.executors.network import ROWS, Network, add_kernel_gradients, pad_rows, trainable_parameters
from nca3d.executors.store import Rows, Store
from nca3d.fire import Draw
from nca3d.rules.cell import Rule


@dataclass
class Part:
    """Samples of a batch, and where they have got to; runs any update network on any device.

    The network collects the parameters' gradients over all segments, so that sums are made in the same order whatever is kept
    in memory (law 8); the first segment, the last one to run backward, hands them over.
    """

    rule: Rule
    rows: Rows
    draw: Draw
    network: Network
    store: Store

    def step_bytes(self) -> int:
        """What a step keeps for its backward pass."""
        cells, x = self.store.cells, self.store.x
        return cells.numel() * (x.shape[1] * x.element_size() + 3 * cells.element_size())

    @staticmethod
    def forward(parts: "list[Part]", steps: range, keep: bool) -> list[list[Tensor | None]]:
        """Runs the steps from where the parts are; with `keep`, what each part's backward pass needs."""
        return [_forward(part, steps, keep) for part in parts]

    @staticmethod
    def backward(
        parts: "list[Part]", steps: range, kept: list[list[Tensor | None]], into: list[Tensor], further: bool
    ) -> list[Tensor]:
        """What flows into the rows before the steps; with `further` also through what cells saw in the first of them."""
        return [_backward(part, steps, k, gradient, further) for part, k, gradient in zip(parts, kept, into, strict=True)]

    def clear(self) -> None:
        """Start a new sum of the parameters' gradients."""
        self.network.clear()
        self.rows.grad_taps.zero_()

    def parameter_gradients(self) -> list[Tensor]:
        """What flowed into each trained parameter since `clear`, but for that through learned kernels (`rows.grad_taps`)."""
        return self.network.gradients


def advance(parts: list[Part], xs: list[Tensor], steps: range, whole: range, lean: bool) -> list[Tensor]:
    """Some steps of a `whole` rollout: rows (R, stride) of each part -> the same after them; `part.store` follows.

    lean: keep only where the steps began, and run them again for their gradient.
    """
    parameters = trainable_parameters(parts[0].rule)
    # Inside a node gradients are off: whether they are asked for is seen only here.
    asked = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*xs, *parameters))
    return list(_Steps.apply(parts, steps, whole, asked, lean, *xs, *parameters))


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, parts: list[Part], steps: range, whole: range, asked: bool, lean: bool, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        xs, parameters = tensors[: len(parts)], tensors[len(parts) :]
        for part, x in zip(parts, xs, strict=True):
            part.store = Store(part.store.cells, x.detach(), part.store.alive)
        kept: list[list[Tensor | None]] = [[p.store.cells, p.store.x, p.store.alive] for p in parts]
        made = type(parts[0]).forward(parts, steps, asked and not lean)
        ctx.parts, ctx.steps, ctx.whole, ctx.lean = parts, steps, whole, lean
        ctx.grad_x = any(x.requires_grad for x in xs)
        if asked:  # parameters too, so that autograd notices if they are changed before the backward pass
            kept = kept if lean else made
            ctx.shares = [len(parameters), *(len(tensors) for tensors in kept)]
            ctx.save_for_backward(*parameters, *(tensor for tensors in kept for tensor in tensors))
        # Not the very tensors that `parts` hold: those would hold this node, which holds `parts`, for ever.
        return tuple(part.store.x.detach() for part in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(gradients[0].device.type, enabled=False):  # as in the forward pass: only the network may use it
            return _backward_parts(ctx, gradients)


def _backward_parts(ctx: Any, gradients: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    parts, steps, saved = ctx.parts, ctx.steps, iter(ctx.saved_tensors)
    parameters, *kept = [list(islice(saved, share)) for share in ctx.shares]
    kind = type(parts[0])
    if ctx.lean:
        for part, before in zip(parts, kept, strict=True):
            part.store = Store(*before)
        kept = kind.forward(parts, steps, True)
    if steps.stop == ctx.whole.stop:
        for part in parts:
            part.clear()
    further = ctx.grad_x or steps.start > ctx.whole.start
    grad_xs = kind.backward(parts, steps, kept, [gradient.contiguous() for gradient in gradients], further)
    into: list[Any] = [None] * len(parameters)
    if steps.start == ctx.whole.start:
        into = [sum(shares) for shares in zip(*map(_parameter_gradients, parts), strict=True)]
    return None, None, None, None, None, *(grad_xs if ctx.grad_x else [None] * len(parts)), *into


def _forward(part: Part, steps: range, keep: bool) -> list[Tensor | None]:
    """With `keep`, four tensors a step."""
    kept: list[Tensor | None] = []
    store = part.store
    part.rows.enter(store)
    for step in steps:
        after, fired, became = _step(part, store, step)
        if keep:
            kept += [store.cells, store.x, fired.clone(), became]
        store = after
    part.rows.leave(store)
    part.store = store
    return kept


def _step(part: Part, store: Store, step: int) -> tuple[Store, Tensor, Tensor | None]:
    """The next store, the rows that fired, and the row that each row became (None: the store stays as it is)."""
    rows, network = part.rows, part.network
    fired = rows.fired(store, part.draw, step)
    y = store.x.clone()
    for some in fired.split(ROWS):
        rows.add(y, some, network.forward(rows.perceive(store, pad_rows(some)))[: len(some)])
    marks = rows.mark(store, y)
    if marks.unchanged:
        return Store(store.cells, y, marks.near), fired, None
    kept = None
    if marks.open_fates:
        ring = rows.ring(store, marks, part.draw, step)
        if len(ring):
            kept = rows.kept(store, ring, network.forward(rows.perceive_at(store, pad_rows(ring)))[: len(ring)])
    after, became = rows.grow(store, y, marks, kept)
    return after, fired, became


def _backward(part: Part, steps: range, kept: list[Any], grad_x: Tensor, further: bool) -> Tensor:
    for step in reversed(steps):
        cells, x, fired, became = kept[4 * (step - steps.start) :][:4]
        grad_x = _step_backward(part, Store(cells, x, cells), fired, became, grad_x, further or step > steps.start)
    return grad_x


def _step_backward(part: Part, store: Store, fired: Tensor, became: Tensor | None, after: Tensor, further: bool) -> Tensor:
    """What flows into the rows of a step, given what flows into those after it; with `further` also through what cells saw."""
    rows = part.rows  # who was alive is told by who fired: `store.alive` is not asked for
    grad_x = after.clone() if became is None else rows.grow_backward(after, became)
    grad_delta = rows.take(grad_x, fired)
    rows.enter(store)
    for some, into in zip(fired.split(ROWS), grad_delta.split(ROWS), strict=True):
        grad_perception = part.network.backward(rows.perceive(store, some), into)
        if part.rule.learns_kernels:
            rows.taps_backward(store, some, grad_perception)
        if further:
            rows.perceive_backward(store, some, grad_perception, grad_x)
    rows.leave(store)
    return grad_x


def _parameter_gradients(part: Part) -> list[Tensor]:
    """What flowed into each trained parameter of this part's samples."""
    into, rule = part.parameter_gradients(), part.rule
    if not rule.learns_kernels:
        return into
    grad_kernels = [tap[:, : rule.channels].t().reshape(rule.channels, 3, 3, 3) for tap in part.rows.grad_taps]
    return add_kernel_gradients(rule, into, grad_kernels)
