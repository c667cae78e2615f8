"""How rules with a step of their own are run: a rule names its stepper, and brings it along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from nca3d.executors.every_cell import Steps
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact


@dataclass(frozen=True)
class Stepper:
    """The step of one kind of rule.

    Args:
        runs: by executor, the function that runs some steps of every cell (`Steps`).
        step_bytes: what one step keeps for its backward pass, in bytes.
        not_compiled: why the run "compiled" can't be had for a rule and a state, or "".
    """

    runs: Mapping[str, Steps]
    step_bytes: Callable[[Rule, Tensor], int]
    not_compiled: Callable[[Rule, Tensor | Compact], str] = lambda rule, state: "has a step of its own that nobody compiled"


STEPPERS = Registry("stepper")


def stepper_of(rule: Rule) -> Stepper | None:
    """The rule's own; None for rules that any executor can run."""
    return STEPPERS.find(rule.stepper) if rule.stepper else None
