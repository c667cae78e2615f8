"""Cells that rest: a cell whose input hardly changed since it was last computed says what it said then.

The input of a gMLP cell is all that it sees: what its neighbours show, its own features, what is fed in, its memory. Two looks
decide, for each cell of each sample (a *pair*) that fires:

1. a bound, the sum over steps of how far anything that it sees moved in each: a few numbers a cell. Within the threshold, the
   change is too, whatever it is;
2. for the others the change itself, against the input of the last computation, which is kept.

What rests costs its bound alone. What doesn't is computed in blocks of cells, each with its awake samples side by side: with
weights of each cell's own, a cell that rests in all samples saves reading its weights, and that is most of the work.

Of any other rule without an alive mask whose step is that of `rules/cell.py`, what every cell sees is gathered in each step,
which is cheap; the update network, which is not, runs on the cells that fire and whose perception changed by more than the
threshold since it last ran on them. The others change as they did then.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from nca3d.cube.cell import from_rows, split_inputs, with_outside
from nca3d.executors.every_cell import Clock
from nca3d.rules.cell import Rule

# Cells of a block: fewer where their weights must be copied together, so that the copies stay in the cache (measured: larger
# ones take up to five times as long a cell).
CELLS_COPIED, CELLS_AS_THEY_LIE = 64, 256

# Pairs whose inputs are gathered at once, for the same reason.
PAIRS_AT_ONCE = 4096

# Cells that nearly fill a slice are computed as they lie, holes and all, without a copy, up to so many places a pair.
HOLES = 1.25


# gMLP cells -------------------------------------------------------------------------------------------------------------


class RestingCells:
    """What is remembered through one rollout of a cube: of each pair its last input and the answer to it."""

    def __init__(self, rule: Rule, threshold: float, like: Tensor) -> None:
        cube, self.external = split_inputs(rule)
        self.cube, self.threshold = cube, threshold
        self.batch, pairs = len(like), len(like) * cube.cells.cells
        # NaN: a pair that was never computed has changed, whatever its input is.
        self.inputs = like.new_full((pairs, 7 * cube.features + cube.external + cube.memory), torch.nan)
        self.out, self.memory = like.new_zeros(pairs, cube.features), like.new_zeros(pairs, cube.memory)
        self.bound = like.new_full((cube.cells.cells, self.batch), torch.inf)
        self.before: Tensor | None = None
        self.outside: Tensor | None = None
        self.counts: list[tuple[int, int]] = []

    def run(self, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        """Steps of a state (B, D, H, W, C) with masks fire (T, B, D, H, W); `counts` gets (computed, fired) of each."""
        rows = self.cube.to_rows(state.movedim(-1, 1))
        for number, fire_now in enumerate(fire):
            firing = fire_now.flatten(1).T
            computed = self._compute(self._awake(rows, firing))
            self.counts.append((computed, int(firing.sum())))
            out, memory = (said.view(*firing.shape, -1) for said in (self.out, self.memory))
            moves = firing[..., None] & self.cube.beats(clock.step + number, rows.device)
            rows = torch.where(moves, self.cube.moved(rows, out, memory), rows)
        return from_rows(rows, self.cube.size).movedim(1, -1).contiguous()

    # Who is awake ---------------------------------------------------------------------------------------------------------

    def _awake(self, rows: Tensor, firing: Tensor) -> Tensor:
        """int64 (P,), rising: the pairs that must be computed; their inputs are remembered."""
        shown = self.cube.shown(rows, self.external)
        outside = self.outside
        if outside is None or self.cube.coarse is not None:
            outside = self.cube.fed(shown, self.external).to(rows.dtype)
        self._stretch(rows, outside)
        self.before, self.outside = rows, outside
        padded = with_outside(shown).flatten(0, 1)
        memory = rows[..., self.cube.features :].flatten(0, 1)
        awake = []
        # not (… <= …): NaN is a change too.
        candidates = (firing & ~(self.bound <= self.threshold)).flatten().nonzero().squeeze(1)
        for pairs in candidates.split(PAIRS_AT_ONCE):
            inputs = self._inputs(padded, outside.flatten(0, 1), memory, pairs)
            change = (inputs - self.inputs.index_select(0, pairs)).abs().amax(dim=1)
            fresh = ~(change <= self.threshold)
            self.bound.view(-1).index_copy_(0, pairs, torch.where(fresh, 0.0, change))
            awake.append(pairs[fresh])
            self.inputs.index_copy_(0, awake[-1], inputs[fresh])
        return torch.cat(awake)

    def _stretch(self, rows: Tensor, outside: Tensor) -> None:
        """Adds to every bound the most that anything in sight moved in the last step."""
        if self.before is None or self.outside is None:
            return
        moved = (rows - self.before).abs()
        features = moved[..., : self.cube.features].amax(dim=-1)
        most = with_outside(features)[self.cube.neighbours.T].amax(dim=0)
        for other in (features, moved[..., self.cube.features :].amax(dim=-1)):
            most = torch.maximum(most, other)
        if self.cube.coarse is not None:
            most = torch.maximum(most, (outside - self.outside).abs().amax(dim=-1))
        self.bound += most

    def _inputs(self, padded: Tensor, outside: Tensor, memory: Tensor, pairs: Tensor) -> Tensor:
        """What some pairs see, and their memory, (P, 7·F + E + M); the arguments are rows of pairs."""
        cells, samples = pairs // self.batch, pairs % self.batch
        near = (self.cube.neighbours[cells] * self.batch + samples[:, None]).flatten()
        near = padded.index_select(0, near).view(len(pairs), 6 * self.cube.features)
        return torch.cat([near, *(part.index_select(0, pairs) for part in (padded, outside, memory))], dim=1)

    # What they say --------------------------------------------------------------------------------------------------------

    def _compute(self, awake: Tensor) -> int:
        """Asks the cells of some pairs, and remembers what they say."""
        for weights, pairs in self._blocks(awake):
            inputs = self.inputs[pairs.clamp_min(0)]
            out, memory = self.cube.cell(weights, inputs[..., : -self.cube.memory], inputs[..., -self.cube.memory :])
            there = pairs >= 0
            self.out.index_copy_(0, pairs[there], out[there].to(self.out.dtype))
            self.memory.index_copy_(0, pairs[there], memory[there].to(self.memory.dtype))
        return len(awake)

    def _blocks(self, awake: Tensor) -> Iterator[tuple[Mapping[str, Tensor], Tensor]]:
        """Weights, and the pairs (n, K) that have them, −1 where a cell has fewer awake samples than its block's most."""
        store = self.cube.cells
        own = dict(store.own.items())
        if not len(awake):
            return
        if store.mode == "shared":
            yield from ((own, pairs[None]) for pairs in awake.split(PAIRS_AT_ONCE))
        elif store.mode == "types" and store.kind_of is not None:
            kinds = store.kind_of[awake // self.batch]
            for kind in kinds.unique().tolist():
                weights = {name: weight[kind] for name, weight in own.items()}
                yield from ((weights, pairs[None]) for pairs in awake[kinds == kind].split(PAIRS_AT_ONCE))
        else:
            for cells, pairs in pairs_by_cell(awake, self.batch):
                mine = {name: _at(weight, cells) if store.is_each_cells(name) else weight for name, weight in own.items()}
                yield store.of(mine, slice(None)), pairs


def pairs_by_cell(awake: Tensor, batch: int) -> Iterator[tuple[slice | Tensor, Tensor]]:
    """Pairs by cell: some cells, as a slice if they lie almost side by side, and their pairs (n, K), −1 where there is none.

    Cells with about as many awake samples come together, so that few places are left empty.
    """
    cells, counts = torch.unique_consecutive(awake // batch, return_counts=True)
    first = counts.cumsum(0) - counts
    order = counts.argsort(descending=True, stable=True)
    for many in order.split(CELLS_AS_THEY_LIE):
        slice_of = _side_by_side(cells[many], counts[many])
        for chosen in many.split(CELLS_AS_THEY_LIE if slice_of else CELLS_COPIED):
            places = torch.arange(int(counts[chosen[0]]), device=awake.device)
            pairs = awake[(first[chosen, None] + places).clamp_max(len(awake) - 1)]
            pairs = torch.where(places < counts[chosen, None], pairs, -1)
            index = cells[chosen]
            lies = slice_of or _side_by_side(index, counts[chosen])
            if lies is None:
                yield index, pairs
            else:
                whole = pairs.new_full((lies.stop - lies.start, len(places)), -1)
                whole[index - lies.start] = pairs
                yield lies, whole


def _side_by_side(cells: Tensor, counts: Tensor) -> slice | None:
    """The slice that some cells fill with few holes, or None."""
    low, high = int(cells.min()), int(cells.max()) + 1
    return slice(low, high) if (high - low) * int(counts.max()) <= HOLES * int(counts.sum()) else None


def _at(weight: Tensor, cells: slice | Tensor) -> Tensor:
    return weight[cells] if isinstance(cells, slice) else weight.index_select(0, cells)


# Cells of other rules -----------------------------------------------------------------------------------------------------


def fits(rule: Rule) -> bool:
    """Whether its step is `Rule.forward` and no cell is ever dead."""
    kind = type(rule)
    return rule.alive_threshold is None and kind.forward is Rule.forward and kind.alive_mask is Rule.alive_mask


class RestingRows:
    """What is remembered through one rollout: what each cell of each sample saw last, and the change that it made then."""

    def __init__(self, rule: Rule, threshold: float, like: Tensor) -> None:
        self.rule, self.threshold = rule, threshold
        cells = like[..., 0].numel()
        # NaN: a cell that was never asked has changed, whatever it sees.
        self.seen = like.new_full((cells, len(rule.kernels()) * rule.channels), torch.nan)
        self.delta = like.new_zeros(cells, rule.channels)
        self.counts: list[tuple[int, int]] = []

    def run(self, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        """Steps of a state (B, D, H, W, C) with masks fire (T, B, D, H, W); `counts` gets (computed, fired) of each."""
        rows = state.reshape(-1, self.rule.channels)
        for fire_now in fire:
            firing = fire_now.flatten()
            with torch.autocast(state.device.type, enabled=False):  # only the network may answer in fewer bits
                seen = self.rule.perceive(rows.view(state.shape).movedim(-1, 1))
            seen = seen.movedim(1, -1).reshape(self.seen.shape)
            # not (… <= …): NaN is a change too.
            awake = firing & ~((seen - self.seen).abs().amax(dim=1) <= self.threshold)
            chosen = awake.nonzero().squeeze(1)
            fresh = seen.index_select(0, chosen)
            self.seen.index_copy_(0, chosen, fresh)
            self.delta.index_copy_(0, chosen, self.rule.update(fresh).to(self.delta.dtype))
            rows = torch.where(firing[:, None], rows + self.rule.step_size * self.delta, rows)
            self.counts.append((len(chosen), int(firing.sum())))
        return rows.view(state.shape)
