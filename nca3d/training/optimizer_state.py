"""An optimizer's state as plain tensors and scalars, and back, bit for bit.

PyTorch's own `load_state_dict` casts every state tensor to its parameter's dtype, which silently turns the uint8 state of
8-bit optimizers into float32, and it accepts another optimizer's state without a word. That is why this file exists.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import InputError
from nca3d.training.eight_bit import BLOCK

_WHERE = "checkpoint: optimizer"
# Entries of a state that count, or that are running means of squares: a root is taken of them.
_NEVER_NEGATIVE = ("step", "exp_avg_sq", "state2", "absmax1", "absmax2")


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
    scalars: dict[str, Any] = {"type": _type(optimizer), "shapes": _shapes(optimizer), "tensors": len(tensors)}
    scalars |= {"groups": _plain(groups), "states": _plain(states)}
    return tensors, scalars


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Restores a packed state: dtypes and bits unchanged, each tensor on its parameter's device; of the options the rate alone.

    The other options are what the optimizer was made with: a run may go on with others than it began with.

    Args:
        optimizer: is changed in place.
        tensors: of any shape, as `pack_optimizer` returned them.
        scalars: as `pack_optimizer` returned them.

    Raises:
        InputError: the state belongs to another type of optimizer or to other shapes, or is of another type, shape or sign than
            this optimizer's; the optimizer is untouched.
    """
    states = _checked(optimizer, tensors, scalars)
    for group, loaded in zip(optimizer.param_groups, scalars["groups"], strict=True):
        group["lr"] = loaded.get("lr", group["lr"])
        # Adam's step counter stays on the CPU unless the optimizer says otherwise.
        on_device = bool(group.get("capturable") or group.get("fused"))
        for parameter in group["params"]:
            state = states.pop(0)
            for key, value in state.items():
                if isinstance(value, Tensor):
                    # A copy: the optimizer changes its state in place, and the checkpoint's tensors are not its own.
                    own = value.clone()
                    state[key] = own.to(parameter.device) if key != "step" or on_device else own
            # A parameter that had no gradient yet has no state, and must not keep an old one.
            optimizer.state.pop(parameter, None)
            if state:
                optimizer.state[parameter] = state


def check_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    """Checks a packed state as `unpack_optimizer` does, and changes nothing.

    Args:
        optimizer: what the state shall go into.
        tensors: of any shape, as `pack_optimizer` returned them.
        scalars: as `pack_optimizer` returned them.

    Raises:
        InputError: see `unpack_optimizer`.
    """
    _checked(optimizer, tensors, scalars)


def _checked(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns the state of each parameter, once all of it is known to be one of this optimizer."""
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
        places[place][key] = tensor
    # Without them the run would go on as if it had just begun, and nobody would see. Version 0.1.0 did not count them.
    if scalars.get("tensors", len(tensors)) != len(tensors):
        raise InputError(_WHERE, "tensors", len(tensors), f"{scalars['tensors']}, as many as were saved")
    for number, (group, loaded) in enumerate(zip(optimizer.param_groups, groups, strict=True)):
        _check_options(f"groups[{number}]", group, loaded)
    for number, (parameter, state) in enumerate(zip(_parameters(optimizer), states, strict=True)):
        _check_state(f"states[{number}]", parameter, state)
    return states


def _check_options(name: str, group: Mapping[str, Any], loaded: Mapping[str, Any]) -> None:
    """Checks that the options of a group are of the types that the optimizer's are."""
    for key, value in loaded.items():
        # The reverse, an option that the file lacks, is an older version's file: the option stays as it is.
        if key not in group:
            raise InputError(_WHERE, f"{name}.{key}", "an option", ", ".join(group))
        own = group[key]
        # JSON has no tuples, and betas is one.
        many = isinstance(own, tuple)
        values, wanted = (value, "numbers") if many and isinstance(value, list) else ([value], "a finite number")
        fits = all(isinstance(one, int | float) and math.isfinite(one) for one in values)
        if many:
            fits &= isinstance(value, list) and len(value) == len(own)
        elif own is None or isinstance(own, bool):
            fits, wanted = value is None or isinstance(value, bool | int | float), "true, false or null"
        if not fits or (key == "lr" and not isinstance(value, Tensor) and not 0 <= value <= 1):
            raise InputError(_WHERE, f"{name}.{key}", repr(value), f"{wanted}, such as {own}")


def _check_state(name: str, parameter: Tensor, state: Mapping[str, Any]) -> None:
    """Checks that the state of a parameter is whole and of the types, shapes and signs of this kind of optimizer."""
    expected = _expected(parameter, state)
    if not state or expected is None:
        return
    for key in sorted(expected.keys() | state.keys()):
        if key not in state or key not in expected:
            found = "no such entry" if key not in state else "an unknown entry"
            raise InputError(_WHERE, f"{name}.{key}", found, f"{', '.join(expected)}, or none of them")
        value, (dtype, shape) = state[key], expected[key]
        if dtype is int:
            if type(value) is not int or value < 0:
                raise InputError(_WHERE, f"{name}.{key}", repr(value), "a whole number, 0 or more")
        elif not isinstance(value, Tensor) or value.dtype != dtype or tuple(value.shape) != shape:
            found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
            raise InputError(_WHERE, f"{name}.{key}", found, f"{dtype} {shape}")
        elif key in _NEVER_NEGATIVE and bool((value < 0).any()):
            raise InputError(_WHERE, f"{name}.{key}", "a negative number", "0 or more: it counts, or sums squares")


def _expected(parameter: Tensor, state: Mapping[str, Any]) -> dict[str, tuple[Any, tuple[int, ...]]] | None:
    """Returns dtype and shape of each entry of a parameter's state; None for an optimizer that a config can't name."""
    like = (parameter.dtype, tuple(parameter.shape))
    if "exp_avg" in state or "exp_avg_sq" in state:
        return {"step": (torch.float32, ()), "exp_avg": like, "exp_avg_sq": like}
    if "state1" not in state:
        # torch's optimizers count their steps in a tensor, bitsandbytes' in a number.
        return None if "momentum_buffer" in state or not state else {"step": (torch.float32, ()), "exp_avg": like}
    if getattr(state["state1"], "dtype", None) != torch.uint8:
        return {"step": (int, ()), "state1": like, "state2": like}
    eight, blocks = (torch.uint8, like[1]), (torch.float32, (-(-parameter.numel() // BLOCK),))
    table = (torch.float32, (256,))
    parts = {f"state{n}": eight for n in (1, 2)} | {f"qmap{n}": table for n in (1, 2)} | {f"absmax{n}": blocks for n in (1, 2)}
    return {"step": (int, ()), **parts}


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
