"""An optimizer's state as plain tensors and scalars, and back, bit for bit.

PyTorch's own `load_state_dict` casts every state tensor to its parameter's dtype, which silently turns the uint8 state of
8-bit optimizers into float32, and it accepts another optimizer's state without a word. That is why this file exists.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import InputError

_WHERE = "checkpoint: optimizer"


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the state as tensors and as scalars that JSON can hold.

    Args:
        optimizer: any optimizer of torch's interface.

    Returns:
        Tensors of any shape named "<parameter>.<key>" or "group<n>.<key>", and scalars: type, shapes, groups and states.
    """
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    states = [optimizer.state.get(parameter, {}) for parameter in _parameters(optimizer)]
    places = _places(groups, states).items()
    tensors = {f"{place}.{key}": value for place, entry in places for key, value in entry.items() if isinstance(value, Tensor)}
    scalars = {"type": _type(optimizer), "shapes": _shapes(optimizer), "groups": _plain(groups), "states": _plain(states)}
    return tensors, scalars


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Restores a packed state: dtypes and bits unchanged, each tensor on its parameter's device.

    Args:
        optimizer: is changed in place.
        tensors: of any shape, as `pack_optimizer` returned them.
        scalars: as `pack_optimizer` returned them.

    Raises:
        InputError: the state belongs to another type of optimizer or to other shapes; the optimizer is untouched.
    """
    for key, expected in (("type", _type(optimizer)), ("shapes", _shapes(optimizer))):
        if scalars.get(key) != expected:
            if key == "type":
                found = f"that of {scalars.get(key)}, where this config asks for {expected}"
                raise InputError(_WHERE, key, found, "the optimizer that the run began with")
            raise InputError(_WHERE, key, scalars.get(key), f"{expected}, as the optimizer of this config has")
    for key, length in (("groups", len(optimizer.param_groups)), ("states", len(_parameters(optimizer)))):
        tables = scalars.get(key)
        if not isinstance(tables, list) or len(tables) != length or not all(isinstance(table, dict) for table in tables):
            raise InputError(_WHERE, key, tables, f"a list of {length} tables")
    states: list[dict[str, Any]] = [dict(state) for state in scalars["states"]]
    groups: list[dict[str, Any]] = [dict(group) for group in scalars["groups"]]
    places = _places(groups, states)
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        if place not in places or not key:
            raise InputError(_WHERE, name, "a tensor of that name", f"tensors of {len(states)} parameters")
        # A copy: the optimizer changes its state in place, and the checkpoint's tensors are not its own.
        places[place][key] = tensor.clone()
    for group, loaded in zip(optimizer.param_groups, groups, strict=True):
        # The reverse, an option that the file lacks, is an older version's file: the option stays as it is.
        for key in loaded.keys() - group.keys():
            raise InputError(_WHERE, key, "an option", ", ".join(group))
    for group, loaded in zip(optimizer.param_groups, groups, strict=True):
        for key, value in loaded.items():
            # JSON has no tuples, and betas is one.
            group[key] = tuple(value) if isinstance(group[key], tuple) else value
        # Adam's step counter stays on the CPU unless the optimizer says otherwise.
        on_device = bool(group.get("capturable") or group.get("fused"))
        for parameter in group["params"]:
            state = states.pop(0)
            for key, value in state.items():
                if isinstance(value, Tensor) and (key != "step" or on_device):
                    state[key] = value.to(parameter.device)
            # A parameter that had no gradient yet has no state, and must not keep an old one.
            optimizer.state.pop(parameter, None)
            if state:
                optimizer.state[parameter] = state


def _places(groups: list[dict[str, Any]], states: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the tables of groups and parameters, by the part of their tensors' names before the dot."""
    by_group = {f"group{number}": group for number, group in enumerate(groups)}
    return by_group | {str(index): state for index, state in enumerate(states)}


def _plain(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the tables without their tensors."""
    return [{key: value for key, value in table.items() if not isinstance(value, Tensor)} for table in tables]


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _shapes(optimizer: torch.optim.Optimizer) -> list[list[list[int]]]:
    return [[list(parameter.shape) for parameter in group["params"]] for group in optimizer.param_groups]


def _type(optimizer: torch.optim.Optimizer) -> str:
    """Returns the optimizer's package and class: torch's AdamW and another package's are not the same."""
    return f"{type(optimizer).__module__.split('.')[0]}.{type(optimizer).__name__}"
