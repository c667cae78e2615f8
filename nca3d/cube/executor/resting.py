"""Cells that rest: a cell whose input hardly changed since it was last computed repeats its output of then.

The executor `event-approx` (`approx.py`, which says when to choose it) runs on this.

The input of a gMLP cell is its perception (its neighbours' features, its own, the external input) and its memory. Two checks
decide, for each cell of each sample (a *pair*) that fires:

1. A bound: the sum over steps of the largest change of any number in its input. It takes a few numbers a cell. If the bound is
   within the threshold, so is the change, whatever it is.
2. For the other pairs the change itself, compared with the input of the last computation, which is remembered.

A pair that rests costs its bound alone. The awake ones are computed in blocks of cells, each with its awake samples side by
side: a cell that rests in all samples saves reading its weights, and where each cell has its own, that is most of the work.

For any other rule without an alive mask whose step is that of `rules/cell.py`, the perception of every cell is gathered in each
step, which is cheap; the update network, which is not, runs on the cells that fire and whose perception changed by more than
the threshold since it last ran on them. The others change as they did then.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from nca3d.cube.cell import split_inputs
from nca3d.cube.rows import from_rows, with_border_row
from nca3d.executors.every_cell import Clock
from nca3d.rules.cell import Rule

# Cells of a block: where their weights must be copied together fewer than where they are a slice, so that the copies stay in
# the cache (measured: larger blocks take up to five times as long a cell).
CELLS_COPIED, CELLS_OF_SLICE = 64, 256

# Pairs whose inputs are gathered at once, for the same reason.
PAIRS_AT_ONCE = 4096

# Cells that nearly fill a slice are computed as that slice, gaps included, without a copy, up to so many places a pair: beyond
# it computing the gaps costs more than the copy.
HOLES = 1.25


# gMLP cells -------------------------------------------------------------------------------------------------------------


class RestingCells:
    """What one rollout of a cube remembers: of each pair its last computed input, and the output for it.

    Args:
        rule: A `GMLPRule`, alone or with its inputs.
        threshold: By how much any number of an input may change before the pair is computed again.
        like: The first state, (B, D, H, W, C); its values are not read.

    Attributes:
        counts: For each step so far, how many pairs were computed and how many fired.
    """

    def __init__(self, rule: Rule, threshold: float, like: Tensor) -> None:
        cube, self.external_inputs = split_inputs(rule)
        cube.cells.require_all("executor 'event-approx'")
        self.cube, self.threshold = cube, threshold
        self.batch, pairs = len(like), len(like) * cube.cells.cells
        # NaN: a pair that was never computed counts as changed, whatever its input is.
        self.inputs = like.new_full((pairs, 7 * cube.features + cube.external + cube.memory), torch.nan)
        self.out, self.memory = like.new_zeros(pairs, cube.features), like.new_zeros(pairs, cube.memory)
        self.bound = like.new_full((cube.cells.cells, self.batch), torch.inf)
        self.before: Tensor | None = None
        self.outside: Tensor | None = None
        self.counts: list[tuple[int, int]] = []

    def run(self, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        """Runs several steps and notes the counts of each.

        Args:
            state: The state before, (B, D, H, W, C).
            fire: The cells that update in each step, bool (T, B, D, H, W).
            clock: The number of the first step, which decides which channels move.

        Returns:
            The state after, (B, D, H, W, C).
        """
        rows = self.cube.to_rows(state.movedim(-1, 1))
        for number, fire_now in enumerate(fire):
            firing = fire_now.flatten(1).T
            computed = self._compute(self._awake(rows, firing))
            self.counts.append((computed, int(firing.sum())))
            # Of pairs that rest, too: their last proposal still draws the state towards it.
            out, memory = (output.view(*firing.shape, -1) for output in (self.out, self.memory))
            moves = firing[..., None] & self.cube.moving_channels(clock.step + number, rows.device)
            rows = torch.where(moves, self.cube.next_rows(rows, out, memory), rows)
        return from_rows(rows, self.cube.size).movedim(1, -1).contiguous()

    # Who is awake ---------------------------------------------------------------------------------------------------------

    def _awake(self, rows: Tensor, firing: Tensor) -> Tensor:
        """Returns the pairs that must be computed, int64 (P,), rising, and remembers their inputs."""
        visible = self.cube.visible_features(rows, self.external_inputs)
        outside = self.outside
        # Inputs hold for a whole rollout, so only what a coarse lattice feeds in changes from step to step.
        if outside is None or self.cube.coarse is not None:
            outside = self.cube.external_input(visible, self.external_inputs).to(rows.dtype)
        self._widen_bounds(rows, outside)
        self.before, self.outside = rows, outside
        padded = with_border_row(visible).flatten(0, 1)
        memory = rows[..., self.cube.features :].flatten(0, 1)
        awake = []
        # ~(… <= …), not (… > …): comparisons with NaN are false, and NaN must count as a change.
        candidates = (firing & ~(self.bound <= self.threshold)).flatten().nonzero().squeeze(1)
        for pairs in candidates.split(PAIRS_AT_ONCE):
            inputs = self._inputs(padded, outside.flatten(0, 1), memory, pairs)
            change = (inputs - self.inputs.index_select(0, pairs)).abs().amax(dim=1)
            changed = ~(change <= self.threshold)
            # The true change is a tighter bound than the sum was: the pair may rest longer on it.
            self.bound.view(-1).index_copy_(0, pairs, torch.where(changed, 0.0, change))
            awake.append(pairs[changed])
            self.inputs.index_copy_(0, awake[-1], inputs[changed])
        return torch.cat(awake)

    def _widen_bounds(self, rows: Tensor, outside: Tensor) -> None:
        """Adds to every bound the largest change of any number in the cell's input in the last step."""
        # At the first state every bound is infinite already.
        if self.before is None or self.outside is None:
            return
        # The input at the front face is constant, so features change by as much as what neighbours see of them.
        change = (rows - self.before).abs()
        features = change[..., : self.cube.features].amax(dim=-1)
        largest = with_border_row(features)[self.cube.neighbours.T].amax(dim=0)
        for other in (features, change[..., self.cube.features :].amax(dim=-1)):
            largest = torch.maximum(largest, other)
        if self.cube.coarse is not None:
            largest = torch.maximum(largest, (outside - self.outside).abs().amax(dim=-1))
        self.bound += largest

    def _inputs(self, padded: Tensor, outside: Tensor, memory: Tensor, pairs: Tensor) -> Tensor:
        """Returns the perception and memory of some pairs, (P, 7·F + E + M); the arguments have a row for each pair."""
        # Pairs are numbered cell by cell: cell · batch + sample.
        cells, samples = pairs // self.batch, pairs % self.batch
        near = (self.cube.neighbours[cells] * self.batch + samples[:, None]).flatten()
        near = padded.index_select(0, near).view(len(pairs), 6 * self.cube.features)
        return torch.cat([near, *(part.index_select(0, pairs) for part in (padded, outside, memory))], dim=1)

    # What they propose ----------------------------------------------------------------------------------------------------

    def _compute(self, awake: Tensor) -> int:
        """Computes the outputs of some pairs, remembers them, and returns how many pairs they are."""
        for weights, pairs in self._blocks(awake):
            # Places without a pair (−1) compute pair 0, and what comes out is thrown away.
            inputs = self.inputs[pairs.clamp_min(0)]
            out, memory = self.cube.cell(weights, inputs[..., : -self.cube.memory], inputs[..., -self.cube.memory :])
            there = pairs >= 0
            # `to`: under autocast a cell computes in fewer bits.
            self.out.index_copy_(0, pairs[there], out[there].to(self.out.dtype))
            self.memory.index_copy_(0, pairs[there], memory[there].to(self.memory.dtype))
        return len(awake)

    def _blocks(self, awake: Tensor) -> Iterator[tuple[Mapping[str, Tensor], Tensor]]:
        """Yields weights of n cells and their pairs (n, K), −1 where a cell has fewer than the K awake samples of another."""
        store = self.cube.cells
        own = dict(store.own.items())
        if not len(awake):
            return
        # Where cells share weights, any pairs can be one batch of one cell: nothing is padded and no weight is copied.
        if store.mode == "shared":
            yield from ((own, pairs[None]) for pairs in awake.split(PAIRS_AT_ONCE))
        elif store.mode == "types" and store.kind_of is not None:
            kinds = store.kind_of[awake // self.batch]
            for kind in kinds.unique().tolist():
                weights = {name: weight[kind] for name, weight in own.items()}
                yield from ((weights, pairs[None]) for pairs in awake[kinds == kind].split(PAIRS_AT_ONCE))
        else:
            for cells, pairs in pairs_by_cell(awake, self.batch):
                part = {name: _at(weight, cells) if store.is_per_cell(name) else weight for name, weight in own.items()}
                yield store.of(part, slice(None)), pairs


def pairs_by_cell(awake: Tensor, batch: int) -> Iterator[tuple[slice | Tensor, Tensor]]:
    """Yields blocks of n cells, as a slice if they are almost consecutive, and their pairs (n, K), −1 where there is none.

    Cells with about equally many awake samples share a block, so that few of its places stay empty.

    Args:
        awake: The pairs, cell · batch + sample, int64 (P,), rising.
        batch: How many samples there are.
    """
    cells, counts = torch.unique_consecutive(awake // batch, return_counts=True)
    first = counts.cumsum(0) - counts
    # Stable: cells with equally many stay in their order, so that a whole layer that is awake becomes a slice.
    order = counts.argsort(descending=True, stable=True)
    for group in order.split(CELLS_OF_SLICE):
        group_slice = _as_slice(cells[group], counts[group])
        for chosen in group.split(CELLS_OF_SLICE if group_slice else CELLS_COPIED):
            # Counts fall, so the first cell has the most samples of its block.
            places = torch.arange(int(counts[chosen[0]]), device=awake.device)
            pairs = awake[(first[chosen, None] + places).clamp_max(len(awake) - 1)]
            pairs = torch.where(places < counts[chosen, None], pairs, -1)
            index = cells[chosen]
            span = group_slice or _as_slice(index, counts[chosen])
            if span is None:
                yield index, pairs
            else:
                # Cells in the gaps of the slice get no pairs at all.
                whole = pairs.new_full((span.stop - span.start, len(places)), -1)
                whole[index - span.start] = pairs
                yield span, whole


def _as_slice(cells: Tensor, counts: Tensor) -> slice | None:
    """Returns the slice that some cells fill with few gaps, or None."""
    low, high = int(cells.min()), int(cells.max()) + 1
    return slice(low, high) if (high - low) * int(counts.max()) <= HOLES * int(counts.sum()) else None


def _at(weight: Tensor, cells: slice | Tensor) -> Tensor:
    """Returns some cells' part of a weight: of a slice a view, else a copy."""
    return weight[cells] if isinstance(cells, slice) else weight.index_select(0, cells)


# Cells of other rules -----------------------------------------------------------------------------------------------------


def fits(rule: Rule) -> bool:
    """Returns whether `RestingRows` can run a rule: its step is `Rule.forward`, and no cell is ever dead."""
    kind = type(rule)
    return rule.alive_threshold is None and kind.forward is Rule.forward and kind.alive_mask is Rule.alive_mask


class RestingRows:
    """What one rollout of any other rule remembers: each cell's last perception in each sample, and the change after it.

    Args:
        rule: A rule for which `fits` holds.
        threshold: By how much any number of a perception may change before the cell is computed again.
        like: The first state, (B, D, H, W, C); its values are not read.

    Attributes:
        counts: For each step so far, how many cells of all samples were computed and how many fired.
    """

    def __init__(self, rule: Rule, threshold: float, like: Tensor) -> None:
        self.rule, self.threshold = rule, threshold
        cells = like[..., 0].numel()
        # NaN: a cell that was never computed counts as changed, whatever it perceives.
        self.perception = like.new_full((cells, len(rule.kernels()) * rule.channels), torch.nan)
        self.delta = like.new_zeros(cells, rule.channels)
        self.counts: list[tuple[int, int]] = []

    def run(self, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        """Runs several steps and notes the counts of each; arguments and result, (B, D, H, W, C), as in `RestingCells.run`."""
        rows = state.reshape(-1, self.rule.channels)
        for fire_now in fire:
            firing = fire_now.flatten()
            # Perception in full precision: only the update network may run in fewer bits.
            with torch.autocast(state.device.type, enabled=False):
                perception = self.rule.perceive(rows.view(state.shape).movedim(-1, 1))
            perception = perception.movedim(1, -1).reshape(self.perception.shape)
            # ~(… <= …), not (… > …): NaN must count as a change.
            awake = firing & ~((perception - self.perception).abs().amax(dim=1) <= self.threshold)
            chosen = awake.nonzero().squeeze(1)
            changed = perception.index_select(0, chosen)
            self.perception.index_copy_(0, chosen, changed)
            self.delta.index_copy_(0, chosen, self.rule.update(changed).to(self.delta.dtype))
            rows = torch.where(firing[:, None], rows + self.rule.step_size * self.delta, rows)
            self.counts.append((len(chosen), int(firing.sum())))
        return rows.view(state.shape)
