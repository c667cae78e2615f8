"""Which weights a cell has: its own, shared ones, those of its type, or shared ones with a small part of its own.

Every cell runs the same program, but not with the same numbers. So the program is written once, as a function of named weights,
and this file holds the numbers. It returns them for a block of cells at a time, so that what is computed from them (mixtures of
types, low-rank sums) never takes the memory of a whole lattice.
"""

import copy
import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from nca3d.cube.share import Share
from nca3d.errors import ArgumentError
from nca3d.lattice import Size

Mode = Literal["per_cell", "shared", "types", "low_rank"]
MODES = ("per_cell", "shared", "types", "low_rank")


# Matrices of fewer numbers are small, see `CellWeights.small`.
SMALL = 64
# How many cells' own numbers are drawn at once where only some of them are kept.
DRAWN = 256


class Slot(NamedTuple):
    """One named weight of a cell.

    Attributes:
        shape: Its shape; matrices are (inputs, outputs).
        bound: Its initial values are drawn uniformly from −bound to bound.
        start: A number added to the initial values.
    """

    shape: tuple[int, ...]
    bound: float = 0.0
    start: float = 0.0


class CellWeights(nn.Module):
    """The weights of all cells, by name.

    Args:
        slots: The weights of one cell by name.
        cells: How many cells there are.
        mode: "per_cell" gives each cell its own weights; "shared" has one set for all; "types" has `types` sets, and a cell has
            the set of its type or a learned mixture of them; "low_rank" has one set for all, and each cell adds a matrix of
            rank `rank` to every matrix.
        types: How many sets there are in mode "types".
        kind_of: The type of each cell, int (cells,); None = each cell learns a mixture (softmax over types).
        rank: The rank of each cell's own part in mode "low_rank".
        generator: Draws the initial weights; None = torch's global one.
        share: Which cells this process has, where several share them out: what a cell has for itself is here for them alone.
            None = all.

    Attributes:
        cells: How many cells the lattice has.
        held: How many of them are here; where that is said of cells below, they are counted among these.

    Raises:
        ArgumentError: The mode is unknown, or a number is out of its range.
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
        share: Share | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ArgumentError("weights", repr(mode), ", ".join(MODES))
        if types < 1 or rank < 1:
            raise ArgumentError("types, rank", f"{types}, {rank}", "1 or more")
        self.slots, self.cells, self.mode, self.share = dict(slots), cells, mode, share
        # How many cells torch computes again at once in the backward pass; None = as fit the processor's cache.
        self.at_once: int | None = None
        # The parameters: by the names of the slots, besides "left_…" and "right_…" (low_rank) and "mixture" (types).
        self.own = nn.ParameterDict()
        self.kind_of: Tensor | None
        # Not saved: it follows from the lattice and the number of types.
        by_kind = kind_of is not None
        if kind_of is not None and share is not None:
            kind_of = kind_of[share.own]
        self.register_buffer("kind_of", kind_of if mode == "types" else None, persistent=False)
        sets = (types,) if mode == "types" else ()
        for name, slot in slots.items():
            if mode == "per_cell":
                drawn = self._drawn(slot.shape, slot.bound, generator)
            else:
                drawn = torch.empty(*sets, *slot.shape).uniform_(-slot.bound, slot.bound, generator=generator)
            self.own[name] = nn.Parameter(drawn + slot.start)
            if mode == "low_rank" and len(slot.shape) == 2:
                inputs, outputs = slot.shape
                self.own[f"left_{name}"] = nn.Parameter(self._drawn((inputs, rank), inputs**-0.5, generator))
                # Zero, so that all cells begin alike; since the left factor is not zero, it gets a gradient from the first
                # step.
                self.own[f"right_{name}"] = nn.Parameter(torch.zeros(self.held, rank, outputs))
        if mode == "types" and not by_kind:
            mixture = 0.1 * torch.randn(cells, types, generator=generator)
            self.own["mixture"] = nn.Parameter(mixture if share is None else mixture[share.own])

    @property
    def held(self) -> int:
        """How many cells are here."""
        return self.cells if self.share is None else len(self.share.own)

    def _drawn(self, shape: tuple[int, ...], bound: float, generator: torch.Generator | None) -> Tensor:
        """Returns what each cell has for itself, (held, *shape): the numbers are the same wherever the others are."""
        if self.share is None:
            return torch.empty(self.cells, *shape).uniform_(-bound, bound, generator=generator)
        drawn, done = torch.empty(self.held, *shape), 0
        # Cell after cell comes out of the generator, so that a cube which is larger than this process can hold can be drawn.
        for start in range(0, self.cells, DRAWN):
            some = torch.empty(min(DRAWN, self.cells - start), *shape).uniform_(-bound, bound, generator=generator)
            own = self.share.own[(self.share.own >= start) & (self.share.own < start + DRAWN)]
            drawn[done : done + len(own)] = some[own - start]
            done += len(own)
        return drawn

    @torch.no_grad()
    def keep(self, share: Share) -> None:
        """Keeps what the cells of a share have for themselves, and drops the rest; all cells are here before."""
        self.share = share
        for name, weight in self.own.items():
            if self.is_per_cell(name):
                own = weight.detach()[share.own.to(weight.device)]
                self.own[name] = nn.Parameter(own, requires_grad=weight.requires_grad)
        if self.kind_of is not None:
            self.kind_of = self.kind_of[share.own.to(self.kind_of.device)]

    def sharded(self) -> dict[str, Tensor]:
        """Returns which cells' entries are here of the parameters that are not whole: by name, int64 (held,)."""
        share = self.share
        return {} if share is None else {f"own.{name}": share.own for name in self.own if self.is_per_cell(name)}

    @torch.no_grad()
    def whole(self, size: Size) -> "CellWeights | None":
        """Returns a copy with what all cells have for themselves, the way back from `keep`; None on all ranks but the first.

        All ranks call it, while each has some cells.

        Args:
            size: The lattice (D, H, W).
        """
        assert self.share is not None, "all cells are here"
        cells = copy.deepcopy(self) if self.share.ranks.first else None
        for name, weight in self.own.items():
            if self.is_per_cell(name):
                # One after the other, so that the others need no memory for it.
                own = self.share.ranks.rows_on_first(weight, self.share.owners)
                if cells is not None and own is not None:
                    cells.own[name] = nn.Parameter(own, requires_grad=weight.requires_grad)
        if cells is not None:
            cells.share = None
            if self.kind_of is not None:
                # Every rank has the same columns of each layer.
                cells.kind_of = self.kind_of.view(size[0], -1)[:, :1].expand(-1, size[1] * size[2]).flatten()
        return cells

    def require_all(self, what: str) -> None:
        """Refuses what needs all cells.

        Args:
            what: What it is, for the message.

        Raises:
            ArgumentError: Some are on other ranks.
        """
        if self.share is not None:
            raise ArgumentError(what, f"{self.held} of the {self.cells} cells", "the whole cube: rule.whole()")

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Takes what belongs to the cells that are here out of weights of all cells."""
        if self.share is not None:
            for name in self.own:
                key = f"{prefix}own.{name}"
                if self.is_per_cell(name) and key in state_dict and len(state_dict[key]) == self.cells:
                    state_dict[key] = state_dict[key][self.share.own.to(state_dict[key].device)]
        super()._load_from_state_dict(state_dict, prefix, *args)

    def is_per_cell(self, name: str) -> bool:
        """Whether each cell has its own entry of a parameter, so that its first axis is the cells.

        Args:
            name: The name of the parameter, as in `own`.
        """
        return self.mode == "per_cell" or name.startswith(("left_", "right_")) or name == "mixture"

    def part(self, cells: slice, own: Iterable[Tensor] | None = None) -> dict[str, Tensor]:
        """Returns the parameters that some cells depend on, by name; `of` makes their weights from them.

        What each cell has for itself is cut down to these cells, what cells share comes whole.

        Args:
            cells: Which cells, of those that are here.
            own: Tensors in place of the parameters, in their order; None = the parameters themselves. (An executor that
                computes gradients by hand passes leaves of its own.)
        """
        named = zip(self.own, self.own.values() if own is None else own, strict=True)
        return {name: weight[cells] if self.is_per_cell(name) else weight for name, weight in named}

    def of(self, part: Mapping[str, Tensor], cells: slice) -> dict[str, Tensor]:
        """Returns the weights of some cells by name: (n, *shape), or (*shape) where all cells share them.

        Args:
            part: What `part(cells)` returns, or tensors in its place.
            cells: Which n cells.
        """
        if self.mode in ("per_cell", "shared"):
            return dict(part)
        if self.mode == "low_rank":
            # Vectors have no low-rank part: one of rank 1 would be as large as the vector itself.
            return {
                name: part[name] + part[f"left_{name}"] @ part[f"right_{name}"] if len(slot.shape) == 2 else part[name]
                for name, slot in self.slots.items()
            }
        if self.kind_of is not None:
            # Not part[kinds]: threads would sum its gradient in any order, and two runs would differ.
            return {name: part[name].index_select(0, self.kind_of[cells]) for name in self.slots}
        # (n, types) · (types, *shape): the weights of a mixed cell are made for these n cells only.
        share = part["mixture"].softmax(dim=-1)
        return {name: torch.tensordot(share, part[name], dims=1) for name in self.slots}

    def share_with_gradient(self) -> float | None:
        """Returns the share of cells, 0 to 1, that have a weight with a gradient other than zero; None without gradients.

        A weight that cells share counts for all of them. Where weights move inside the backward pass, no gradient is left.
        """
        if all(weight.grad is None for weight in self.own.values()):
            return None
        reached = torch.zeros(self.held, dtype=torch.bool)
        for name, weight in self.own.items():
            if weight.grad is None:
                continue
            nonzero = (weight.grad != 0).flatten(1).any(dim=1).cpu() if weight.grad.ndim > 1 else (weight.grad != 0).cpu()
            if self.is_per_cell(name):
                reached |= nonzero
            elif self.kind_of is not None:
                reached |= nonzero[self.kind_of.cpu()]  # (types,) -> (cells,)
            else:
                reached |= nonzero.any()
        if self.share is not None:
            return sum(self.share.ranks.gather_objects(int(reached.sum()))) / self.cells
        return float(reached.float().mean())

    def small(self) -> list[nn.Parameter]:
        """Returns the parameters of which a cell has a vector, or a matrix of fewer than `SMALL` numbers."""
        return [
            weight
            for name, weight in self.own.items()
            if name in self.slots and (len(self.slots[name].shape) == 1 or math.prod(self.slots[name].shape) < SMALL)
        ]

    def elsewhere(self) -> int:
        """Returns how many numbers other ranks have for their cells."""
        here = sum(weight.numel() for name, weight in self.own.items() if self.is_per_cell(name))
        return here // self.held * (self.cells - self.held)

    def count(self) -> int:
        """Returns how many numbers are trained, those of all cells together."""
        return sum(weight.numel() for weight in self.own.values())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns x · weight + bias for each cell, (n, B, outputs).

    Args:
        x: The inputs of n cells, (n, B, inputs).
        weight: The cells' matrices, (n, inputs, outputs), or one that they share, (inputs, outputs).
        bias: The cells' vectors, (n, outputs), or a shared one, (outputs); None = no bias.
    """
    if weight.ndim == 2:
        out = x @ weight
        return out if bias is None else out + _beside_batch(bias)
    if bias is None:
        return torch.bmm(x, weight)
    # One call for product and sum: with small matrices the calls take longer than the numbers.
    return torch.baddbmm(_beside_batch(bias).expand(len(x), 1, -1), x, weight)


def digest_of(module: nn.Module) -> str:
    """Returns the digest of a module's weights, 16 hexadecimal digits: equal weights have equal names, wherever they lie."""
    digest = hashlib.sha256()
    # Sorted by name: the order in which layers were built must not matter.
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Returns rows with mean 0 and variance 1, scaled and shifted, (n, B, F) (Ba et al. 2016).

    Args:
        x: The rows of n cells, (n, B, F).
        scale: A factor for each feature, (n, F), or shared, (F,).
        shift: A number added to each feature, (n, F), or shared, (F,).
    """
    return torch.nn.functional.layer_norm(x, x.shape[-1:]) * _beside_batch(scale) + _beside_batch(shift)


def _beside_batch(vector: Tensor) -> Tensor:
    """Gives a vector of each cell, (n, F), an axis for the batch, (n, 1, F); a shared one, (F,), stays as it is."""
    return vector.unsqueeze(-2) if vector.ndim == 2 else vector
