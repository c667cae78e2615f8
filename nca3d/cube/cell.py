"""The rule of the cube: a lattice of gMLP cells (`gmlp.py`) and how they step; `asked.py` has questions and answers."""

import copy
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from nca3d.cube.asked import AskedCube
from nca3d.cube.coarse import Coarse
from nca3d.cube.faces import Surface
from nca3d.cube.gmlp import AROUND, GMLPCell
from nca3d.cube.rows import from_rows, neighbour_table, to_rows, with_border_row
from nca3d.cube.share import Share
from nca3d.cube.weights import CellWeights, Mode
from nca3d.errors import ArgumentError
from nca3d.lattice import Size, as_size
from nca3d.ranks import Ranks
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs, RuleWithInputs

# Why laws 1 and 2 say nothing about the preset "cube".
LEAKY = "preset 'cube' is leaky, and exempt by name from laws 1 and 2: its cells move towards their output"


class GMLPRule(AskedCube):
    """A lattice of gMLP cells with memory; by the default sizes 29,462 weights a cell, 26,128 without `mixing`.

    The channels are features, which neighbours see, then memory, which they don't. There is no alive mask and no seed: a cube
    begins at rest, all zeros, and gets its question at the front face.

    Args:
        size: The lattice (D, H, W). With weights of each cell's own, a rule belongs to one lattice.
        features: F, the number of channels that neighbours see, 2 or more.
        memory: The width of the gated recurrent unit, 1 or more.
        external: E, the number of channels fed in from outside in every step (`inputs` of `nca3d.rollout`).
        widened: The hidden width of the feed-forward part.
        mixing: Whether a cell also has weighted neighbours and the projection of the layer in front.
        preset: "nca" = state + step_size · fire · out, where a fresh rule does nothing (law 1); "cube" = the leaky
            state + step_size · fire · (out − state), exempt from laws 1 and 2 by name.
        weights: Who shares weights, see `CellWeights`.
        types: How many types of cells there are, for weights "types".
        types_by: "layer" gives layer d the type d modulo `types`; "learned" lets each cell learn a mixture of types.
        rank: The rank of each cell's own part, for weights "low_rank".
        dropout: The probability of dropout in the feed-forward part, in training mode only, 0 <= dropout < 1.
        periods: The number of steps from one move of a channel to its next; several numbers share the features out evenly.
        coarse: The side of the blocks of cells of a coarse lattice (`Coarse`); 0 = none. It needs external channels, and makes
            a cell's reach 2 · side − 1 cells a step.
        start: "published" draws all weights as torch does; "carry" (preset "cube" only) begins with cells that pass their input
            through unchanged, from layer to layer: without it a signal is lost among constants long before the eleventh layer.
        embedding: The width of the teacher's embeddings; None = questions and answers are surfaces.
        adapter: The kind of adapter from embeddings to surfaces, a name in `nca3d.cube.ADAPTERS`.
        mixed: Whether there are matrices over whole faces, before a question is written and after an answer is read.
        fire_rate: See `Rule`.
        step_size: See `Rule`.
        generator: Draws the initial weights; None = torch's global one.
        ranks: The processes that share the cells out: what a cell has for itself is here for those of this rank alone, and
            rollouts are made by all together (see `share.py`). None = all cells are here.

    Attributes:
        neighbours: The neighbours of each cell that is here, see `neighbour_table` and `Share.table`.

    Raises:
        ArgumentError: An argument is out of its range; the message names it.
    """

    neighbourhood = "von_neumann"
    reach = 1
    wraps = False  # zeros lie around a cube, whatever its padding says
    neighbours: Tensor

    def __init__(
        self,
        size: Size,
        features: int = 32,
        memory: int = 16,
        external: int = 12,
        widened: int = 64,
        mixing: bool = True,
        preset: Literal["nca", "cube"] = "nca",
        weights: Mode = "per_cell",
        types: int = 4,
        types_by: Literal["layer", "learned"] = "layer",
        rank: int = 2,
        dropout: float = 0.0,
        periods: Sequence[int] = (1,),
        coarse: int = 0,
        start: Literal["published", "carry"] = "published",
        embedding: int | None = None,
        adapter: str = "linear",
        mixed: bool = False,
        fire_rate: float = 1.0,
        step_size: float = 1.0,
        generator: torch.Generator | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        widths = {"features": (features, 2), "memory": (memory, 1), "external": (external, 0), "widened": (widened, 1)}
        # Before anything is computed with them; `type(…) is int`, since True and False are ints too.
        for name, (width, least) in widths.items():
            if type(width) is not int or width < least:
                raise ArgumentError(name, repr(width), f"a whole number, {least} or more")
        super().__init__(features + memory, features, "signal", fire_rate, None, step_size, "zeros")
        # A subclass with a `forward` of its own must not be replaced by the fast executors, which know only this one.
        self.takes_inputs = type(self).forward is GMLPRule.forward
        self.stepper = "gmlp" if self.takes_inputs else ""
        self.size = as_size(size)
        starts = ("published", "carry") if preset == "cube" else ("published",)
        are_ints = not isinstance(periods, int) and all(type(period) is int for period in periods)
        periods_fit = are_ints and 0 < len(periods) <= features and min(periods) >= 1
        blocks = f"{coarse}, external {external}"
        for name, fits, found, allowed in (
            ("preset", preset in ("nca", "cube"), repr(preset), "nca, cube"),
            ("types_by", types_by in ("layer", "learned"), repr(types_by), "layer, learned"),
            ("start", start in starts, repr(start), ", ".join(starts)),
            ("dropout", 0 <= dropout < 1, dropout, "0 <= dropout < 1"),
            ("periods", periods_fit, repr(periods), f"1 to {features} numbers of 1 or more"),
            ("coarse", not coarse or (coarse >= 2 and external), blocks, "0, or 2 or more with external channels"),
            ("coarse", coarse <= min(self.size), coarse, f"at most the shortest side of the lattice {self.size}"),
            ("mixing", isinstance(mixing, bool), repr(mixing), "true or false"),
        ):
            if not fits:
                raise ArgumentError(name, found, allowed)
        self.features, self.memory, self.external, self.widened = features, memory, external, widened
        self.mixing, self.preset, self.dropout, self.start = mixing, preset, dropout, start
        self.periods = tuple(periods)
        # Arguments that only the parts of the rule need; `spec` returns them.
        self.options = {
            "weights": weights,
            "types": types,
            "types_by": types_by,
            "rank": rank,
            "coarse": coarse,
            "embedding": embedding,
            "adapter": adapter,
            "mixed": mixed,
        }
        depth, height, width = self.size
        share = Share(self.size, ranks) if ranks is not None and ranks.size > 1 and self.can_be_shared_out() else None
        # The layer d of each cell, in the order of rows.
        layers = torch.arange(depth).repeat_interleave(height * width)
        self.cells = CellWeights(
            self._slots(),
            depth * height * width,
            weights,
            types=types,
            rank=rank,
            generator=generator,
            kind_of=layers % max(types, 1) if types_by == "layer" else None,
            share=share,
        )
        if start == "carry":
            self._pass_through()
        self.surface = Surface(height * width, features, embedding, adapter, mixed, start == "carry", generator)
        self.coarse = Coarse(features, external, coarse, generator) if coarse else None
        self.reach = 2 * coarse - 1 if coarse else 1
        if preset == "cube":
            self.exempt["vacuum"] = LEAKY
        if weights != "shared" or coarse:
            self.exempt["translation"] = f"its cells differ by their place (weights {weights!r}, coarse {coarse})"
        self.register_buffer("neighbours", share.table if share else neighbour_table(self.size), persistent=False)

    def _pass_through(self) -> None:
        """Makes a fresh cell output the features of the layer in front (d−), and next to nothing of its own."""
        with torch.no_grad():
            # Neighbour d− is the first in the perception; out has AROUND · around(p), so the identity is divided by it.
            self.cells.own["around"].zero_()[..., : self.features, :] += torch.eye(self.features) / AROUND
            self.cells.own["around_bias"].zero_()
            # Small, not zero: through a last layer of zeros no gradient would reach the weights below it.
            for name in ("last", "last_bias"):
                self.cells.own[name] *= 0.1

    # The step ---------------------------------------------------------------------------------------------------------

    def forward(self, state: Tensor, fire: Tensor, inputs: Tensor | Inputs | None = None, step: int = 0) -> Tensor:
        """Runs one step of every cell, without dropout.

        It is slow and plain, and the other executors are measured by it; `executor/cells.py` runs blocks of cells.

        Args:
            state: The state before the step, float (B, F + M, D, H, W).
            fire: Which cells update, bool (B, 1, D, H, W).
            inputs: The external channels of each cell, (B, E, D, H, W), or what `ask` returns.
            step: The step's absolute number, which decides which channels move where there are `periods`.

        Returns:
            The state after the step, (B, F + M, D, H, W).

        Raises:
            ArgumentError: The state has another lattice than the rule.
        """
        self.cells.require_all("forward")
        every = slice(None)
        rows, firing, inputs = self.to_rows(state), to_rows(fire), Inputs.of(inputs)
        visible = self.visible_features(rows, inputs)
        perception = self.perception(with_border_row(visible), self.external_input(visible, inputs), every)
        weights = self.cells.of(self.cells.part(every), every)
        out, memory = self.cell(weights, perception, rows[..., self.features :])
        after = self.next_rows(rows, out, memory)
        return from_rows(torch.where(firing & self.moving_channels(step, rows.device), after, rows), self.size)

    def visible_features(self, rows: Tensor, inputs: Inputs) -> Tensor:
        """Returns the features that neighbours see, (cells, B, F): at the front face, with the question added.

        Args:
            rows: The state, (cells, B, F + M).
            inputs: The inputs from outside.
        """
        features = rows[..., : self.features]
        if inputs.face is None:
            return features
        # Rows are ordered by (d, h, w): the front face, d = 0, is the first H·W of them.
        front = inputs.face.flatten(2).permute(2, 0, 1)
        return torch.cat([features[: len(front)] + front, features[len(front) :]])

    def external_input(self, visible: Tensor, inputs: Inputs) -> Tensor:
        """Returns what each cell is fed from outside and from the coarse lattice, (cells, B, E).

        Args:
            visible: What `visible_features` returns, (cells, B, F).
            inputs: The inputs from outside.
        """
        external = visible.new_zeros(*visible.shape[:2], self.external)
        if inputs.external is not None:
            external = to_rows(inputs.external)
        if self.coarse is not None:
            external = external + to_rows(self.coarse(from_rows(visible, self.size)))
        return external

    def perception(self, padded: Tensor, external: Tensor, cells: slice) -> Tensor:
        """Returns what some cells perceive, (n, B, 7·F + E): neighbours, their own features, external inputs.

        Args:
            padded: What `with_border_row` returns, (cells + 1, B, F).
            external: What `external_input` returns, (cells, B, E).
            cells: Which n cells.
        """
        near = [padded[neighbours] for neighbours in self.neighbours[cells].T]
        return torch.cat([*near, padded[:-1][cells], external[cells]], dim=-1)

    def next_rows(self, rows: Tensor, out: Tensor, memory: Tensor) -> Tensor:
        """Returns the next state of cells that fire, (n, B, F + M).

        Args:
            rows: Their state, (n, B, F + M).
            out: Their output, (n, B, F).
            memory: Their new memory, (n, B, M).
        """
        features = rows[..., : self.features]
        change = out if self.preset == "nca" else out - features
        return torch.cat([features + self.step_size * change, memory], dim=-1)

    def moving_channels(self, step: int, device: torch.device | None = None) -> Tensor:
        """Returns which channels may change in a step, bool (F + M,).

        `periods` share the features out evenly, like hands of a clock; memory changes in every step.

        Args:
            step: The step's absolute number.
            device: Where the result shall be.
        """
        groups = torch.arange(self.features) * len(self.periods) // self.features
        moves = torch.tensor([step % period == 0 for period in self.periods])[groups]
        return torch.cat([moves, torch.ones(self.memory, dtype=torch.bool)]).to(device)

    @property
    def steps_are_alike(self) -> bool:
        """Whether each step does the same whatever its number, so that an executor can run many as one."""
        return self.coarse is None and set(self.periods) == {1}

    def to_rows(self, state: Tensor) -> Tensor:
        """Returns a state (B, F + M, D, H, W) as rows, (cells, B, F + M).

        Raises:
            ArgumentError: The state has another lattice than the rule.
        """
        if tuple(state.shape[2:]) != self.size:
            raise ArgumentError("state", f"lattice {tuple(state.shape[2:])}", f"{self.size}, the rule's own")
        return to_rows(state)

    # Several processes ------------------------------------------------------------------------------------------------

    def can_be_shared_out(self) -> bool:
        """Whether ranks can have some cells each: not those of a subclass with a step of its own, which each computes whole."""
        names = ("perception", "visible_features", "external_input")
        return self.stepper == "gmlp" and all(getattr(type(self), name) is getattr(GMLPRule, name) for name in names)

    def share_out(self, ranks: Ranks) -> None:
        """Keeps of what cells have for themselves that of this rank's cells; see `Rule.share_out`."""
        if ranks.size > 1 and self.cells.share is None and self.can_be_shared_out():
            share = Share(self.size, ranks)
            self.cells.keep(share)
            self.neighbours = share.table.to(self.neighbours.device)

    def sharded(self) -> dict[str, Tensor]:
        """Returns which cells' entries this rank has of its parameters; see `Rule.sharded`."""
        return {f"cells.{name}": own for name, own in self.cells.sharded().items()}

    def whole(self) -> "GMLPRule | None":
        """Returns the cube with all its cells; see `Rule.whole`."""
        if self.cells.share is None:
            return self
        # A copy of all but the cells, which come one weight after the other.
        cells = self.cells.whole(self.size)
        if cells is None:
            return None
        rule = copy.deepcopy(self)
        rule.cells, rule.neighbours = cells, neighbour_table(self.size).to(self.neighbours.device)
        return rule

    # What a rule must say ---------------------------------------------------------------------------------------------

    def kernels(self) -> list[Tensor | None]:
        """Returns [None], for the cell itself: a gMLP cell has no kernels, it sees its neighbours one by one."""
        return [None]

    def update(self, perception: Tensor) -> Tensor:
        """Refuses to compute an update (…, C) from a perception (…, K·C) alone: a cell's weights depend on its place.

        Raises:
            TypeError: Always; `cell` takes the weights as an argument.
        """
        raise TypeError(
            "update: found a gMLP cell, allowed GMLPRule.cell, which takes the weights: they depend on the cell's place"
        )

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""
        names = ("features", "memory", "external", "widened", "mixing", "preset", "dropout", "start", "fire_rate", "step_size")
        own = {name: getattr(self, name) for name in names}
        return {"size": list(self.size), "periods": list(self.periods), **own, **self.options}

    def weights_a_cell(self) -> int:
        """Returns how many weights one cell computes with, whether or not others share them."""
        return sum(math.prod(slot.shape) for slot in self.cells.slots.values())

    def multiply_adds(self) -> int | None:
        """Returns the multiply-adds of a cell's matrices, 28,352 by default; None for a subclass with a step of its own."""
        if type(self).forward is not GMLPRule.forward or type(self).cell is not GMLPCell.cell:
            return None
        # The gate's projection over positions that all hold the same is one scale and one shift (see `GMLPCell.cell`).
        matrices = [slot.shape for name, slot in self.cells.slots.items() if len(slot.shape) == 2 and name != "positions"]
        return sum(inputs * outputs for inputs, outputs in matrices)


def split_inputs(rule: Rule) -> tuple[GMLPRule, Inputs]:
    """Returns a cube's rule and its inputs, which are empty if the rule came alone.

    Args:
        rule: A `GMLPRule`, alone or in a `RuleWithInputs`.
    """
    cube, inputs = (rule.rule, rule.inputs) if isinstance(rule, RuleWithInputs) else (rule, Inputs())
    assert isinstance(cube, GMLPRule)
    return cube, inputs
