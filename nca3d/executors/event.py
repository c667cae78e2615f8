"""The executor `event`: exact, and its cost follows the cells that live, not the lattice that they live in.

Choose it for bodies: wherever a rule has an alive mask, the more so the fewer cells live. In C (float32 and float64 on a CPU)
it is the fastest at any share of living cells.

A state is a list of rows, one for each cell that matters (`store.py`). In a step

1. rows that are alive and fire perceive their neighbours, and the update network runs on them alone;
2. a row is near if it is above the threshold now or touches one that is; a row that was alive and is near lives on;
3. a row that was alive and is not near may still be kept alive by a firing cell just outside (the ring): the network runs on
   those cells too, for their alpha alone;
4. the next rows are those that live, and the cells that they touch: the list grows and shrinks with the body.

All else that `Rule.forward` computes ends in a dead cell, so leaving it out changes nothing. `event_steps.py` has the steps and
their gradient, `native_part.py` the same in compiled code; this file turns a state into rows for them, and back.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import native_code, native_part
from nca3d.executors.cores import torch_on_one
from nca3d.executors.event_steps import Part, advance, parameters_of
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

# The number of steps from one look at the memory budget to the next: bodies grow on the way.
PLANNED = 16

# A batch must have fewer cells than this: they are counted in 32 bits.
MOST_CELLS = 1 << 31

# The number of rows times steps that make a part, some ten milliseconds of work, so that waking a thread for it pays; and the
# largest number of parts.
PART, MOST_PARTS = 16_384, 32


def run(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs steps start .. stop−1; choose it for bodies, the more so the fewer cells live.

    Args:
        rule: What one cell does.
        state: The state, dense (B, C, D, H, W) or compact; the result has the same form.
        draw: Which cells fire.
        start: The first step.
        stop: The step after the last.
        memory: What to keep for the backward pass.

    Raises:
        ValueError: The rule is one that this executor can't run exactly; the line names executors that can.
    """
    return _run_rules(rule, state, draw, start, stop, memory, None)


def _run_rules(
    rule: Rule,
    state: Tensor | Compact,
    draw: Draw,
    start: int,
    stop: int,
    memory: Memory,
    rules: list[Rule] | None,
) -> Tensor | Compact:
    """Runs the steps by one rule, or each sample by its own where there are `rules`."""
    refuse(rule, state, "event")
    # An empty batch has nothing to run and no rows to make.
    if not state.shape[0]:
        return state
    # Beside compiled steps torch has only short work to do: waking a second thread would cost more than it saves.
    with nullcontext() if not_compiled(rule, state) else torch_on_one():
        if isinstance(state, Compact):
            return _run(rule, state, draw, start, stop, memory, rules=rules)
        # A gradient may reach dead cells too, where the first step changes them or looks at them: they need rows.
        with_grad = torch.is_grad_enabled() and state.requires_grad
        cells = active_cells(rule, state) if with_grad else compact(state, rule.dead_value)
        return dense(_run(rule, cells, draw, start, stop, memory, rules=rules), rule.dead_value)


def run_bound(
    bound: Sequence[tuple[int, Rule]], state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
) -> Tensor | Compact:
    """Runs the steps of samples that are bound to different bodies, all of them at once: side by side on the cores.

    Args:
        bound: For each group of samples, which follow each other, how many there are and the rule that runs them. All rules are
            of one shape.
        state: The state (B, C, D, H, W), dense or compact.
        draw: Which cells fire.
        start: The first step.
        stop: The step after the last.
        memory: What to keep for the backward pass.

    Raises:
        ValueError: See `run`.
    """
    rules = [rule for count, rule in bound for _ in range(count)]
    return _run_rules(rules[0], state, draw, start, stop, memory, rules)


