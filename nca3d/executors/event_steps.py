"""Steps on rows of living cells, and their gradient written out: `event.py` says what a step does and why it is exact.

A step saves the states of its rows and which of them fired; perceptions and hidden layers, which are larger, are computed again
on the way back. All steps of a segment are one node of autograd's graph: a node for each would cost more than a small body.
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
from nca3d.rules.by_sample import BySample, collecting
from nca3d.rules.cell import Rule


@dataclass
class Part:
    """Samples of a batch on their way through a rollout; runs any update network on any device.

    The network sums the parameters' gradients over all segments of a rollout, so that they are added in the same order whatever
    is saved in memory (law 8); the first segment, which is the last to run backward, passes them to autograd.

    Attributes:
        rule: What one cell does.
        rows: The backend, with its map from cells to rows.
        draw: Which cells fire.
        network: The update network.
        store: The rows before the next step.
    """

    rule: Rule
    rows: Rows
    draw: Draw
    network: Network
    store: Store

    def step_bytes(self) -> int:
        """Returns how many bytes a step of the present rows saves for its backward pass."""
        # The rows, and three numbers for each: its cell, whether it fired, its new row.
        cells, x = self.store.cells, self.store.x
        return cells.numel() * (x.shape[1] * x.element_size() + 3 * cells.element_size())

    def kept_bytes(self) -> int:
        """Returns how many bytes a step of the present rows can save beside its states, to spare work on the way back."""
        return 0

    def keep(self, wanted: bool) -> None:
        """Says whether the next steps save that."""

    @staticmethod
    def forward(parts: "list[Part]", steps: range, save: bool) -> list[list[Tensor | None]]:
        """Runs the steps from where the parts are; their stores follow.

        Args:
            parts: The samples.
            steps: The steps to run.
            save: Whether a backward pass follows.

        Returns:
            For each part, with `save`, four tensors a step: its cells (R,), their states (R, stride), the rows that fired
            (n,), and the new row of each row (R,), or None where rows stay.
        """
        return [_forward(part, steps, save) for part in parts]

    @staticmethod
    def backward(
        parts: "list[Part]", steps: range, saved: list[list[Tensor | None]], grads: list[Tensor], through_perception: bool
    ) -> list[Tensor]:
        """Runs the steps backward and returns the gradients of each part's rows before them, (R, stride).

        Args:
            parts: The parts of the forward pass.
            steps: The steps of the forward pass.
            saved: What the forward pass returned.
            grads: The gradients of each part's rows after the steps, (R, stride).
            through_perception: Whether the first step passes a gradient on through its perception too.
        """
        return [
            _backward(part, steps, k, gradient, through_perception)
            for part, k, gradient in zip(parts, saved, grads, strict=True)
        ]

    def clear(self) -> None:
        """Starts a new sum of the parameters' gradients."""
        self.network.clear()
        self.rows.grad_taps.zero_()

    @property
    def by_sample(self) -> bool:
        """Whether gradients of parameters are summed up for each sample alone."""
        return False

    def parameter_gradients(self, sample: int) -> list[Tensor]:
        """Returns the gradient of each trainable parameter, of its shape (…,), by a sample of this part, summed since `clear`.

        What reaches parameters through `rows.grad_taps` is not in it. Where not `by_sample`, sample 0 stands for all.
        """
        return self.network.gradients

    def summed(self, gradients: list[Tensor]) -> list[Tensor]:
        """Returns parameters' gradients, of any shape, as they are; where several processes share out a part, their sum."""
        return gradients


def advance(parts: list[Part], xs: list[Tensor], steps: range, whole: range, recompute: bool) -> list[Tensor]:
    """Runs a segment of a rollout.

    Args:
        parts: The samples; their stores follow the steps.
        xs: The states of each part's rows, (R, stride), with their gradient.
        steps: The steps of the segment.
        whole: The steps of the whole rollout: its first segment passes on the parameters' gradients.
        recompute: Save only where the segment began, and run it again before it runs backward.

    Returns:
        The rows (R, stride) of each part after the steps.
    """
    parameters = parameters_of(parts)
    # Inside a node of autograd's graph gradients are off: whether they are needed can be seen only here.
    with_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (*xs, *parameters))
    return list(_Steps.apply(parts, steps, whole, with_grad, recompute, *xs, *parameters))


