"""The event-driven executor: exact, and its cost follows the cells that live, not the lattice that they live in.

A state is kept as rows of cells (`store.py`). In a step

1. rows that are alive and fire see their neighbours, and the update network runs on them alone;
2. `near` is where a cell is above the threshold now, or touches one; a row that was alive and is near lives on;
3. a row that was alive and is not near may still be kept by a firing cell just outside (the ring): the network is asked for
   the alpha of those cells alone;
4. the next store has the rows that live, and the cells that they touch: the store grows and shrinks with the body.

All that `Rule.forward` computes elsewhere is thrown away there, so leaving it out changes nothing. `event_steps.py` has the
steps and their gradient, `native_part.py` the same in compiled code; this file opens a state for them and closes it again.
"""

import math
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import native_code, native_part
from nca3d.executors.cores import torch_on_one
from nca3d.executors.event_steps import Part, advance
from nca3d.executors.library import unavailable
from nca3d.executors.memory import Memory
from nca3d.executors.native_part import NativePart
from nca3d.executors.network import Network, network_dtype
from nca3d.executors.rows_native import NativeRows
from nca3d.executors.rows_torch import TorchRows
from nca3d.executors.store import DEAD, FIRST, OUTSIDE, Rows, Store
from nca3d.fire import Draw
from nca3d.lattice import dilate
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense, gather

# Steps from one look at the memory budget to the next: bodies grow on the way.
PLANNED = 16

# Cells of a batch must be fewer: they are counted in 32 bits.
MOST_CELLS = 1 << 31

# Rows times steps that are worth a part of their own, some ten milliseconds of work, and how many parts there are at most.
PART, MOST_PARTS = 16_384, 32


def run(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs steps start .. stop−1.

    Choose it for bodies: wherever a rule has an alive mask, the more so the fewer cells live.

    Args:
        rule: what one cell does.
        state: dense, (B, C, D, H, W), or compact; the result has the same form.
        draw: which cells fire.
        start: the first step.
        stop: the one after the last.
        memory: what to keep for the backward pass.

    Raises:
        ValueError: a rule that this executor can't run exactly; the line names what can.
    """
    why = unsupported(rule)
    if why:
        others = "'dense'" if rule.has_own_step() else "'dense', 'graph'"
        raise ArgumentError("executor", f"'event' for {type(rule).__name__}, which {why}", others)
    if _cells(state) >= MOST_CELLS:
        raise ArgumentError("state", tuple(state.shape), "fewer than 2**31 cells in all")
    # An empty batch has nothing to run and no rows to make.
    if not state.shape[0]:
        return state
    # Beside compiled steps torch has only short work to do, for which a second thread is not worth waking.
    with nullcontext() if not_compiled(rule, state) else torch_on_one():
        if isinstance(state, Compact):
            return _run(rule, state, draw, start, stop, memory)
        with_grad = torch.is_grad_enabled() and state.requires_grad
        cells = _active_cells(rule, state) if with_grad else compact(state, rule.dead_value)
        return dense(_run(rule, cells, draw, start, stop, memory), rule.dead_value)


def run_every_cell(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs the same steps of a state (B, C, D, H, W) in compiled code, but every cell of the lattice has a row and keeps it."""
    whole = dense(state, rule.dead_value) if isinstance(state, Compact) else state
    with torch_on_one():
        cells = gather(whole, torch.arange(_cells(state), device=whole.device))
        last = dense(_run(rule, cells, draw, start, stop, memory, fixed=True), rule.dead_value)
    return compact(last, rule.dead_value) if isinstance(state, Compact) else last


def not_compiled(rule: Rule, state: Tensor | Compact) -> str:
    """Returns why compiled code can't run all of this rule's step on such a state (B, C, D, H, W), or ""."""
    values = state.values if isinstance(state, Compact) else state
    too_many = "has 2**31 cells or more to run" if _cells(state) >= MOST_CELLS else ""
    why = unsupported(rule) or too_many or unavailable(values, native_code.library)
    return why or native_part.unsupported(rule, values)


def _cells(state: Tensor | Compact) -> int:
    batch, _, *sides = state.shape
    return batch * math.prod(sides)


def unsupported(rule: Rule) -> str:
    """Returns why this rule can't be run by events, or ""."""
    if rule.alive_threshold is None:
        return "has no alive mask, so that every cell counts"
    if rule.has_own_step():
        return "has a step of its own (it overrides forward, perceive, alive_mask or pad)"
    if rule.dead_value > rule.alive_threshold:
        return "has dead cells that count as alive (dead_value above alive_threshold)"
    return ""


def _active_cells(rule: Rule, state: Tensor) -> Compact:
    """Returns the cells that are not dead, and the dead ones that the first step may change or see: they have a gradient."""
    there = (state.detach() != rule.dead_value).any(1)
    # One cell for what the first step may change, one for what that may see.
    for _ in range(2):
        there = dilate(there, circular=rule.padding == "circular")
    return gather(state, there.flatten().nonzero().squeeze(1))


def _run(rule: Rule, state: Compact, draw: Draw, start: int, stop: int, memory: Memory, fixed: bool = False) -> Compact:
    dtype = network_dtype(state.values)
    native = not not_compiled(rule, state)
    backend = NativeRows if native_code.available(state.values) else TorchRows
    kind: Any = partial(NativePart, fixed=fixed) if native else Part
    with torch.autocast(state.values.device.type, enabled=False):  # only the network may compute in fewer bits
        parts, xs = [], []
        for values, cells, samples in _partition(state, stop - start if native else 0):
            rows = backend(rule, len(samples), state.size, values)
            store, source = _to_rows(rows, values, cells)
            xs.append(rows.padded(values).index_select(0, source))
            parts.append(kind(rule, rows, draw.only(samples), Network(rule, dtype), store))
        with_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (*xs, *rule.parameters()))
        kept, whole = 0, range(start, stop)
        while start < stop:
            # Asked anew before each segment: the body has grown meanwhile.
            step_bytes = sum(part.step_bytes() for part in parts)
            segment = memory.segment(stop - start, step_bytes, kept) if with_grad else None
            length = segment or (PLANNED if with_grad and memory.length is None else stop)
            steps = range(start, min(stop, start + length))
            xs = advance(parts, xs, steps, whole, recompute=segment is not None)
            kept += sum(part.step_bytes() for part in parts) * (1 if segment else len(steps))
            start = steps.stop
    return _to_cells(parts, xs, state)


