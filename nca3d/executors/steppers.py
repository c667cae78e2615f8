"""How rules with a step of their own are run: a rule names its stepper, and brings it along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from nca3d.executors.every_cell import Steps
from nca3d.registry import Registry
from nca3d.rules.cell import Rule


@dataclass(frozen=True)
class Stepper:
    """The step of one kind of rule.

    Args:
        runs: by executor, the function that runs some steps of every cell (`Steps`).
        step_bytes: what one step keeps for its backward pass, in bytes.
    """

    runs: Mapping[str, Steps]
    step_bytes: Callable[[Rule, Tensor], int]


STEPPERS = Registry("stepper")


def stepper_of(rule: Rule) -> Stepper | None:
    """The rule's own; None for rules that any executor can run."""
    return STEPPERS.find(rule.stepper) if rule.stepper else None
