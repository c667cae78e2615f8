"""Steps of cells that have weights of their own (`GMLPRule`), in torch: batched products over a block of cells at a time.

Choose it (executor "dense") on a GPU, without a C compiler, with dropout in training, or for a cell that is written in Python;
`steps.py` does the same in compiled code and is faster on a processor.

All steps of a segment are one operation of autograd's graph. It saves the states between the steps and nothing else: the
backward pass computes each block of cells again (gradient checkpointing, Chen et al. 2016) and adds its gradients to one tensor
for each weight.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.cube.cell import GMLPRule, split_inputs
from nca3d.cube.rows import from_rows, with_border_row
from nca3d.executors.every_cell import Clock
from nca3d.fire import fire_mask
from nca3d.rules.cell import Rule

# Turns a rollout's random_seed into that of its dropout: the two must not draw the same numbers.
DROPOUT = 0x5EED

# About how many bytes the activations of one block may take, so that they stay in the processor's cache.
BLOCK_BYTES = 24 << 20


def step_bytes(rule: Rule, state: Tensor) -> int:
    """Returns the bytes that one step saves for its backward pass: those of the state, (B, C, D, H, W), and nothing else.

    Where ranks share the cells out, it is what the one with most cells saves: segments must end at the same steps on all.
    """
    share = split_inputs(rule)[0].cells.share
    cells = math.prod(state.shape[2:]) if share is None else share.most_rows
    return state.shape[0] * state.shape[1] * cells * state.element_size()


# (rule, clock, fire (T, B, cells), rows (cells, B, F + M), front, outside) -> the rows after T steps that are alike.
SomeSteps = Callable[[GMLPRule, Clock, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """Runs several steps.

    Args:
        rule: A `GMLPRule`, alone or with its inputs.
        state: The first state, float (B, D, H, W, C).
        fire: The cells that update in each of the T steps, bool (T, B, D, H, W).
        clock: The number of the first step, and the seed and samples of the rollout: which channels move, what dropout drops.

    Returns:
        The last state, (B, D, H, W, C).
    """
    return run_by(_in_torch, rule, state, fire, clock)


def run_by(some_steps: SomeSteps, rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
    """Runs several steps by a function that runs steps that are alike: all at once where all are, else one by one.

    Args:
        some_steps: The function; see `SomeSteps`.
        rule: A `GMLPRule`, alone or with its inputs.
        state: The first state, float (B, D, H, W, C).
        fire: The cells that update in each of the T steps, bool (T, B, D, H, W).
        clock: See `run`.

    Returns:
        The last state, (B, D, H, W, C).
    """
    cube, inputs = split_inputs(rule)
    rows = cube.to_rows(state.movedim(-1, 1))
    fire = fire.flatten(2)
    front = None if inputs.face is None else inputs.face.flatten(2).permute(2, 0, 1)
    # A coarse lattice must be computed anew before each step, and with `periods` each step moves other channels.
    alike = len(fire) if cube.steps_are_alike else 1
    for first in range(0, len(fire), alike):
        outside = (
            cube.external_input(cube.visible_features(rows, inputs), inputs)
            if cube.coarse is not None or inputs.external is not None
            else None
        )
        moment = clock._replace(step=clock.step + first)
        after = _shared_out(some_steps, cube, moment, fire[first : first + alike], rows, front, outside)
        rows = after if cube.steps_are_alike else torch.where(cube.moving_channels(moment.step, rows.device), after, rows)
    return from_rows(rows, cube.size).movedim(1, -1).contiguous()


def _shared_out(
    some_steps: SomeSteps,
    rule: GMLPRule,
    clock: Clock,
    fire: Tensor,
    rows: Tensor,
    front: Tensor | None,
    outside: Tensor | None,
) -> Tensor:
    """Runs steps that are alike, of this rank's cells, where ranks share them out; what comes in and goes out is whole."""
    share = rule.cells.share
    if share is None:
        return some_steps(rule, clock, fire, rows, front, outside)
    share.agree(zlib.crc32(some_steps.__module__.encode()), len(fire), rows.shape[1], torch.is_grad_enabled())
    mine = share.local_fire(fire), share.local(rows)
    inputs = None if front is None else share.local_front(front), None if outside is None else share.local(outside)
    return share.whole(some_steps(rule, clock, *mine, *inputs))


