"""A rule as a config asks for it, and on which device."""

import inspect
from typing import Any

import torch
from torch import Tensor

from nca3d.config import Config
from nca3d.errors import ArgumentError, InputError, nearest
from nca3d.registry import accepted_arguments, constructor_arguments
from nca3d.rules import RULES
from nca3d.rules.cell import Rule

# Arguments of rules that other fields of a config decide.
FOLLOWING = {"size", "embedding", "generator", "fire_rate", "step_size"}


def build_rule(config: Config, **options: Any) -> Rule:
    """A fresh rule with these options, those of all rules and the config's `rule_options`; or the one that `init` names.

    Raises:
        InputError: options that the rule does not take, or an `init` rule of other shapes.
    """
    make = RULES.find(config.rule)
    names = constructor_arguments(make)
    for name in config.rule_options:
        if name in FOLLOWING:
            raise InputError("config", "rule_options", name, "options of the rule alone: this one follows from other fields")
        if names is not None and name not in names:
            allowed = f"{', '.join(sorted(names - FOLLOWING))}{nearest(name, names - FOLLOWING)}"
            raise InputError("config", "rule_options", repr(name), allowed)
    options = {
        **options,
        "fire_rate": config.fire_rate,
        "step_size": config.step_size,
        "generator": torch.Generator().manual_seed(config.random_seed),
    }
    try:
        rule: Rule = make(**{**accepted_arguments(make, options), **config.rule_options})
    except ArgumentError as error:
        raise InputError("config", f"rule_options: {error.field}", error.found, error.allowed) from error
    except (TypeError, ValueError) as error:
        raise InputError("config", "rule_options", error, f"the arguments of rule {config.rule!r}") from error
    try:  # what a run keeps of its rule must be enough to make it anew
        inspect.signature(make).bind(**rule_record(rule, config.rule)["options"])
    except TypeError as error:
        raise InputError(
            "config", "rule", f"{config.rule!r}: {error}", "a rule whose spec() names its constructor's arguments"
        ) from None
    if config.init:
        from nca3d.load import load as load_rule

        started = load_rule(config.init)
        check_same_shapes(config.init, "init", started.state_dict(), rule.state_dict())
        rule.load_state_dict(started.state_dict())
    return rule


def rule_record(rule: Rule, asked: str) -> dict[str, Any]:
    """What makes a rule anew: `name` in `RULES`, that of its own class where it has one, and the `options` that this takes."""
    named = [name for name in RULES if RULES[name] is type(rule)]
    name = asked if asked in named or not named else named[0]
    return {"name": name, "options": accepted_arguments(RULES.get(name, type(rule)), rule.spec())}


def check_same_shapes(where: object, field_name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Raises InputError, naming the tensor, unless both have the same names and shapes."""
    for name in sorted(set(found) | set(wanted)):
        shapes = [str(tuple(tensors[name].shape)) if name in tensors else "no such tensor" for tensors in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise InputError(
                where,
                f"{field_name}: {name}",
                shapes[0],
                f"{shapes[1]}, as this config asks (channels, hidden, perception)",
            )


def choose_device(config: Config) -> torch.device:
    """The device that the config names; "auto" takes CUDA where there is one.

    Raises:
        InputError: "cuda" without a CUDA device.
    """
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("config", "device", "'cuda', and torch sees no CUDA device", "cpu, auto")
    return torch.device(config.device)