class _Steps(torch.autograd.Function):
    """A segment of a rollout, as one node of autograd's graph: the rows (R, stride) of each part before it and after it."""

    @staticmethod
    def forward(
        ctx: Any, parts: list[Part], steps: range, whole: range, with_grad: bool, recompute: bool, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        xs, parameters = tensors[: len(parts)], tensors[len(parts) :]
        for part, x in zip(parts, xs, strict=True):
            part.store = Store(part.store.cells, x.detach(), part.store.alive)
        saved: list[list[Tensor | None]] = [[p.store.cells, p.store.x, p.store.alive] for p in parts]
        per_step = type(parts[0]).forward(parts, steps, with_grad and not recompute)
        ctx.parts, ctx.steps, ctx.whole, ctx.recompute = parts, steps, whole, recompute
        ctx.grad_x, ctx.collector = any(x.requires_grad for x in xs), collecting()
        if with_grad:
            # Parameters too, so that autograd notices if they are changed before the backward pass.
            saved = saved if recompute else per_step
            ctx.shares = [len(parameters), *(len(tensors) for tensors in saved)]
            ctx.save_for_backward(*parameters, *(tensor for tensors in saved for tensor in tensors))
        # Not the very tensors that `parts` hold: those would hold this node, which holds `parts`, for ever.
        return tuple(part.store.x.detach() for part in parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # As in the forward pass: only the network may use autocast.
        with torch.autocast(gradients[0].device.type, enabled=False):
            return _backward_parts(ctx, gradients)


def _backward_parts(ctx: Any, gradients: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """Runs a segment backward: returns a gradient for each argument of `_Steps`."""
    parts, steps, saved = ctx.parts, ctx.steps, iter(ctx.saved_tensors)
    parameters, *saved = [list(islice(saved, share)) for share in ctx.shares]
    kind = type(parts[0])
    if ctx.recompute:
        for part, before in zip(parts, saved, strict=True):
            part.store = Store(*before)
        saved = kind.forward(parts, steps, True)
    # The last segment of the rollout is the first to run backward.
    if steps.stop == ctx.whole.stop:
        for part in parts:
            part.clear()
    through_perception = ctx.grad_x or steps.start > ctx.whole.start
    grad_xs = kind.backward(parts, steps, saved, [gradient.contiguous() for gradient in gradients], through_perception)
    grads: list[Any] = [None] * len(parameters)
    # The first segment is the last to run backward: the sums are complete.
    if steps.start == ctx.whole.start:
        grads = _summed_gradients(parts, len(parameters), ctx.collector)
    return None, None, None, None, None, *(grad_xs if ctx.grad_x else [None] * len(parts)), *grads


def _forward(part: Part, steps: range, save: bool) -> list[Tensor | None]:
    """Runs the steps of one part; with `save`, returns four tensors for each of them."""
    saved: list[Tensor | None] = []
    store = part.store
    part.rows.enter(store)
    for step in steps:
        after, fired, new_row = step_forward(part, store, step)
        if save:
            # A copy: the rows that fired lie at the front of a tensor of all rows, which would be kept whole.
            saved += [store.cells, store.x, fired.clone(), new_row]
        store = after
    part.rows.leave(store)
    part.store = store
    return saved


def step_forward(part: Part, store: Store, step: int) -> tuple[Store, Tensor, Tensor | None]:
    """Returns the next store, the rows that fired (n,), and the new row of each row (R,); None: rows stay."""
    rows, network = part.rows, part.network
    fired = rows.fired(store, part.draw, step)
    y = store.x.clone()
    # Some rows at a time, so that their hidden activations stay in the cache.
    for some in fired.split(ROWS):
        rows.add(y, some, network.forward(rows.perceive(store, pad_rows(some)))[: len(some)])
    marks = rows.mark(store, y)
    # Nothing was born and nothing died: no new rows to make, nothing to move.
    if marks.unchanged:
        return Store(store.cells, y, marks.near), fired, None
    survivors = None
    # Only where a living row's fate is open can a cell outside matter.
    if marks.open_fates:
        ring = rows.ring(store, marks, part.draw, step)
        if len(ring):
            survivors = rows.survivors(store, ring, network.forward(rows.perceive_at(store, pad_rows(ring)))[: len(ring)])
    after, new_row = rows.grow(store, y, marks, survivors)
    return after, fired, new_row


def _backward(part: Part, steps: range, saved: list[Any], grad_x: Tensor, through_perception: bool) -> Tensor:
    """Runs the steps of one part backward; returns the gradient of its rows before them, (R, stride)."""
    # The stores of the steps are those of the forward pass, so nothing is searched for again.
    for step in reversed(steps):
        cells, x, fired, new_row = saved[4 * (step - steps.start) :][:4]
        grad_x = step_backward(part, Store(cells, x, cells), fired, new_row, grad_x, through_perception or step > steps.start)
    return grad_x


def step_backward(
    part: Part, store: Store, fired: Tensor, new_row: Tensor | None, after: Tensor, through_perception: bool
) -> Tensor:
    """Returns the gradient of a step's rows (R, stride), from that of the rows after it."""
    # `store.alive` is not needed: rows that fired were alive, and rows that died have no new row.
    rows = part.rows
    grad_x = after.clone() if new_row is None else rows.grow_backward(after, new_row)
    # The update was added to the rows that fired, times step_size: so is its gradient.
    grad_delta = rows.scaled_rows(grad_x, fired)
    # The map from cells to rows is needed to find neighbours again.
    rows.enter(store)
    for some, grad in zip(fired.split(ROWS), grad_delta.split(ROWS), strict=True):
        grad_perception = part.network.backward(rows.perceive(store, some), grad)
        if part.rule.learns_kernels:
            rows.taps_backward(store, some, grad_perception)
        if through_perception:
            rows.perceive_backward(store, some, grad_perception, grad_x)
    rows.leave(store)
    return grad_x


def parameters_of(parts: list[Part]) -> list[Tensor]:
    """Returns the trainable parameters of all parts, of any shape, each once: rules bound to different bodies share most."""
    rules = {id(part.rule): part.rule for part in parts}
    found = {id(parameter): parameter for rule in rules.values() for parameter in trainable_parameters(rule)}
    return list(found.values())


def _summed_gradients(parts: list[Part], count: int, collector: BySample | None) -> list[Tensor | None]:
    """Returns the gradient of each of `parameters_of(parts)`, added up in the order of parts and of their samples.

    Where somebody collects gradients by sample they are handed in instead, and there is none to return.
    """
    totals: dict[int, Tensor | None] = {id(parameter): None for parameter in parameters_of(parts)}
    assert len(totals) == count, "in the order of the forward pass"
    for part in parts:
        for sample in range(part.rows.batch if part.by_sample else 1):
            found = part.summed(_gradients_by(part, sample))
            for parameter, gradient in zip(trainable_parameters(part.rule), found, strict=True):
                before = totals[id(parameter)]
                if collector is not None and part.by_sample and parameter.is_leaf:
                    collector.add(parameter, int(part.draw.sample_ids[sample]), gradient)
                else:
                    totals[id(parameter)] = gradient if before is None else before + gradient
    return list(totals.values())


def _gradients_by(part: Part, sample: int) -> list[Tensor]:
    """Returns the gradient of each trainable parameter by one sample of a part; sample 0 stands for all if it must."""
    grads, rule = part.parameter_gradients(sample), part.rule
    if not rule.learns_kernels:
        return grads
    # From (27, stride) back to the layout of a kernel.
    grad_kernels = [tap[:, : rule.channels].t().reshape(rule.channels, 3, 3, 3) for tap in part.rows.grad_taps[sample]]
    return add_kernel_gradients(rule, grads, grad_kernels)
