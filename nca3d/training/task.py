"""What a run trains for, as the loop sees it: where states begin, what they should become, and how well they did."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs
from nca3d.training.course import Look

# What the states of one iteration should become: a `Target`, or a batch of questions.
Goal = TypeVar("Goal")


class InBackward(Protocol):
    """Moves weights as soon as their gradient is known, and never has all gradients at once.

    Within `noting` the backward pass notes what the gradients follow from. Then either `step` moves the weights, or `forget`
    leaves them.
    """

    def noting(self) -> AbstractContextManager[None]:
        """A context in which a backward pass leaves these weights without gradient, and notes what it takes."""

    def surely_finite(self) -> bool:
        """Whether no gradient to come can be other than finite, by what is known of weights, states and what flows back."""

    def write_gradients(self) -> None:
        """Writes the gradients into the parameters after all, so that they can be looked at."""

    def step(self) -> None:
        """Moves the weights, as the optimizer would."""

    def forget(self) -> None:
        """Leaves the weights as they are."""


class Task(Protocol[Goal]):
    """What a run trains for: a body to grow (`growth.Growth`), or what another wing trains.

    A task is made of a config and, optionally, of what the config names where that is loaded already (a `Target`, questions):
    `Growth(config, given)`. The loop doesn't look into a goal, it only hands it on.

    Attributes:
        config: the experiment.
        weights: weights of the loss terms, by name.
        headline: name of the metric that the progress bar shows.
        subject: what the run folder is named after; "" = what the config names.
        pooled: whether evolved states come back; else each iteration begins with the seed.
        damaging: whether some pooled states are damaged.
        curriculum: share of the iterations, 0..1, over which the range of steps grows to its full length.
        ageing: pooled states run on without gradient for at most this many steps, now and then; 0 = never.
        epoch: iterations of one pass over what is learnt from; 0 = there is no such thing.
        device: where the rule runs; the trainer sets it.
        fixed: entries of the card that a resumed run must find unchanged, each with what it decides (for the error).
    """

    config: Config
    weights: dict[str, float]
    headline: str
    subject: str
    pooled: bool
    damaging: bool
    curriculum: float
    ageing: int
    epoch: float
    device: torch.device
    fixed: Mapping[str, str]

    def check_rule(self, rule: Rule) -> None:
        """Refuses a rule that can't be trained for this task.

        Raises:
            InputError: the rule shows something else than the task needs.
        """

    def build_rule(self) -> Rule:
        """Returns a fresh rule, whose weights follow from the config's random_seed."""

    def lr_multipliers(self, rule: Rule) -> dict[nn.Parameter, float]:
        """Returns the parameters with a learning rate of their own, as multiples of the config's learning rate."""

    def in_full(self, rule: Rule) -> list[nn.Parameter]:
        """Returns the parameters whose optimizer state has 32 bits, also where the config asks for 8."""

    def in_backward(self, rule: Rule, optimizer: torch.optim.Optimizer) -> InBackward | None:
        """Returns what moves each cell's own weights as soon as their gradient is known; None where cells have none.

        Raises:
            InputError: It can't be had for this rule on this machine.
        """

    def card(self) -> dict[str, Any]:
        """Returns what a loaded rule should know of its training: its `card`."""

    def seed(self, rule: Rule) -> Tensor:
        """Returns the states that everything begins with, (L, C, D, H, W): one for each body that the rule is to grow."""

    def pool_loss(self, rule: Rule, states: Tensor, label: int) -> Tensor:
        """Returns how bad pooled states (B, C, D, H, W) of one body are, (B,): the worst goes back to the seed."""

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """Returns the cells of states (B, C, D, H, W) that damage may destroy, bool (B, D, H, W)."""

    def draw(self, iteration: int, labels: Tensor) -> Goal:
        """Returns the goal of an iteration 1, 2, …, which goes to the methods below and to the loss terms.

        Args:
            iteration: the iteration.
            labels: which body each sample is to become, int64 (B,).
        """

    def subset(self, goal: Goal, ids: Tensor) -> Goal:
        """Returns the goal of the samples `ids` alone, int64 (n,), where a batch is split into parts."""

    def condition(self, goal: Goal) -> Tensor | None:
        """Returns which body the cells of each sample are told to grow, int64 (B,); None for nothing."""

    def terms(self, moments: Tensor, goal: Goal, rule: Rule) -> dict[str, Tensor]:
        """Returns the weighted loss terms of recorded states (T, B, C, D, H, W), by name, (B,) each."""

    def inputs(self, rule: Rule, goal: Goal) -> Inputs | None:
        """Returns what the cells are fed in every step; None for nothing."""

    def metrics(self, rule: Rule, states: Tensor, goal: Goal) -> dict[str, float]:
        """Returns metrics of an iteration's final states (B, C, D, H, W), by name; `headline` is among them."""

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Returns metrics of states (B, C, D, H, W) that are too slow for every iteration; the log has their means."""

    def fault(self, rule: Rule) -> str:
        """Returns why what a trained rule does at the horizon makes the run a failed one; "" if it lives and is finite."""

    def look(self, rule: Rule, iteration: int) -> Look | None:
        """Returns what a trained rule grows after an iteration; None for a task that does not end early."""

    def note(self, rule: Rule) -> str:
        """Returns what to show before training begins; "" for nothing."""

    def keep(self, folder: Path) -> dict[str, Any]:
        """Saves in the run folder what the trained rule needs besides its weights.

        Returns:
            The fields of the config that change by it, such as the path of a saved target.
        """