def run_every_cell(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs the same steps of a state (B, C, D, H, W) in compiled code with a row for each cell of the lattice: `compiled`."""
    whole = dense(state, rule.dead_value) if isinstance(state, Compact) else state
    with torch_on_one():
        cells = gather(whole, torch.arange(_cells(state), device=whole.device))
        last = dense(_run(rule, cells, draw, start, stop, memory, fixed=True), rule.dead_value)
    return compact(last, rule.dead_value) if isinstance(state, Compact) else last


def not_compiled(rule: Rule, state: Tensor | Compact) -> str:
    """Returns why compiled code can't run all steps of a rule on a state (B, C, D, H, W), or ""."""
    values = state.values if isinstance(state, Compact) else state
    too_many = "has 2**31 cells or more to run" if _cells(state) >= MOST_CELLS else ""
    why = unsupported(rule) or too_many or unavailable(values, native_code.library)
    return why or native_part.unsupported(rule, values)


def _cells(state: Tensor | Compact) -> int:
    """Returns the number of cells of the whole batch, dead or alive."""
    batch, _, *sides = state.shape
    return batch * math.prod(sides)


def unsupported(rule: Rule) -> str:
    """Returns why this executor can't run a rule, or ""."""
    # In each case a cell far from all living ones could matter.
    if rule.alive_threshold is None:
        return "has no alive mask, so that every cell counts"
    if rule.has_own_step():
        return "has a step of its own (it overrides forward, perceive, alive_mask or pad)"
    if rule.dead_value > rule.alive_threshold:
        return "has dead cells that count as alive (dead_value above alive_threshold)"
    return ""


def refuse(rule: Rule, state: Tensor | Compact, executor: str) -> None:
    """Refuses what can't be run on rows of living cells.

    Args:
        rule: What one cell does.
        state: The state (B, C, D, H, W), dense or compact.
        executor: The name of the executor that was asked for.

    Raises:
        ValueError: The rule or the state is such; the line names executors that can run it.
    """
    why = unsupported(rule)
    if why:
        others = "'dense'" if rule.has_own_step() else "'dense', 'graph'"
        raise ArgumentError("executor", f"{executor!r} for {type(rule).__name__}, which {why}", others)
    if _cells(state) >= MOST_CELLS:
        raise ArgumentError("state", tuple(state.shape), "fewer than 2**31 cells in all")


def active_cells(rule: Rule, state: Tensor) -> Compact:
    """Returns the cells of a state (B, C, D, H, W) that are not dead, and those that the first step may change or look at."""
    active = (state.detach() != rule.dead_value).any(1)
    # By one cell for what the first step may change, by another for what those cells perceive.
    for _ in range(2):
        active = dilate(active, circular=rule.padding == "circular")
    return gather(state, active.flatten().nonzero().squeeze(1))


def _run(
    rule: Rule,
    state: Compact,
    draw: Draw,
    start: int,
    stop: int,
    memory: Memory,
    fixed: bool = False,
    rules: list[Rule] | None = None,
) -> Compact:
    """Runs the steps on rows, a segment at a time.

    Args:
        rule: What one cell does.
        state: The state.
        draw: Which cells fire.
        start: The first step.
        stop: The step after the last.
        memory: What to keep for the backward pass.
        fixed: Every cell of the lattice is listed, and keeps its row.
        rules: The rule of each sample, all of one shape; None = the one.
    """
    own = rules or [rule] * state.batch
    dtype = network_dtype(state.values)
    native = not not_compiled(rule, state)
    backend = NativeRows if native_code.available(state.values) else TorchRows
    kind: Any = partial(NativePart, fixed=fixed) if native else Part
    with torch.autocast(state.values.device.type, enabled=False):  # only the network may compute in fewer bits
        parts, xs = [], []
        for values, cells, samples in _partition(state, stop - start if native else 0, own):
            one = own[samples.start]
            rows = backend(one, len(samples), state.size, values)
            store, source = to_rows(rows, values, cells)
            xs.append(rows.padded(values).index_select(0, source))
            parts.append(kind(one, rows, draw.only(samples), Network(one, dtype), store))
        with_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (*xs, *parameters_of(parts)))
        saved_bytes, whole = 0, range(start, stop)
        while start < stop:
            # Asked again before each segment: the body has grown meanwhile.
            step_bytes = sum(part.step_bytes() for part in parts)
            segment = memory.segment(stop - start, step_bytes, saved_bytes) if with_grad else None
            length = segment or (PLANNED if with_grad and memory.length is None else stop)
            steps = range(start, min(stop, start + length))
            # What layers see is kept where nothing has to be run again, and there is room for it.
            kept_bytes = (
                0 if segment else memory.room(stop - start, step_bytes, sum(p.kept_bytes() for p in parts), saved_bytes)
            )
            for part in parts:
                part.keep(kept_bytes > 0)
            xs = advance(parts, xs, steps, whole, recompute=segment is not None)
            saved_bytes += (sum(part.step_bytes() for part in parts) + kept_bytes) * (1 if segment else len(steps))
            start = steps.stop
    return _to_cells(parts, xs, state)


