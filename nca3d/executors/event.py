"""The event-driven executor: exact, and its cost follows the cells that live, not the lattice that they live in.

A state is kept as rows of cells (`store.py`). In a step

1. rows that are alive and fire see their neighbours, and the update network runs on them alone;
2. `near` is where a cell is above the threshold now, or touches one; a row that was alive and is near lives on;
3. a row that was alive and is not near may still be kept by a firing cell just outside (the ring): the network is asked for
   the alpha of those cells alone;
4. the next store has the rows that live, and the cells that they touch: the store grows and shrinks with the body.

All that `Rule.forward` computes elsewhere is thrown away there, so leaving it out changes nothing.

The backward pass is written out: of each step it keeps the rows' states and who fired; what cells saw and the hidden layers are
computed again. Steps of one segment are one node of autograd's graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nca3d.compact import Compact, compact, dense, gather
from nca3d.executors import rows_native
from nca3d.executors.memory import Memory
from nca3d.executors.network import ROWS, Network, network_of, trained
from nca3d.executors.rows_native import NativeRows
from nca3d.executors.rows_torch import TorchRows
from nca3d.executors.store import DEAD, FIRST, OUTSIDE, Rows, Store
from nca3d.fire import Draw
from nca3d.lattice import dilate
from nca3d.rules.cell import Rule


PLANNED = 16
"""Steps from one look at the memory budget to the next: bodies grow on the way."""


@dataclass
class _Pass:
    """What all steps of one rollout share. The network collects the parameters' gradients over all segments, so that sums are
    made in the same order whatever is kept in memory (law 8), and the first segment, the last to run backward, hands them over.
    """

    rule: Rule
    rows: Rows
    draw: Draw
    network: Network


def run(
    rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
) -> Tensor | Compact:  # fmt: skip
    """Steps start .. stop−1.

    Args:
        rule: what one cell does.
        state: dense, (B, C, D, H, W), or compact; the answer has the same form.
        draw: which cells fire.
        memory: what to keep for the backward pass.

    Raises:
        ValueError: a rule that this executor can't run exactly; the line names what can.
    """
    refuse(rule, state)
    if isinstance(state, Compact):
        return _run(rule, state, draw, start, stop, memory)
    cells = _seen(rule, state) if state.requires_grad else compact(state, rule.dead_value)
    return dense(_run(rule, cells, draw, start, stop, memory), rule.dead_value)


def unfit(rule: Rule) -> str:
    """Why this rule can't be run by events, or ""."""
    if rule.alive_threshold is None:
        return "has no alive mask, so that every cell counts"
    if any(getattr(type(rule), name) is not getattr(Rule, name) for name in ("forward", "perceive", "alive_mask", "pad")):
        return "has a step of its own (it overrides forward, perceive, alive_mask or pad)"
    if rule.dead_value > rule.alive_threshold:
        return "has dead cells that count as alive (dead_value above alive_threshold)"
    return ""


def refuse(rule: Rule, state: Tensor | Compact) -> None:
    """Raises ValueError for what can't be run exactly."""
    why = unfit(rule)
    if why:
        raise ValueError(f"executor: found 'event' for {type(rule).__name__}, which {why}; allowed 'dense', 'graph'")
    batch, _, *sides = state.shape
    if batch * math.prod(sides) >= 1 << 31:
        raise ValueError(f"state: found {batch} lattices of {tuple(sides)}, allowed fewer than 2**31 cells in all")


def _seen(rule: Rule, state: Tensor) -> Compact:
    """The cells that are not dead, and the dead ones that the first step may change or see: they have a gradient too."""
    there = (state.detach() != rule.dead_value).any(1)
    for _ in range(2):
        there = dilate(there, circular=rule.padding == "circular")
    return gather(state, there.flatten().nonzero().squeeze(1))