def needs_gradient(rule: GMLPRule, *parts: Tensor | None) -> bool:
    """Returns whether a backward pass may follow: never under no_grad, even if weights are trained.

    Args:
        rule: The rule, with its weights.
        *parts: Other inputs of the steps, of any shape; None = not given.
    """
    tensors = [*(part for part in parts if part is not None), *rule.cells.own.values()]
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def _in_torch(rule: GMLPRule, clock: Clock, fire: Tensor, rows: Tensor, front: Tensor | None, outside: Tensor | None) -> Tensor:
    """Runs steps that are alike; see `SomeSteps`."""
    # Decided here: inside a Function's forward, grad mode is off whatever the caller's is.
    with_grad = needs_gradient(rule, rows, front, outside)
    rows = rows.contiguous()
    outside = rows.new_zeros(*rows.shape[:2], rule.external) if outside is None else outside
    firing = fire.transpose(1, 2)[..., None].contiguous()
    return _Steps.apply(rule, clock, with_grad, firing, rows, front, outside, *rule.cells.own.values())


class _Steps(torch.autograd.Function):
    """Maps rows (cells, B, F + M) to the rows after the steps of firing (T, cells, B, 1)."""

    @staticmethod
    def forward(
        ctx: Any,
        rule: GMLPRule,
        clock: Clock,
        with_grad: bool,
        firing: Tensor,
        rows: Tensor,
        front: Tensor | None,
        outside: Tensor,
        *own: Tensor,
    ) -> Tensor:
        """Runs the steps and saves the state before each, where a backward pass may follow."""
        device, share = rows.device.type, rule.cells.share
        ctx.rule, ctx.clock = rule, clock
        # The backward pass runs outside the caller's autocast, but must compute the blocks again in the same arithmetic.
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        # The features of cells on other ranks are written into the rows.
        states = [rows if share is None else rows.clone()]
        for number, fires in enumerate(firing):
            after, factors = torch.empty_like(rows), _dropout_factors(rule, clock, number, rows)
            if share is not None:
                share.show([states[-1][None, ..., : rule.features]], [] if front is None else [front[None]])
            padded = _visible(rule, states[-1], front)
            for cells in blocks(rule, rows.shape[1]):
                perception = rule.perception(padded, outside, cells)
                factor = None if factors is None else factors[cells]
                after[cells] = _block(
                    rule, ctx.dtype, cells, states[-1][cells], perception, fires[cells], factor, rule.cells.part(cells, own)
                )
            states = [*states, after] if with_grad else [after]
        if with_grad:
            ctx.save_for_backward(firing, front, outside, *states[:-1], *own)
        return states[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of `forward`'s arguments, the last step's first; each block is computed again."""
        rule: GMLPRule = ctx.rule
        firing, front, outside, *others = ctx.saved_tensors
        states, own = others[: len(firing)], others[len(firing) :]
        # The first seven arguments of `forward` are no weights.
        names, needs_grad = list(rule.cells.own), ctx.needs_input_grad[7:]
        grad_own = [torch.zeros_like(p) if needed else None for p, needed in zip(own, needs_grad, strict=True)]
        grad_front = torch.zeros_like(front) if front is not None else None
        grad_outside = torch.zeros_like(outside)
        grad_after = grad_after.contiguous()
        for number in reversed(range(len(firing))):
            rows = states[number]
            factors = _dropout_factors(rule, ctx.clock, number, rows)
            padded = _visible(rule, rows, front)
            grad_rows, grad_padded = torch.zeros_like(rows), torch.zeros_like(padded)
            for cells in blocks(rule, rows.shape[1]):
                # An answer is read at one face, and nothing outruns the light cone: the last steps have no gradient elsewhere.
                if not grad_after[cells].any():
                    continue
                with torch.enable_grad():
                    part = {name: tensor.detach().requires_grad_() for name, tensor in rule.cells.part(cells, own).items()}
                    before = rows[cells].detach().requires_grad_()
                    perception = rule.perception(padded, outside, cells).requires_grad_()
                    factor = None if factors is None else factors[cells]
                    after = _block(rule, ctx.dtype, cells, before, perception, firing[number][cells], factor, part)
                # Materialised: a weight that this preset does not use has a gradient of zero, not None.
                grads = torch.autograd.grad(
                    after, [before, perception, *part.values()], grad_after[cells], allow_unused=True, materialize_grads=True
                )
                grad_rows[cells] += grads[0]
                # A perception is the six neighbours, the cell itself, the external input: each part goes to whose it was.
                *grad_near, grad_self, grad_external = grads[1].split([rule.features] * 7 + [rule.external], dim=-1)
                grad_padded[:-1][cells] += grad_self
                for neighbours, gradient in zip(rule.neighbours[cells].T, grad_near, strict=True):
                    grad_padded.index_add_(0, neighbours, gradient)
                grad_outside[cells] += grad_external
                for name, total, gradient in zip(names, grad_own, grads[-len(names) :], strict=True):
                    if total is not None and rule.cells.is_per_cell(name):
                        total[cells] += gradient
                    elif total is not None:
                        total += gradient
            if rule.cells.share is not None:
                rule.cells.share.give_back([grad_padded[None]])
            # The last row of grad_padded is what lies outside the lattice, which is constant: its gradient is dropped.
            grad_rows[..., : rule.features] += grad_padded[:-1]
            if grad_front is not None:
                grad_front += grad_padded[: len(grad_front)]
            grad_after = grad_rows
        return None, None, None, None, grad_after, grad_front, grad_outside, *summed(rule, grad_own)


def summed(rule: GMLPRule, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Returns the gradients of a rule's weights, where ranks share its cells out: those of weights that cells share, summed.

    Args:
        rule: The rule.
        grads: What this rank's cells give, (n, *shape) of weights of their own and (*shape) of those that cells share, in the
            order of the parameters; None = not asked for.
    """
    share, names = rule.cells.share, list(rule.cells.own)
    if share is None:
        return list(grads)
    places = [n for n, grad in enumerate(grads) if grad is not None and not rule.cells.is_per_cell(names[n])]
    sums = dict(zip(places, share.sum([cast(Tensor, grads[n]) for n in places]), strict=True))
    return [sums.get(n, grad) for n, grad in enumerate(grads)]


def blocks(rule: GMLPRule, batch: int) -> Iterator[slice]:
    """Yields all cells in blocks whose activations fit the processor's cache, or of as many cells as the rule's weights say.

    Args:
        rule: The rule, by the sizes of its cells.
        batch: How many samples run at once.
    """
    # About the numbers that one sample of one cell holds at once: its perception, then every activation of the cell.
    numbers = 7 * rule.features + rule.external + 12 * rule.features + 4 * rule.widened + 8 * rule.memory
    cells = rule.cells.held
    size = min(rule.cells.at_once or max(BLOCK_BYTES // (4 * batch * numbers), 1), cells)
    for start in range(0, cells, size):
        yield slice(start, min(start + size, cells))


def _visible(rule: GMLPRule, rows: Tensor, front: Tensor | None) -> Tensor:
    """Returns the features as neighbours see them, (cells + 1, B, F); the last row is what lies outside the lattice."""
    padded = with_border_row(rows[..., : rule.features])
    if front is not None:
        # The front face is d = 0, and d is the slowest axis: its cells are the first rows.
        padded[: len(front)] += front
    return padded


def _block(
    rule: GMLPRule,
    dtype: torch.dtype | None,
    cells: slice,
    rows: Tensor,
    perception: Tensor,
    firing: Tensor,
    factor: Tensor | None,
    part: dict[str, Tensor],
) -> Tensor:
    """Returns a block after the step: rows (n, B, F + M), from perception (n, B, 7·F + E) and firing (n, B, 1)."""
    memory = rows[..., rule.features :]
    with torch.autocast(rows.device.type, dtype=dtype, enabled=dtype is not None):
        out, memory = rule.cell(rule.cells.of(part, cells), perception, memory, factor)
    return torch.where(firing, rule.next_rows(rows, out.to(rows.dtype), memory.to(rows.dtype)), rows)


def _dropout_factors(rule: GMLPRule, clock: Clock, number: int, rows: Tensor) -> Tensor | None:
    """Returns the factors of dropout in one step, (cells, B, widened), 0 or 1 / (1 − dropout); None without dropout.

    They are drawn by counters as fire masks are (law 4): a sample's do not depend on which samples share its batch.
    """
    if not rule.training or not rule.dropout:
        return None
    # A fire mask over a lattice of cells × units: each unit of each cell has a place, and with it a number of its own.
    units, share = (rule.cells.cells, rule.widened, 1), rule.cells.share
    ids = torch.arange(rows.shape[1]) if clock.sample_ids is None else clock.sample_ids
    stays = fire_mask(clock.random_seed ^ DROPOUT, clock.step + number, ids.to(rows.device), units, 1 - rule.dropout)
    stays = stays[:, 0, :, :, 0].transpose(0, 1)
    return (stays if share is None else stays[share.own.to(rows.device)]).to(rows) / (1 - rule.dropout)