def _partition(state: Compact, steps: int, rules: Sequence[Rule] = ()) -> list[tuple[Tensor, Tensor, range]]:
    """Returns (values, cells, samples) of each part: whole samples, so that threads never meet, with about as many rows.

    The samples of a part have one rule, where each has one of its own.
    """
    # Their number follows from the work alone, not from the cores: sums of gradients are then the same on any machine.
    count = max(1, min(state.batch, MOST_PARTS, len(state.cells) * steps // PART))
    volume = math.prod(state.size)
    firsts = torch.searchsorted(state.cells, torch.arange(state.batch + 1, device=state.cells.device) * volume)
    bounds = [0]
    for k in range(1, count):
        # The sample that begins nearest to the k-th share of the rows.
        sample = int((firsts - len(state.cells) * k / count).abs().argmin())
        bounds += [sample] if bounds[-1] < sample < state.batch else []
    # Where the next sample has another rule, another part begins.
    changes = [k for k in range(1, len(rules)) if rules[k] is not rules[k - 1]]
    bounds = sorted({*bounds, *changes, state.batch})
    rows = firsts[torch.tensor(bounds)].tolist()
    pieces = zip(bounds, bounds[1:], rows, rows[1:], strict=False)
    return [(state.values[a:b], state.cells[a:b] - low * volume, range(low, high)) for low, high, a, b in pieces]


def to_rows(rows: Rows, values: Tensor, listed: Tensor) -> tuple[Store, Tensor]:
    """Returns the store of a state, and for each of its rows the row of `rows.padded(values)` it comes from (DEAD: none).

    Args:
        rows: The backend.
        values: The states of the listed cells, (N, C).
        listed: The cells, (N,), rising.
    """
    border = torch.full((FIRST,), -1, dtype=rows.index, device=rows.device)
    cells = torch.cat([border, listed.to(rows.index)])
    # Not the rows of DEAD and OUTSIDE: their cell, −1, would stand for the last one of the lattice.
    listed_rows = (cells >= 0).to(torch.uint8)
    store = Store(cells, rows.padded(values.detach()), listed_rows)
    rows.enter(store)
    # A step without an update: all listed rows survive, and the cells that living ones touch get rows.
    after, new_row = rows.grow(store, store.x, rows.mark(store, store.x), survivors=listed_rows)
    rows.leave(after)
    source = torch.full((len(after.cells),), DEAD, device=rows.device)
    # OUTSIDE is no cell, and comes from itself.
    source[OUTSIDE] = OUTSIDE
    source[new_row[FIRST:].long()] = torch.arange(FIRST, len(cells), device=rows.device)
    return after, source


def _to_cells(parts: list[Part], xs: list[Tensor], state: Compact) -> Compact:
    """Returns the rows as cells; dead ones are left out, unless a gradient may pass through them."""
    rule, volume = parts[0].rule, math.prod(state.size)
    values = torch.cat([x[FIRST:, : rule.channels] for x in xs])
    firsts = accumulate((part.rows.batch for part in parts), initial=0)
    # Cells are counted within each part; in the result over the whole batch.
    where = torch.cat([p.store.cells[FIRST:].long() + first * volume for p, first in zip(parts, firsts, strict=False)])
    # With a gradient a dead row may still pass one on to what it was before.
    if not values.requires_grad:
        active = (values != rule.dead_value).any(1)
        values, where = values[active], where[active]
    return Compact(values, where, state.batch, state.size)