def _partition(state: Compact, steps: int) -> list[tuple[Tensor, Tensor, range]]:
    """Returns (values, cells, samples) of each part: whole samples, so that threads never meet, of about as many rows.

    How many follows from the work alone, not from the cores: sums of gradients are the same on any machine.
    """
    count = max(1, min(state.batch, MOST_PARTS, len(state.cells) * steps // PART))
    volume = math.prod(state.size)
    firsts = torch.searchsorted(state.cells, torch.arange(state.batch + 1, device=state.cells.device) * volume)
    bounds = [0]
    for k in range(1, count):
        sample = int((firsts - len(state.cells) * k / count).abs().argmin())
        bounds += [sample] if bounds[-1] < sample < state.batch else []
    bounds.append(state.batch)
    rows = firsts[torch.tensor(bounds)].tolist()
    pieces = zip(bounds, bounds[1:], rows, rows[1:], strict=False)
    return [(state.values[a:b], state.cells[a:b] - low * volume, range(low, high)) for low, high, a, b in pieces]


def _to_rows(rows: Rows, values: Tensor, listed: Tensor) -> tuple[Store, Tensor]:
    """Returns the store of a state, and the padded row of the state that each of its rows comes from (DEAD: none)."""
    border = torch.full((FIRST,), -1, dtype=rows.index, device=rows.device)
    cells = torch.cat([border, listed.to(rows.index)])
    stays = (cells >= 0).to(torch.uint8)  # not those of the border: as cells, at −1, they would hide the lattice's last one
    store = Store(cells, rows.padded(values.detach()), stays)
    rows.enter(store)
    after, new_row = rows.grow(store, store.x, rows.mark(store, store.x), kept=stays)
    rows.leave(after)
    source = torch.full((len(after.cells),), DEAD, device=rows.device)
    # The border is no cell, and comes from itself.
    source[OUTSIDE] = OUTSIDE
    source[new_row[FIRST:].long()] = torch.arange(FIRST, len(cells), device=rows.device)
    return after, source


def _to_cells(parts: list[Part], xs: list[Tensor], state: Compact) -> Compact:
    """Returns the rows as cells. Rows that hold nothing are left out, unless a gradient may reach what they did on the way."""
    rule, volume = parts[0].rule, math.prod(state.size)
    values = torch.cat([x[FIRST:, : rule.channels] for x in xs])
    firsts = accumulate((part.rows.batch for part in parts), initial=0)
    where = torch.cat([p.store.cells[FIRST:].long() + first * volume for p, first in zip(parts, firsts, strict=False)])
    # With a gradient a row that holds nothing may still pass one on.
    if not values.requires_grad:
        there = (values != rule.dead_value).any(1)
        values, where = values[there], where[there]
    return Compact(values, where, state.batch, state.size)
