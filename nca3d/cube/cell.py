"""The cell of the cube: a gMLP (Liu et al. 2021, "Pay Attention to MLPs") with a memory, and with weights of its own.

One cell sees the features of its six face neighbours (d−, d+, h−, h+, w−, w+; zeros outside), its own, and what is fed in from
outside:

    seen  = neighbours 6·F | own F | external E
    x     = enter(LayerNorm(seen))                                   F
    u, v  = GELU(split(x))                                           F each
    x     = u · (scale · LayerNorm(v) + shift)                       the gate: a 7→7 projection over positions that all hold v
    x     = x + widen-GELU-narrow(x) [+ 0.1 · weighted neighbours + 0.05 · across(d− neighbour)]
    m     = GRU(x, m);  x = x + recall(m)                            the memory
    out   = last(LayerNorm(x)) + 0.1 · around(seen)
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.coarse import Coarse
from nca3d.cube.faces import Surface
from nca3d.cube.weights import CellWeights, Mode, Slot, layer_norm, linear
from nca3d.errors import ArgumentError
from nca3d.lattice import NEIGHBOURHOODS, Size, as_size
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs, RuleWithInputs

# The cell and its six neighbours: what the published cell's spatial gate runs over.
POSITIONS = 7
# How much the raw input, the weighted neighbours and the layer in front add.
AROUND, WEIGHTED, ACROSS = 0.1, 0.1, 0.05
LEAKY = "preset 'cube' is leaky, and exempt by name from laws 1 and 2: its cells move towards what they say"


class GMLPRule(Rule):
    """A lattice of gMLP cells with memory; by the default sizes 29,462 weights a cell, 26,128 without `mixing`.

    Channels: features, which neighbours see, then memory. There is no alive mask and no seed: a cube begins at rest, all
    zeros, and is told something at its front face.

    Args:
        size: lattice (D, H, W): with weights of each cell's own a rule belongs to one lattice.
        features: F, what neighbours see.
        memory: of the GRU.
        external: E, channels fed in from outside in every step (`inputs` of `nca3d.rollout`).
        widened: hidden width of the feed-forward part.
        mixing: weighted neighbours and the projection of the layer in front.
        periods: steps from one move of a channel to its next; several numbers: features are dealt out evenly over them.
        coarse: side of the blocks of cells that a coarse lattice sums up and speaks to (`Coarse`); 0 = none. It needs
            external channels, and reaches 2 · side − 1 cells a step.
        start: "published" draws all weights as torch does; "carry" (preset "cube") begins as a cube that hands what it is told
            from layer to layer, unchanged: without it a signal is lost in constants long before the eleventh layer.
        embedding, adapter: width of the teacher's embeddings and which adapter (`nca3d.cube.ADAPTERS`) brings them to the
            surface; None = the rule is told surfaces. `mixed`: matrices over whole faces, before a question enters and after
            pixels are read.
        preset: "nca" = state + step_size · fire · out, where a fresh rule does nothing (law 1); "cube" = the leaky
            state + step_size · fire · (out − state), exempt from laws 1 and 2 by name.
        weights, types, types_by, rank: see `CellWeights`; types_by "layer" gives layer d the type d modulo `types`.
        dropout: probability in the feed-forward part, in training mode only.
        fire_rate, step_size: see `Rule`.
        generator: draws the initial weights.

    Raises:
        ValueError: an argument out of its range; the line names it.
    """

    neighbourhood = "von_neumann"
    reach = 1
    wraps = False  # zeros lie around a cube, whatever its padding says
    size: Size
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
    ) -> None:
        super().__init__(features + memory, features, "signal", fire_rate, None, step_size, "zeros")
        # A subclass that has written its step anew is run as it is written.
        self.takes_inputs = type(self).forward is GMLPRule.forward
        self.stepper = "gmlp" if self.takes_inputs else ""
        self.size = as_size(size)
        starts = ("published", "carry") if preset == "cube" else ("published",)
        whole = not isinstance(periods, int) and all(type(period) is int for period in periods)
        dealt = whole and 0 < len(periods) <= features and min(periods) >= 1
        fewest = min(features - 1, memory, external + 1, widened)
        sizes = f"{features}, {memory}, {external}, {widened}"
        blocks = f"{coarse}, external {external}"
        for name, fits, found, allowed in (
            ("features, memory, external, widened", fewest > 0, sizes, "2, 1, 0, 1 or more"),
            ("preset", preset in ("nca", "cube"), repr(preset), "nca, cube"),
            ("types_by", types_by in ("layer", "learned"), repr(types_by), "layer, learned"),
            ("start", start in starts, repr(start), ", ".join(starts)),
            ("dropout", 0 <= dropout < 1, dropout, "0 <= dropout < 1"),
            ("periods", dealt, repr(periods), f"1 to {features} numbers of 1 or more"),
            ("coarse", not coarse or (coarse >= 2 and external), blocks, "0, or 2 or more with external channels"),
            ("coarse", coarse <= min(self.size), coarse, f"at most the shortest side of the lattice {self.size}"),
            ("mixing", isinstance(mixing, bool), repr(mixing), "true or false"),
        ):
            if not fits:
                raise ArgumentError(name, found, allowed)
        self.features, self.memory, self.external, self.widened = features, memory, external, widened
        self.mixing, self.preset, self.dropout, self.start = mixing, preset, dropout, start
        self.periods = tuple(periods)
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
        layers = torch.arange(depth).repeat_interleave(height * width)
        self.cells = CellWeights(
            self._slots(),
            depth * height * width,
            weights,
            types=types,
            rank=rank,
            generator=generator,
            kind_of=layers % max(types, 1) if types_by == "layer" else None,
        )
        if start == "carry":
            self._carry()
        self.surface = Surface(height * width, features, embedding, adapter, mixed, start == "carry", generator)
        self.coarse = Coarse(features, external, coarse, generator) if coarse else None
        self.reach = 2 * coarse - 1 if coarse else 1
        if preset == "cube":
            self.exempt["vacuum"] = LEAKY
        if weights != "shared" or coarse:
            self.exempt["translation"] = f"its cells differ by their place (weights {weights!r}, coarse {coarse})"
        self.register_buffer("neighbours", neighbour_table(self.size), persistent=False)

    def _carry(self) -> None:
        """Makes a fresh cell say what the layer in front (d−) shows, and next to nothing of its own."""
        with torch.no_grad():
            self.cells.own["around"].zero_()[..., : self.features, :] += torch.eye(self.features) / AROUND
            self.cells.own["around_bias"].zero_()
            for name in ("last", "last_bias"):
                self.cells.own[name] *= 0.1

    def _slots(self) -> dict[str, Slot]:
        """Every weight of a cell, with torch's own initial ranges; what must be zero in a rule that does nothing is zero."""
        features, memory, widened, seen = self.features, self.memory, self.widened, 7 * self.features + self.external
        still = self.preset == "nca"
        slots: dict[str, Slot] = {}

        def add(name: str, inputs: int, outputs: int, zero: bool = False) -> None:
            bound = 0.0 if zero else inputs**-0.5
            slots[name], slots[f"{name}_bias"] = Slot((inputs, outputs), bound), Slot((outputs,), bound)

        def add_norm(name: str, width: int) -> None:
            slots[f"{name}_scale"], slots[f"{name}_shift"] = Slot((width,), start=1.0), Slot((width,))

        add_norm("seen", seen)
        add("enter", seen, features)
        add("split", features, 2 * features)
        add_norm("gate", features)
        # Near 0 and 1, as the paper has it: a fresh gate lets u through.
        slots["positions"] = Slot((POSITIONS, POSITIONS), 1e-3)
        slots["positions_bias"] = Slot((POSITIONS,), start=1.0)
        add("widen", features, widened)
        add("narrow", widened, features)
        for name in ("reset", "update", "candidate"):
            add(f"{name}_in", features, memory, zero=still and name == "candidate")
            add(f"{name}_of", memory, memory, zero=still and name == "candidate")
        add("recall", memory, features)
        add_norm("last", features)
        add("last", features, features, zero=still)
        add("around", seen, features, zero=still)
        if self.mixing:
            add("look", 2 * features, 32)
            add("weigh", 32, 6)
            add("across", features, features)
        return slots

    # The cell ---------------------------------------------------------------------------------------------------------

    def cell(self, w: Mapping[str, Tensor], seen: Tensor, memory: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What some cells propose: seen (n, B, 7·F + E), memory (n, B, M) -> out (n, B, F), memory (n, B, M).

        kept: (n, B, widened), what dropout leaves of the feed-forward part, 0 or 1 / (1 − dropout); None = all.
        """
        x = linear(layer_norm(seen, w["seen_scale"], w["seen_shift"]), w["enter"], w["enter_bias"])
        u, v = F.gelu(linear(x, w["split"], w["split_bias"])).chunk(2, dim=-1)
        scale = w["positions"].sum(dim=-1).mean(dim=-1)[..., None, None]
        shift = w["positions_bias"].mean(dim=-1)[..., None, None]
        x = u * (scale * layer_norm(v, w["gate_scale"], w["gate_shift"]) + shift)
        wide = F.gelu(linear(x, w["widen"], w["widen_bias"]))
        x = x + linear(wide if kept is None else wide * kept, w["narrow"], w["narrow_bias"])
        if self.mixing:
            x = x + self._mixed(w, seen)
        memory = self._remember(w, x, memory)
        x = x + linear(memory, w["recall"], w["recall_bias"])
        out = linear(layer_norm(x, w["last_scale"], w["last_shift"]), w["last"], w["last_bias"])
        return out + AROUND * linear(seen, w["around"], w["around_bias"]), memory

    def _mixed(self, w: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Neighbours weighed by what the cell and their mean look like, and the layer in front (d−) projected."""
        neighbours = seen[..., : 6 * self.features].unflatten(-1, (6, self.features))
        own = seen[..., 6 * self.features : 7 * self.features]
        looked = F.relu(linear(torch.cat([own, neighbours.mean(dim=-2)], dim=-1), w["look"], w["look_bias"]))
        share = linear(looked, w["weigh"], w["weigh_bias"]).softmax(dim=-1)
        weighted = (share[..., None] * neighbours).sum(dim=-2)
        return WEIGHTED * weighted + ACROSS * linear(neighbours[..., 0, :], w["across"], w["across_bias"])

    def _remember(self, w: Mapping[str, Tensor], x: Tensor, memory: Tensor) -> Tensor:
        """A gated recurrent unit (Cho et al. 2014), with torch's equations."""

        def both(name: str) -> tuple[Tensor, Tensor]:
            return (
                linear(x, w[f"{name}_in"], w[f"{name}_in_bias"]),
                linear(memory, w[f"{name}_of"], w[f"{name}_of_bias"]),
            )

        reset = torch.sigmoid(sum(both("reset")))  # type: ignore[arg-type]
        update = torch.sigmoid(sum(both("update")))  # type: ignore[arg-type]
        new, old = both("candidate")
        candidate = torch.tanh(new + reset * old)
        return candidate + update * (memory - candidate)

    # The step ---------------------------------------------------------------------------------------------------------

    def forward(self, state: Tensor, fire: Tensor, inputs: Tensor | Inputs | None = None, step: int = 0) -> Tensor:
        """One step of every cell, without dropout: slow, plain and the measure of executors (`executors/cells.py` runs blocks).

        Args:
            state: float (B, F + M, D, H, W).
            fire: bool (B, 1, D, H, W), True = this cell updates.
            inputs: what is fed to each cell from outside, (B, E, D, H, W), or what `ask` gives.
            step: its absolute number: which channels it moves, where `periods` are given.
        """
        every = slice(None)
        rows, firing, given = self.to_rows(state), to_rows(fire), Inputs.of(inputs)
        shown = self.shown(rows, given)
        seen = self.seen(with_outside(shown), self.fed(shown, given), every)
        out, memory = self.cell(self.cells.of(self.cells.part(every), every), seen, rows[..., self.features :])
        after = self.moved(rows, out, memory)
        return from_rows(torch.where(firing & self.beats(step, rows.device), after, rows), self.size)

    def shown(self, rows: Tensor, inputs: Inputs) -> Tensor:
        """The features (cells, B, F) as neighbours see them: at the front face, with what the cube is inputs."""
        features = rows[..., : self.features]
        if inputs.face is None:
            return features
        front = inputs.face.flatten(2).permute(2, 0, 1)
        return torch.cat([features[: len(front)] + front, features[len(front) :]])

    def fed(self, shown: Tensor, inputs: Inputs) -> Tensor:
        """What each cell gets from outside and from the coarse lattice, (cells, B, E)."""
        outside = shown.new_zeros(*shown.shape[:2], self.external)
        if inputs.external is not None:
            outside = to_rows(inputs.external)
        if self.coarse is not None:
            outside = outside + to_rows(self.coarse(from_rows(shown, self.size)))
        return outside

    def seen(self, padded: Tensor, outside: Tensor, cells: slice) -> Tensor:
        """What some cells see, (n, B, 7·F + E): their neighbours, themselves, what is fed in."""
        near = [padded[neighbours] for neighbours in self.neighbours[cells].T]
        return torch.cat([*near, padded[:-1][cells], outside[cells]], dim=-1)

    def beats(self, step: int, device: torch.device | None = None) -> Tensor:
        """bool (F + M,): which channels move in this step. `periods` share the features out evenly; memory always moves."""
        groups = torch.arange(self.features) * len(self.periods) // self.features
        moves = torch.tensor([step % period == 0 for period in self.periods])[groups]
        return torch.cat([moves, torch.ones(self.memory, dtype=torch.bool)]).to(device)

    @property
    def is_even(self) -> bool:
        """Whether all steps are alike, so that many can be run as one."""
        return self.coarse is None and set(self.periods) == {1}

    def to_rows(self, state: Tensor) -> Tensor:
        """(B, F + M, D, H, W) -> (cells, B, F + M).

        Raises:
            ValueError: another lattice than the rule's.
        """
        if tuple(state.shape[2:]) != self.size:
            raise ArgumentError("state", f"lattice {tuple(state.shape[2:])}", f"{self.size}, the rule's own")
        return to_rows(state)

    # Question and answer ----------------------------------------------------------------------------------------------

    def rest(self, batch: int = 1, device: torch.device | str | None = None) -> Tensor:
        """The state (B, F + M, D, H, W) of cubes that nothing was said to: zeros."""
        return torch.zeros(batch, *self.size, self.channels, device=device).movedim(-1, 1)

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """A cube has no first cell: it is at rest until it is told something."""

    def ask(self, question: Tensor) -> Inputs:
        """A question as `inputs` of a rollout: held at the front face, d = 0, in every step.

        Args:
            question: (B, H·W) a surface; or (B, embedding), where the rule has adapters for a teacher's embeddings.
        """
        return Inputs(self.surface.enter(question).movedim(-1, 1).unflatten(-1, self.size[1:]))

    def tell(self, state: Tensor, question: Tensor) -> Tensor:
        """The state with a question added to the features of the front face: said once, not held."""
        face = self.surface.enter(question).movedim(-1, 1).unflatten(-1, self.size[1:])
        padded = F.pad(face, (0, 0, 0, 0, 0, self.memory))
        return torch.cat([state[:, :, :1] + padded[:, :, None], state[:, :, 1:]], dim=2)

    def answer(self, state: Tensor) -> Tensor:
        """The surface (B, H·W) read off the back face, d = D − 1."""
        return self.surface.leave(state[:, : self.features, -1].flatten(2).movedim(1, -1))

    def goal(self, answers: Tensor) -> Tensor:
        """The surfaces (N, H·W) that answers (N, embedding) should look like; they teach the cube, and no gradient returns."""
        return answers if self.surface.wanted is None else self.surface.wanted(answers).detach()

    def moved(self, rows: Tensor, out: Tensor, memory: Tensor) -> Tensor:
        """What becomes of cells that fire: (n, B, F + M)."""
        features = rows[..., : self.features]
        change = out if self.preset == "nca" else out - features
        return torch.cat([features + self.step_size * change, memory], dim=-1)

    # What a rule must say ---------------------------------------------------------------------------------------------

    def kernels(self) -> list[Tensor | None]:
        """None: a cell sees its neighbours one by one."""
        return [None]

    def update(self, perception: Tensor) -> Tensor:
        """Not asked: which weights a cell has depends on where it is."""
        raise TypeError("update: found a gMLP cell, allowed GMLPRule.cell: which weights it has depends on its place")

    def spec(self) -> dict[str, object]:
        """Keyword arguments that build this rule anew (without its weights)."""
        names = ("features", "memory", "external", "widened", "mixing", "preset", "dropout", "start", "fire_rate", "step_size")
        own = {name: getattr(self, name) for name in names}
        return {"size": list(self.size), "periods": list(self.periods), **own, **self.options}

    def weights_a_cell(self) -> int:
        """How many numbers one cell works with, whoever else shares them."""
        return sum(math.prod(slot.shape) for slot in self.cells.slots.values())


def split_inputs(rule: Rule) -> tuple[GMLPRule, Inputs]:
    """A cube, alone or with what it is told, as the two."""
    cube, inputs = (rule.rule, rule.inputs) if isinstance(rule, RuleWithInputs) else (rule, Inputs())
    assert isinstance(cube, GMLPRule)
    return cube, inputs


def neighbour_table(size: Size) -> Tensor:
    """int64 (cells, 6): the neighbours of each cell in the order d−, d+, h−, h+, w−, w+; `cells` = outside."""
    index = torch.arange(math.prod(size)).view(size)
    padded = F.pad(index, (1,) * 6, value=math.prod(size))
    depth, height, width = size
    return torch.stack(
        [
            padded[1 + d : 1 + d + depth, 1 + h : 1 + h + height, 1 + w : 1 + w + width].flatten()
            for d, h, w in NEIGHBOURHOODS["von_neumann"]
        ],
        dim=1,
    )


def with_outside(shown: Tensor) -> Tensor:
    """(cells, B, F) -> (cells + 1, B, F), the last row zeros: what lies beyond the lattice."""
    return torch.cat([shown, shown.new_zeros(1, *shown.shape[1:])])


def to_rows(values: Tensor) -> Tensor:
    """(B, C, D, H, W) -> (cells, B, C): where channels come last, another look at the same memory."""
    return values.flatten(2).permute(2, 0, 1)


def from_rows(rows: Tensor, size: Size) -> Tensor:
    """(cells, B, C) -> (B, C, D, H, W)."""
    return rows.permute(1, 2, 0).unflatten(-1, size)
