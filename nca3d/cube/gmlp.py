"""The cell of the cube: a gMLP (Liu et al. 2021, "Pay Attention to MLPs") with a memory, and with weights of its own.

One cell perceives the features of its six face neighbours (d−, d+, h−, h+, w−, w+; zeros outside), its own, and what it is fed
from outside. (F features, E external channels, m the memory; names in code are those of the weights.)

    p     = neighbours 6·F | own F | external E                      the perception
    x     = enter(LayerNorm(p))                                      F
    u, v  = GELU(split(x))                                           F each
    x     = u · (scale · LayerNorm(v) + shift)                       the gate: a 7→7 projection over positions that all hold v
    x     = x + widen-GELU-narrow(x) [+ 0.1 · weighted neighbours + 0.05 · across(d− neighbour)]
    m     = GRU(x, m);  x = x + recall(m)                            the memory
    out   = last(LayerNorm(x)) + 0.1 · around(p)
"""

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.weights import Slot, layer_norm, linear
from nca3d.rules.cell import Rule

# The cell and its six neighbours: what the published cell's spatial gate runs over.
POSITIONS = 7
# Factors of three added terms: the raw perception, the weighted neighbours, and the layer in front.
AROUND, WEIGHTED, ACROSS = 0.1, 0.1, 0.05
# The width of the two small layers that weigh neighbours, and the number of neighbours.
LOOK, SIDES = 32, 6


class GMLPCell(Rule):
    """What one cell computes with given weights; `GMLPRule`, its subclass, is a lattice of such cells.

    Attributes:
        features: F, the number of channels that neighbours see.
        memory: M, the width of the gated recurrent unit.
        external: E, the number of channels fed in from outside.
        widened: The hidden width of the feed-forward part.
        mixing: Whether a cell also has weighted neighbours and the projection of the layer in front.
        preset: "nca" or "cube", see `GMLPRule`.
    """

    features: int
    memory: int
    external: int
    widened: int
    mixing: bool
    preset: Literal["nca", "cube"]

    def _slots(self) -> dict[str, Slot]:
        """Returns every weight of a cell with its initial range, which is torch's own.

        In preset "nca" the layers that decide what changes begin at zero, so that a fresh rule does nothing (law 1).
        """
        features, memory, widened = self.features, self.memory, self.widened
        perceived = POSITIONS * features + self.external
        still = self.preset == "nca"
        slots: dict[str, Slot] = {}

        def add(name: str, inputs: int, outputs: int, zero: bool = False) -> None:
            bound = 0.0 if zero else inputs**-0.5
            slots[name], slots[f"{name}_bias"] = Slot((inputs, outputs), bound), Slot((outputs,), bound)

        def add_norm(name: str, width: int) -> None:
            slots[f"{name}_scale"], slots[f"{name}_shift"] = Slot((width,), start=1.0), Slot((width,))

        add_norm("seen", perceived)
        add("enter", perceived, features)
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
        add("around", perceived, features, zero=still)
        if self.mixing:
            add("look", 2 * features, LOOK)
            add("weigh", LOOK, SIDES)
            add("across", features, features)
        return slots

    def cell(
        self, w: Mapping[str, Tensor], perception: Tensor, memory: Tensor, dropout_factor: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Computes what some cells propose. Every executor calls this or computes the same.

        Args:
            w: The weights by name, as `CellWeights.of` returns them.
            perception: What the cells perceive, (n, B, 7·F + E).
            memory: Their memory, (n, B, M).
            dropout_factor: The factor of each hidden number of the feed-forward part, (n, B, widened), 0 or 1 / (1 − dropout);
                None = no dropout.

        Returns:
            The output (n, B, F) and the new memory (n, B, M).
        """
        x = linear(layer_norm(perception, w["seen_scale"], w["seen_shift"]), w["enter"], w["enter_bias"])
        u, v = F.gelu(linear(x, w["split"], w["split_bias"])).chunk(2, dim=-1)
        # A projection over seven positions that all hold the same v is one scale and one shift: no seven copies are made.
        scale = w["positions"].sum(dim=-1).mean(dim=-1)[..., None, None]
        shift = w["positions_bias"].mean(dim=-1)[..., None, None]
        x = u * (scale * layer_norm(v, w["gate_scale"], w["gate_shift"]) + shift)
        wide = F.gelu(linear(x, w["widen"], w["widen_bias"]))
        x = x + linear(wide if dropout_factor is None else wide * dropout_factor, w["narrow"], w["narrow_bias"])
        if self.mixing:
            x = x + self._mixed(w, perception)
        memory = self._remember(w, x, memory)
        x = x + linear(memory, w["recall"], w["recall_bias"])
        out = linear(layer_norm(x, w["last_scale"], w["last_shift"]), w["last"], w["last_bias"])
        return out + AROUND * linear(perception, w["around"], w["around_bias"]), memory

    def _mixed(self, w: Mapping[str, Tensor], perception: Tensor) -> Tensor:
        """Returns the neighbours, weighted by the cell's features and their mean, plus the projected layer in front (d−)."""
        neighbours = perception[..., : SIDES * self.features].unflatten(-1, (SIDES, self.features))
        own = perception[..., SIDES * self.features : POSITIONS * self.features]
        hidden = F.relu(linear(torch.cat([own, neighbours.mean(dim=-2)], dim=-1), w["look"], w["look_bias"]))
        share = linear(hidden, w["weigh"], w["weigh_bias"]).softmax(dim=-1)
        weighted = (share[..., None] * neighbours).sum(dim=-2)
        return WEIGHTED * weighted + ACROSS * linear(neighbours[..., 0, :], w["across"], w["across_bias"])

    def _remember(self, w: Mapping[str, Tensor], x: Tensor, memory: Tensor) -> Tensor:
        """Returns the new memory (n, B, M) of a gated recurrent unit (Cho et al. 2014), by torch's equations."""

        def both(name: str) -> tuple[Tensor, Tensor]:
            return (
                linear(x, w[f"{name}_in"], w[f"{name}_in_bias"]),
                linear(memory, w[f"{name}_of"], w[f"{name}_of_bias"]),
            )

        reset = torch.sigmoid(sum(both("reset")))  # type: ignore[arg-type]
        update = torch.sigmoid(sum(both("update")))  # type: ignore[arg-type]
        new, old = both("candidate")
        candidate = torch.tanh(new + reset * old)
        # (1 − update) · candidate + update · memory, with one product less.
        return candidate + update * (memory - candidate)
