"""The executor `event-approx`: cells whose input changed by no more than `activity_threshold` reuse their last output.

Choose it for long rollouts without gradients of a rule that has no alive mask (there `event` can skip nothing), once most
cells have settled. `report` measures what it saves with your rule and state, and how large the error is. Where every cell goes
on changing, it saves nothing and is slower than `dense`.

A cell's input is compared with the one that it was last computed for, so slow drifts are not lost: they add up until the cell
is computed again, and no input is ever off by more than the threshold. What is reused is the rule's proposal, not the change of
state: in the leaky preset the state goes on towards it, and at a fixed point nothing drifts. With a threshold of 0 only
cells whose input did not change at all rest, and the result is that of `dense`.
"""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nca3d.cube.executor.resting import RestingCells, RestingRows, fits
from nca3d.errors import ArgumentError
from nca3d.executors import EXECUTORS
from nca3d.executors.every_cell import Clock, EveryCell
from nca3d.executors.memory import THRESHOLD, Memory
from nca3d.fire import Draw
from nca3d.lattice import as_size
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Inputs, RuleWithInputs
from nca3d.sparse import Compact


class Approx:
    """The executor `event-approx`, which forgets after each call what its cells computed.

    `opened` returns one that remembers from call to call, with a threshold of choice.
    """

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Runs steps start .. stop−1 with the default threshold; see `ApproxRollout.__call__`."""
        return self.opened(THRESHOLD)(rule, state, draw, start, stop, memory)

    def opened(self, activity_threshold: float) -> "ApproxRollout":
        """Returns an executor for one rollout, which may run in several calls: recording states on the way changes nothing.

        Args:
            activity_threshold: By how much any number of a cell's input may change before it is computed again, 0 or more.

        Raises:
            ArgumentError: The threshold is below 0.
        """
        return ApproxRollout(activity_threshold)


APPROX = Approx()


class ApproxRollout:
    """The executor of one rollout: of one rule, and of states that each continue the last one.

    Args:
        activity_threshold: See `Approx.opened`.

    Raises:
        ArgumentError: The threshold is below 0.
    """

    def __init__(self, activity_threshold: float) -> None:
        if not 0 <= activity_threshold < math.inf:
            raise ArgumentError("activity_threshold", activity_threshold, "0 or more")
        self.threshold = activity_threshold
        self.resting: RestingCells | RestingRows | None = None

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Runs steps start .. stop−1 of a rollout.

        Args:
            rule: The rule, alone or with its inputs; the same in every call.
            state: The state before step `start`, (B, C, D, H, W), or compact.
            draw: Draws the fire masks.
            start: The number of the first step within the rollout.
            stop: The number after the last one.
            memory: Is not used: nothing is saved for a backward pass.

        Returns:
            The state after the steps, in the form of `state`.

        Raises:
            ArgumentError: It can't run the rule, or can't give a gradient that may be needed; the message says what can.
        """
        refuse(rule, state)
        with torch.no_grad():
            return EveryCell(self._steps)(rule, state, draw, start, stop, memory)

    @property
    def counts(self) -> list[tuple[int, int]]:
        """For each step so far, how many cells (of all samples) were computed, and how many fired."""
        return [] if self.resting is None else self.resting.counts

    def _steps(self, rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        # Made here, at the first state: only then the batch, the dtype and the device are known.
        if self.resting is None:
            kind = RestingCells if rule.stepper == "gmlp" else RestingRows
            self.resting = kind(rule, self.threshold, state)
        return self.resting.run(state, fire, clock)


def refuse(rule: Rule, state: Tensor | Compact) -> None:
    """Refuses rules that can't be run without knowing more of them, and gradients.

    Args:
        rule: The rule, alone or with its inputs.
        state: The first state, (B, C, D, H, W), or compact.

    Raises:
        ArgumentError: The rule has an alive mask, a step of its own or dropout in training, or a backward pass may follow.
    """
    inner, inputs = (rule.rule, rule.inputs) if isinstance(rule, RuleWithInputs) else (rule, Inputs())
    found = f"'event-approx' for {type(inner).__name__}, which"
    if rule.alive_threshold is not None:
        raise ArgumentError("executor", f"{found} has an alive mask", "'event', which is exact where cells can be dead")
    if not (rule.stepper == "gmlp" or fits(rule)):
        raise ArgumentError("executor", f"{found} has a step of its own (it overrides forward or alive_mask)", "'dense'")
    if inner.training and getattr(inner, "dropout", False):
        raise ArgumentError(
            "executor", f"{found} has dropout in training, so that no output can be reused", "'dense', or rule.eval()"
        )
    values = state.values if isinstance(state, Compact) else state
    tensors = (values, *(part for part in inputs if part is not None), *rule.parameters())
    # Refused, not detached: a gradient that silently stops here would train nothing.
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise ArgumentError("executor", "'event-approx' where a gradient may be needed", "'dense', or torch.no_grad()")


@dataclass(frozen=True)
class ApproxReport:
    """How much work `event-approx` saved in one rollout, and how large the error of its last state is.

    Attributes:
        activity_threshold: The threshold that it ran with.
        error_max: The largest |approximate − dense| over all numbers of the last state, relative to max|dense|.
        error_mean: The mean of the same.
        saved: The share of cell updates (cells that fire, over samples and steps) that were not computed, 0 to 1.
        saved_by_step: The same share for each step.
        seconds_dense: The seconds that `dense` took, measured once, in this process.
        seconds_approx: The seconds that `event-approx` took, measured likewise.
    """

    activity_threshold: float
    error_max: float
    error_mean: float
    saved: float
    saved_by_step: tuple[float, ...]
    seconds_dense: float
    seconds_approx: float


@torch.no_grad()
def report(
    rule: Rule,
    state: Tensor,
    steps: int,
    *,
    activity_threshold: float = THRESHOLD,
    inputs: Tensor | Inputs | None = None,
    random_seed: int = 0,
) -> ApproxReport:
    """Runs the same steps with `dense` and with `event-approx`, without dropout, and compares them.

    Args:
        rule: A rule without an alive mask.
        state: The first state, float (B, C, D, H, W).
        steps: How many steps to run, 1 or more.
        activity_threshold: See `Approx.opened`.
        inputs: The inputs from outside in every step, as in `rollout`.
        random_seed: Chooses the fire masks.

    Returns:
        Errors, the work saved, and seconds.

    Raises:
        ArgumentError: There are no steps, or the executor can't run the rule.
    """
    if steps < 1:
        raise ArgumentError("steps", steps, "1 or more")
    ids = torch.arange(len(state), device=state.device)
    draw = Draw(random_seed, 0, ids, as_size(tuple(state.shape[2:])), rule.fire_rate, steps)
    run_rule = rule if inputs is None else RuleWithInputs(rule, Inputs.of(inputs).to(state))
    approx = ApproxRollout(activity_threshold)
    seconds: list[float] = []
    ends: list[Any] = []
    training = rule.training
    run_rule.eval()
    try:
        for run in (EXECUTORS["dense"], approx):
            start = time.perf_counter()
            ends.append(run(run_rule, state, draw, 0, steps, Memory.of("auto", None)))
            if state.is_cuda:  # a call only queues work on a GPU; the clock must wait until it is done
                torch.cuda.synchronize(state.device)
            seconds.append(time.perf_counter() - start)
    finally:
        rule.train(training)
    exact, approximate = ends
    # A state of zeros has no scale: any error is then reported as enormous, rather than as a division by zero.
    error, scale = (approximate - exact).abs(), float(exact.abs().max().clamp_min(1e-30))
    computed, fired = (sum(count) for count in zip(*approx.counts, strict=True))
    # In a step in which no cell fired nothing was to be saved, and the share is 1 − 0 / 1.
    by_step = tuple(1 - of_step / max(1, of_fired) for of_step, of_fired in approx.counts)
    saved = 1 - computed / max(1, fired)
    return ApproxReport(activity_threshold, float(error.max()) / scale, float(error.mean()) / scale, saved, by_step, *seconds)
