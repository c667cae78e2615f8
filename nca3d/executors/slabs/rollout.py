"""A rollout whose living rows several ranks share out: from the whole state, which all of them have, to the whole state."""

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nca3d.executors import event, native_code
from nca3d.executors.cores import torch_on_one
from nca3d.executors.event_steps import advance, parameters_of
from nca3d.executors.memory import Memory
from nca3d.executors.network import Network, network_dtype
from nca3d.executors.rows_native import NativeRows
from nca3d.executors.rows_torch import TorchRows
from nca3d.executors.slabs.cuts import BESIDE, Cuts
from nca3d.executors.slabs.ghosts import Ghosts, Planes, picked
from nca3d.executors.slabs.in_torch import TorchStepper
from nca3d.executors.slabs.native import NativeStepper
from nca3d.executors.slabs.sharing import Move, join, move_rows, share
from nca3d.executors.slabs.steps import Slab
from nca3d.executors.store import DEAD, FIRST, OUTSIDE, Rows, Store
from nca3d.fire import Draw
from nca3d.ranks import Ranks, current
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense

# The number of steps from one look at the ranks' rows and memory to the next: bodies grow on the way. It is the same whatever
# is kept in memory, so that gradients are summed in the same order (law 8).
LOOK = 16


def run(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs steps start .. stop−1 on all ranks together; with one rank it is `event`.

    Every rank has to call it with the same arguments, and to run the same passes backward. A rank works on one core.

    Args:
        rule: What one cell does.
        state: The state, dense (B, C, D, H, W) or compact; the result has the same form, and the same bits on all ranks.
        draw: Which cells fire.
        start: The first step.
        stop: The step after the last.
        memory: What each rank keeps for its backward pass.

    Raises:
        ValueError: The rule is one that this executor can't run exactly; the line names executors that can.
    """
    ranks = current()
    if ranks.size == 1:
        return event.run(rule, state, draw, start, stop, memory)
    event.refuse(rule, state, "slabs")
    if not state.shape[0]:
        return state
    # Asked here, where autocast is what the caller wants.
    network = Network(rule, network_dtype(state.values if isinstance(state, Compact) else state))
    native = not event.not_compiled(rule, state)
    with torch_on_one() if native else nullcontext():
        if isinstance(state, Compact):
            return _Rollout(rule, state, draw, ranks, network, native).run(start, stop, memory)
        with_grad = torch.is_grad_enabled() and state.requires_grad
        cells = event.active_cells(rule, state) if with_grad else compact(state, rule.dead_value)
        return dense(_Rollout(rule, cells, draw, ranks, network, native).run(start, stop, memory), rule.dead_value)


@dataclass
class _Rollout:
    """One rollout, as one of the ranks sees it.

    Attributes:
        rule: What one cell does.
        state: The whole state before it.
        draw: Which cells fire.
        ranks: The ranks.
        network: The update network.
        native: Whether compiled code runs it.
    """

    rule: Rule
    state: Compact
    draw: Draw
    ranks: Ranks
    network: Network
    native: bool

    def run(self, start: int, stop: int, memory: Memory) -> Compact:
        """Returns the whole state after some steps."""
        with torch.autocast(self.state.values.device.type, enabled=False):  # only the network may compute in fewer bits
            slab, x = self._shared_out()
            with_grad = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *parameters_of([slab])))
            saved_bytes, whole = 0, range(start, stop)
            while start < stop:
                slab, x, step_bytes, kept_bytes = self._looked_at(slab, x)
                segment = memory.segment(stop - start, step_bytes, saved_bytes) if with_grad else None
                kept_bytes = 0 if segment else memory.room(stop - start, step_bytes, kept_bytes, saved_bytes)
                slab.keep(kept_bytes > 0)
                look = min(stop, start + LOOK)
                while start < look:
                    steps = range(start, min(look, start + (segment or LOOK)))
                    (x,) = advance([slab], [x], steps, whole, recompute=segment is not None)
                    saved_bytes += (step_bytes + kept_bytes) * (1 if segment else len(steps))
                    start = steps.stop
            return self._joined(slab, x)

    def _shared_out(self) -> tuple[Slab, Tensor]:
        """Returns this rank's part before the first step, and its rows (R, stride) with their gradient."""
        rule, state, ranks = self.rule, self.state, self.ranks
        backend = NativeRows if native_code.available(state.values) else TorchRows
        rows: Rows = backend(rule, state.batch, state.size, state.values)
        depth, plane_cells = state.size[0], state.size[1] * state.size[2]
        living = (state.values.detach() != rule.dead_value).any(1)
        per_plane = torch.bincount(state.cells[living] // plane_cells, minlength=state.batch * depth).tolist()
        cuts = Cuts.even(per_plane, ranks.size, depth, rule.padding == "circular")
        edges = torch.tensor(cuts.bounds, device=state.cells.device) * plane_cells
        bounds = torch.searchsorted(state.cells, edges).tolist()
        counts = [stop - first for first, stop in pairwise(bounds)]

        # Cells beside the cut decide which of this rank's cells get rows.
        beside = [plane for plane, far in cuts.borrowed(ranks.rank).items() if far == BESIDE]
        near = Planes(sorted([*cuts.planes(ranks.rank), *beside]), plane_cells, rows)
        cells = state.cells.to(rows.index)
        places = near.rows(cells)
        store, source = event.to_rows(rows, picked(state.values.detach(), places), picked(cells, places))
        ghosts = Ghosts(ranks, cuts, rows)
        here = ghosts.own_rows(store.cells)
        source = source[here]
        # From rows of all that is near to rows of this rank's own cells.
        source = torch.where(source == DEAD, DEAD, source - ghosts.own_rows(picked(cells, places)).start)
        source = torch.cat([torch.tensor([DEAD, OUTSIDE], device=source.device), source])
        x = rows.padded(share(state.values, ranks, counts)).index_select(0, source)
        own = Store(*(torch.cat([t[:FIRST], t[here]]) for t in (store.cells, store.x, store.alive)))
        kind = NativeStepper if self.native else TorchStepper
        stepper = kind(rule, rows, self.draw, self.network, own)  # type: ignore[arg-type]
        return Slab(rule, rows, self.draw, self.network, own, stepper, ghosts), x

    def _looked_at(self, slab: Slab, x: Tensor) -> tuple[Slab, Tensor, int, int]:
        """Returns this rank's part and rows after the cuts are even again, and the bytes of a step on the fullest rank.

        The bytes are those that a step has to save for its backward pass, and those that it could save beside.
        """
        ranks, cuts, batch = self.ranks, slab.ghosts.cuts, self.state.batch
        cells = slab.store.cells[FIRST:].long() // (self.state.size[1] * self.state.size[2])
        mine = torch.bincount(cells, minlength=batch * cuts.depth).cpu()
        told = ranks.gather(torch.cat([mine, torch.tensor([slab.step_bytes(), slab.kept_bytes()])]))
        step_bytes, kept_bytes = (max(int(one[at]) for one in told) for at in (-2, -1))
        rows = sum(one[:-2] for one in told).tolist()  # type: ignore[union-attr]
        if (other := cuts.rebalanced(rows)) is not cuts:
            slab, x = self._moved(slab, x, Move.between(ranks, cuts, other, rows), other)
        return slab, x, step_bytes, kept_bytes

    def _moved(self, slab: Slab, x: Tensor, move: Move, cuts: Cuts) -> tuple[Slab, Tensor]:
        """Returns this rank's part and rows after a move."""
        store = slab.store
        x = torch.cat([x[:FIRST], move_rows(x[FIRST:], move)])
        cells, alive = (torch.cat([t[:FIRST], move.apply(t[FIRST:])]) for t in (store.cells, store.alive))
        own, ghosts = Store(cells, x.detach(), alive), Ghosts(self.ranks, cuts, slab.rows)
        return Slab(self.rule, slab.rows, self.draw, slab.network, own, slab.stepper, ghosts), x

    def _joined(self, slab: Slab, x: Tensor) -> Compact:
        """Returns the rows of all ranks as cells; dead ones are left out, unless a gradient may pass through them."""
        values, cells = x[FIRST:, : self.rule.channels], slab.store.cells[FIRST:]
        if not values.requires_grad:
            active = (values != self.rule.dead_value).any(1)
            values, cells = values[active], cells[active]
        counts = [int(count) for count in self.ranks.gather(torch.tensor([len(cells)]))]
        whole = join(values, self.ranks, counts)
        return Compact(whole, self.ranks.gather_rows(cells, counts).long(), self.state.batch, self.state.size)
