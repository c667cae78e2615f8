"""Parameters of which each rank has some rows: their checkpoint is whole, and what is decided by them, all ranks decide alike.

A rule says which they are (`Rule.sharded`). The rows of the optimizer's state and of a running average are those of the
parameter. Where a rule has none, nothing here does anything, and nobody needs to ask.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.errors import InputError
from nca3d.ranks import ALONE, current
from nca3d.rules.cell import Rule
from nca3d.training.optimizer_state import pack_optimizer


class Shards:
    """Which parameters of a rule are split among ranks, and which rows each rank has.

    All ranks call what is here at the same point.

    Args:
        rule: the rule.

    Attributes:
        places: by name, the rows of each rank, int64 (n,), in the order of ranks; {} where every rank has the whole rule.
    """

    def __init__(self, rule: Rule) -> None:
        own = rule.sharded()
        self.ranks = current() if own else ALONE
        tables = self.ranks.gather_objects(own)
        self.places = {name: [table[name] for table in tables] for name in own}
        self._names = {id(parameter): name for name, parameter in rule.named_parameters() if name in own}

    # A checkpoint ----------------------------------------------------------------------------------------------------

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns tensors of all rows on rank 0, which alone needs the memory for it; {} on the others.

        Args:
            tensors: by the parameters' names, of this rank's rows; those of other names are passed on.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in tensors.items():
            one = self.ranks.rows_on_first(tensor.detach(), self.places[name]) if name in self.places else tensor
            if one is not None and self.ranks.first:
                found[name] = one
        return found

    def part(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns this rank's rows of whole tensors, by the parameters' names; those of other names are passed on."""
        return {name: self._rows(name, tensor) for name, tensor in tensors.items()}

    def planned(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns tensors without memory, of the shapes and dtypes that whole ones have, for this rank's; see `whole`."""
        return {name: tensor.new_empty(self._shape(name, tensor), device="meta") for name, tensor in tensors.items()}

    def pack(self, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns what `pack_optimizer` does, as if one process had all: on rank 0; on the others the tensors are missing.

        Args:
            optimizer: that of this rank's parameters.
        """
        tensors, scalars = pack_optimizer(optimizer)
        if not self.places:
            return tensors, scalars
        parameters, found = _parameters(optimizer), {}
        for key, tensor in tensors.items():
            name = self._name_of(parameters, key)
            # A counter of steps has no rows.
            sharded = name is not None and tensor.ndim > 0
            one = self.ranks.rows_on_first(tensor, self.places[name]) if name is not None and sharded else tensor
            if one is not None and self.ranks.first:
                found[key] = one
        return found, scalars | {"shapes": self._shapes(optimizer)}

    def part_of_optimizer(
        self, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns what of a packed state belongs to this rank, as `unpack_optimizer` takes it; what doesn't fit is passed on.

        Args:
            optimizer: that of this rank's parameters.
            tensors: those of the whole state.
            scalars: those of the whole state.
        """
        parameters, found = _parameters(optimizer), {}
        for key, tensor in tensors.items():
            name = self._name_of(parameters, key)
            found[key] = tensor if name is None else self._rows(name, tensor)
        own: dict[str, Any] = dict(scalars)
        # Whether the shapes are those of the whole is looked at here, since they are told as this rank's from here on.
        if self.places and own.get("shapes") == self._shapes(optimizer):
            own["shapes"] = [[list(parameter.shape) for parameter in group["params"]] for group in optimizer.param_groups]
        return found, own

    def check(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuses an optimizer whose state is not of the parameters' rows.

        Raises:
            InputError: 8 bits share a scale among numbers that follow one another, wherever a row ends.
        """
        if self.places and not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
            found = f"{type(optimizer).__name__} where {self.ranks.size} processes share cells out"
            raise InputError("config", "optimizer", found, "adam, adamw")

    # What all decide alike -------------------------------------------------------------------------------------------

    def norms(self, parameters: Sequence[nn.Parameter]) -> Tensor:
        """Returns the norm of each parameter's gradient, of all its rows, (n,).

        Args:
            parameters: those with a gradient, at least one; the same on every rank.
        """
        norms = torch.stack([torch.linalg.vector_norm(parameter.grad) for parameter in parameters])
        places = [n for n, parameter in enumerate(parameters) if id(parameter) in self._names]
        if places:
            # In the order of ranks, so that all come to the same bits.
            by_rank = torch.stack(self.ranks.gather(norms[places].double()))
            norms[places] = by_rank.square().sum(dim=0).sqrt().to(norms.dtype)
        return norms

    def sum(self, number: float) -> float:
        """Returns the sum of each rank's number, in the order of ranks; where nothing is split, the number."""
        return math.fsum(self.ranks.gather_objects(number)) if self.places else number

    def spread_infinity(self, parameters: Iterable[nn.Parameter]) -> None:
        """Makes a gradient infinite on every rank where one isn't finite on any: a scaler of losses looks at its own alone."""
        grads = [p.grad for p in parameters if p.grad is not None and id(p) in self._names]
        if grads and self.ranks.any(not math.isfinite(float(nn.utils.get_total_norm(grads)))):
            grads[0].view(-1)[0] = math.inf

    # -----------------------------------------------------------------------------------------------------------------

    def _rows(self, name: str, tensor: Tensor) -> Tensor:
        """Returns this rank's rows; a tensor that has not the rows of the whole as it is: a check that follows names it."""
        places = self.places.get(name)
        if places is None or not tensor.ndim or len(tensor) != sum(map(len, places)):
            return tensor
        return tensor[places[self.ranks.rank].to(tensor.device)]

    def _shape(self, name: str | None, tensor: Tensor) -> list[int]:
        places = self.places.get(name or "")
        return list(tensor.shape) if places is None else [sum(map(len, places)), *tensor.shape[1:]]

    def _shapes(self, optimizer: torch.optim.Optimizer) -> list[list[list[int]]]:
        """Returns the shapes of the whole parameters, group by group."""
        return [[self._shape(self._names.get(id(p)), p) for p in group["params"]] for group in optimizer.param_groups]

    def _name_of(self, parameters: Sequence[Tensor], key: str) -> str | None:
        """Returns the name of the split parameter that a tensor of a packed state belongs to; None for one that isn't split."""
        number = key.partition(".")[0]
        return self._names.get(id(parameters[int(number)])) if number.isdigit() and int(number) < len(parameters) else None


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