def _run(rule: Rule, state: Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Compact:
    backend = NativeRows if rows_native.available(state.values) else TorchRows
    device = state.values.device.type
    network_dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    with torch.autocast(device, enabled=False):  # only the network is ever asked to answer in fewer bits
        shared = _Pass(rule, backend(rule, state.batch, state.size, state.values), draw, network_of(rule, network_dtype))
        store, source = _open(shared.rows, state)
        x = shared.rows.padded(state.values).index_select(0, source)
        kept, whole = 0, range(start, stop)
        while start < stop:
            row_bytes = store.x[0].nbytes + 3 * store.cells.element_size()
            segment = memory.segment(stop - start, len(store.cells) * row_bytes, kept)
            steps = range(start, min(stop, start + (segment or (PLANNED if memory.length is None else stop))))
            box = [store]
            x = _Steps.apply(shared, box, steps, whole, segment is not None, x, *trained(rule))
            store = box[0]
            kept += len(store.cells) * row_bytes * (1 if segment else len(steps))
            start = steps.stop
    return _close(rule, store, x, state)


def _open(rows: Rows, state: Compact) -> tuple[Store, Tensor]:
    """The store of a state, and the padded row of the state that each of its rows comes from (DEAD: none)."""
    border = torch.full((FIRST,), -1, dtype=rows.index, device=rows.device)
    cells = torch.cat([border, state.cells.to(rows.index)])
    stays = torch.ones(len(cells), dtype=torch.uint8, device=rows.device)
    store = Store(cells, rows.padded(state.values.detach()), stays)
    rows.enter(store)
    after, became = rows.grow(store, store.x, rows.mark(store, store.x), kept=stays)
    rows.leave(after)
    source = torch.full((len(after.cells),), DEAD, device=rows.device)
    source[OUTSIDE] = OUTSIDE
    source[became[FIRST:].long()] = torch.arange(FIRST, len(cells), device=rows.device)
    return after, source


def _close(rule: Rule, store: Store, x: Tensor, state: Compact) -> Compact:
    """The rows as cells. Rows that hold nothing are left out, unless a gradient may reach what they did on the way."""
    values, cells = x[FIRST:, : rule.channels], store.cells[FIRST:].long()
    if not x.requires_grad:
        there = (values != rule.dead_value).any(1)
        values, cells = values[there], cells[there]
    return Compact(values, cells, state.batch, state.size)


def _step(shared: _Pass, store: Store, step: int) -> tuple[Store, Tensor, Tensor | None]:
    """The next store, the rows that fired, and the row that each row became (None: the store stays as it is)."""
    rows, network = shared.rows, shared.network
    fired = rows.fired(store, shared.draw, step)
    y = store.x.clone()
    for part in fired.split(ROWS):
        rows.add(y, part, network.forward(rows.perceive(store, part)))
    marks = rows.mark(store, y)
    if marks.unchanged:
        return Store(store.cells, y, store.alive), fired, None
    kept = None
    if marks.open_fates:
        ring = rows.ring(store, marks, shared.draw, step)
        if len(ring):
            kept = rows.kept(store, ring, network.forward(rows.perceive_at(store, ring)))
    after, became = rows.grow(store, y, marks, kept)
    return after, fired, became


class _Steps(torch.autograd.Function):
    """Some steps of a `whole` rollout: x (R, stride) -> x after them. `box` holds the store before, and then the one after."""

    @staticmethod
    def forward(
        ctx: Any, shared: _Pass, box: list[Store], steps: range, whole: range, lean: bool, x: Tensor, *parameters: Tensor
    ) -> Tensor:
        asked = x.requires_grad or bool(parameters)
        store = Store(box[0].cells, x.detach(), box[0].alive)
        box[0], kept = _forward(shared, store, steps, keep=asked and not lean)
        ctx.shared, ctx.steps, ctx.whole, ctx.lean, ctx.into_x = shared, steps, whole, lean, x.requires_grad
        if asked:  # parameters too, so that autograd notices if they are changed before the backward pass
            ctx.parameters = len(parameters)
            ctx.save_for_backward(*parameters, *([store.cells, store.x, store.alive] if lean else kept))
        return box[0].x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        shared, steps, kept = ctx.shared, ctx.steps, ctx.saved_tensors[ctx.parameters :]
        if ctx.lean:
            _, kept = _forward(shared, Store(*kept), steps, keep=True)
        if steps.stop == ctx.whole.stop:
            shared.network.clear()
            shared.rows.into_taps.zero_()
        into_x = gradient.contiguous()
        for step in reversed(steps):
            place = 4 * (step - steps.start)
            last = step == ctx.whole.start and not ctx.into_x
            into_x = _unstep(shared, *kept[place : place + 4], into_x, last)
        into: list[Tensor | None] = [None] * ctx.parameters
        if steps.start == ctx.whole.start:
            into = [*shared.network.gradients]
            if shared.rule.learns_kernels:
                into = [a + b for a, b in zip(into, _through_kernels(shared), strict=True)]
        return None, None, None, None, None, into_x if ctx.into_x else None, *into


def _forward(shared: _Pass, store: Store, steps: range, keep: bool) -> tuple[Store, list[Tensor | None]]:
    """The store after these steps; with `keep` also what each step's backward pass needs, four tensors a step."""
    kept: list[Tensor | None] = []
    shared.rows.enter(store)
    for step in steps:
        after, fired, became = _step(shared, store, step)
        if keep:
            kept += [store.cells, store.x, fired.clone(), became]
        store = after
    shared.rows.leave(store)
    return store, kept


def _unstep(
    shared: _Pass, cells: Tensor, x: Tensor, fired: Tensor, became: Tensor | None, after: Tensor, last: bool
) -> Tensor:  # fmt: skip
    """What flows into the rows of a step, given what flows into those after it; the parameters' shares are collected."""
    rows, store = shared.rows, Store(cells, x, cells)  # who was alive is told by who fired
    into_x = after.clone() if became is None else rows.carry_back(after, became)
    into_change = rows.take(into_x, fired)
    rows.enter(store)
    for part, into in zip(fired.split(ROWS), into_change.split(ROWS), strict=True):
        into_seen = shared.network.backward(rows.perceive(store, part), into)
        if shared.rule.learns_kernels:
            rows.unperceive_taps(store, part, into_seen)
        if not last:
            rows.unperceive(store, part, into_seen, into_x)
    rows.leave(store)
    return into_x


def _through_kernels(shared: _Pass) -> list[Tensor]:
    """What flows into the trained parameters through learned kernels."""
    rule, parameters = shared.rule, trained(shared.rule)
    with torch.enable_grad():
        kernels = [kernel for kernel in rule.kernels() if kernel is not None]
        wide = [kernel.expand(rule.channels, 3, 3, 3) for kernel in kernels]
    into = [tap[:, : rule.channels].t().reshape(rule.channels, 3, 3, 3) for tap in shared.rows.into_taps]
    pairs = [(kernel, part) for kernel, part in zip(wide, into, strict=True) if kernel.requires_grad]
    if not pairs:
        return [torch.zeros_like(parameter) for parameter in parameters]
    outputs, into_outputs = zip(*pairs, strict=True)
    return list(torch.autograd.grad(outputs, parameters, into_outputs, allow_unused=True, materialize_grads=True))
