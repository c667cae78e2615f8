"""A rule made anew from its record and its weights, once these are known to fit: nothing is cast, and no room made for more."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nca3d.config.shipped import one_line
from nca3d.errors import InputError
from nca3d.rules import RULES
from nca3d.rules.cell import Rule


def rebuild(
    where: object, record: Mapping[str, Any], tensors: Mapping[str, Tensor], card: dict[str, Any], hint: str = ""
) -> Rule:
    """Returns a rule with these weights, ready to run.

    Args:
        where: source of the record, for errors.
        record: name and options of its constructor, see `training.build.rule_record`.
        tensors: its state_dict, of any shape.
        card: what it knows of its training.
        hint: what an error adds if the rule is not registered.

    Raises:
        InputError: there is no such rule, or record and weights don't fit it.
    """
    try:
        name = record["name"]
        make = RULES.find(name, where, "rule", hint)
        _compare(where, make, record["options"], tensors)
        rule: Rule = make(**record["options"])
        rule.load_state_dict(tensors)
    except InputError:
        raise
    # ValueError is how a rule refuses its options.
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, MemoryError, RecursionError) as error:
        raise InputError(where, "rule", error, "weights that fit the rule that the checkpoint describes") from error
    # Code of the user's own: he may have several files that register a rule of this name.
    if file := RULES.plugins.get(name):
        print(f"{where}: rule {name!r} comes from the plug-in {one_line(file)}", file=sys.stderr)
    rule.card = card
    return rule.eval()


def check_same_tensors(
    where: object, name: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], who_asks: str
) -> None:
    """Checks that two sets of tensors have the same names, shapes and dtypes: torch would cast in silence.

    Args:
        where: where the tensors come from, for the message.
        name: what they are, for the message.
        found: tensors of any shape, by name.
        expected: tensors of any shape, by name.
        who_asks: why these are expected, for the message.

    Raises:
        InputError: a tensor is missing, superfluous, of another shape or dtype; the message names it.
    """
    for key in sorted(found.keys() | expected.keys()):
        one, other = found.get(key), expected.get(key)
        if one is not None and other is not None and one.shape == other.shape:
            told, wanted = str(one.dtype), str(other.dtype)
        else:
            told, wanted = ("no such tensor" if t is None else str(tuple(t.shape)) for t in (one, other))
        if told != wanted:
            raise InputError(where, f"{name}: {key}", told, f"{wanted}, as {who_asks}")


def _compare(where: object, make: Callable[..., Rule], options: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Compares a rule's tensors with those that its options ask for, without making these: options may ask for any size."""
    try:
        # On this device tensors have shapes and no memory.
        with torch.device("meta"):
            planned = make(**options).state_dict()
    except InputError:
        raise
    # A rule of somebody's own may need numbers to be made: what is wrong with it shows when it is made in earnest.
    except Exception:
        return
    check_same_tensors(where, "rule.safetensors", tensors, planned, "the rule's options ask")
