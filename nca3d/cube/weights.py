"""Whose weights a cell has: its own, everyone's, those of its type, or everyone's with a small part of its own.

A network that is the same program in every cell, but not with the same numbers, is written once as a function of named
weights; this file holds the numbers and hands them out for some neighbouring cells at a time, so that what is made of them
(mixtures of types, low-rank sums) is never as large as the lattice.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError

Mode = Literal["per_cell", "shared", "types", "low_rank"]
MODES = ("per_cell", "shared", "types", "low_rank")


class Slot(NamedTuple):
    """One named weight of a cell: its shape, and how it begins: uniform in ±bound, plus `start`."""

    shape: tuple[int, ...]
    bound: float = 0.0
    start: float = 0.0


class CellWeights(nn.Module):
    """The weights of `cells` cells, by name.

    Args:
        slots: the weights of one cell; matrices are (inputs, outputs).
        cells: how many cells.
        mode: "per_cell": each has its own; "shared": one set for all; "types": `types` sets, a cell has the set of its layer
            or a learned mixture; "low_rank": one set for all, and each cell adds a product of rank `rank` to every matrix.
        types: how many sets there are in mode "types".
        kind_of: int (cells,), the type of each cell; None = each cell learns a mixture (softmax over types).
        rank: of each cell's own part in mode "low_rank".
        generator: draws the initial weights; None = torch's global one.

    Raises:
        ValueError: an unknown mode, or a number out of range.
    """

    def __init__(
        self,
        slots: Mapping[str, Slot],
        cells: int,
        mode: Mode = "per_cell",
        *,
        types: int = 4,
        kind_of: Tensor | None = None,
        rank: int = 2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ArgumentError("weights", repr(mode), ", ".join(MODES))
        if types < 1 or rank < 1:
            raise ArgumentError("types, rank", f"{types}, {rank}", "1 or more")
        self.slots, self.cells, self.mode = dict(slots), cells, mode
        self.own = nn.ParameterDict()
        self.kind_of: Tensor | None
        self.register_buffer("kind_of", kind_of if mode == "types" else None, persistent=False)
        copies = {"per_cell": (cells,), "types": (types,)}.get(mode, ())
        for name, slot in slots.items():
            drawn = torch.empty(*copies, *slot.shape).uniform_(-slot.bound, slot.bound, generator=generator)
            self.own[name] = nn.Parameter(drawn + slot.start)
            if mode == "low_rank" and len(slot.shape) == 2:
                inputs, outputs = slot.shape
                left = torch.empty(cells, inputs, rank).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
                self.own[f"left_{name}"] = nn.Parameter(left)
                # Zero, so that all cells begin alike; the left factor lets gradient into it from the first step on.
                self.own[f"right_{name}"] = nn.Parameter(torch.zeros(cells, rank, outputs))
        if mode == "types" and kind_of is None:
            self.own["mixture"] = nn.Parameter(0.1 * torch.randn(cells, types, generator=generator))

    def is_each_cells(self, name: str) -> bool:
        """Whether the parameter's first axis is the cells."""
        return self.mode == "per_cell" or name.startswith(("left_", "right_")) or name == "mixture"

    def part(self, cells: slice, own: Iterable[Tensor] | None = None) -> dict[str, Tensor]:
        """The parameters that some cells depend on: theirs alone, or all of a kind; the arguments of `of`.

        Args:
            cells: which cells.
            own: tensors that stand for the parameters, in their order.
        """
        named = zip(self.own, self.own.values() if own is None else own, strict=True)
        return {name: weight[cells] if self.is_each_cells(name) else weight for name, weight in named}

    def of(self, part: Mapping[str, Tensor], cells: slice) -> dict[str, Tensor]:
        """The weights of some cells by slot: (n, *shape), or (*shape) where all cells share them.

        Args:
            part: what `part(cells)` gives, or tensors in its place.
            cells: which cells.
        """
        if self.mode in ("per_cell", "shared"):
            return dict(part)
        if self.mode == "low_rank":
            return {
                name: part[name] + part[f"left_{name}"] @ part[f"right_{name}"] if len(slot.shape) == 2 else part[name]
                for name, slot in self.slots.items()
            }
        if self.kind_of is not None:
            # Not part[kinds]: its gradient is summed by threads in any order.
            return {name: part[name].index_select(0, self.kind_of[cells]) for name in self.slots}
        share = part["mixture"].softmax(dim=-1)
        return {name: torch.tensordot(share, part[name], dims=1) for name in self.slots}

    def taught(self) -> float:
        """The share of cells that have a weight with a gradient other than zero; what all cells share counts for all."""
        reached = torch.zeros(self.cells, dtype=torch.bool)
        for name, weight in self.own.items():
            if weight.grad is None:
                continue
            has = (weight.grad != 0).flatten(1).any(dim=1).cpu() if weight.grad.ndim > 1 else (weight.grad != 0).cpu()
            if self.is_each_cells(name):
                reached |= has
            elif self.kind_of is not None:
                reached |= has[self.kind_of.cpu()]
            else:
                reached |= has.any()
        return float(reached.float().mean())

    def count(self) -> int:
        """How many numbers are trained."""
        return sum(weight.numel() for weight in self.own.values())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(n, B, inputs) · (n, inputs, outputs) or (inputs, outputs), plus a bias (n, outputs) or (outputs)."""
    if weight.ndim == 2:
        out = x @ weight
        return out if bias is None else out + _beside_batch(bias)
    if bias is None:
        return torch.bmm(x, weight)
    return torch.baddbmm(_beside_batch(bias).expand(len(x), 1, -1), x, weight)


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Each row (n, B, F) to mean 0 and variance 1 (Ba et al. 2016), then scale and shift (n, F) or (F)."""
    return torch.nn.functional.layer_norm(x, x.shape[-1:]) * _beside_batch(scale) + _beside_batch(shift)


def _beside_batch(vector: Tensor) -> Tensor:
    """(n, F) -> (n, 1, F); (F) stays."""
    return vector.unsqueeze(-2) if vector.ndim == 2 else vector
