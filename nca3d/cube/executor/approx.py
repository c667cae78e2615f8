"""The executor `event-approx`: cells whose input changed by no more than `activity_threshold` reuse their last answer.

For rules without an alive mask, where `event` can leave nothing out: a cube that has settled does little. A cell's input is
compared with the one that it was last computed for, so slow drifts are not lost: they add up until the cell is asked again, and
no input is ever off by more than the threshold. What is reused is the rule's proposal, not the change of state: in the leaky
preset the state goes on towards it, and at a fixed point nothing drifts. With a threshold of 0 only cells whose input did not
change at all rest, and the answer is that of `dense`.

It has no gradient. `report` measures what it saves in a case of one's own, and by how much it is off.
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
    """The executor. What cells remember lasts for one call; `opened` gives one that remembers from call to call."""

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Steps start .. stop−1 of a dense or compact state; the answer has the same form."""
        return self.opened(THRESHOLD)(rule, state, draw, start, stop, memory)

    def opened(self, activity_threshold: float) -> "Opened":
        """An executor for one rollout, which may ask it in several parts: recording states on the way changes nothing.

        Raises:
            ValueError: a threshold below 0.
        """
        return Opened(activity_threshold)


APPROX = Approx()


class Opened:
    """The executor of one rollout: of one rule, and of states that each continue the last one."""

    def __init__(self, activity_threshold: float) -> None:
        if not 0 <= activity_threshold < math.inf:
            raise ArgumentError("activity_threshold", activity_threshold, "0 or more")
        self.threshold = activity_threshold
        self.resting: RestingCells | RestingRows | None = None

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Steps start .. stop−1 of a dense or compact state; the answer has the same form.

        Raises:
            ValueError: a rule that it can't run, or gradients that it can't give; the line says what can.
        """
        refuse(rule, state)
        with torch.no_grad():
            return EveryCell(self._steps)(rule, state, draw, start, stop, memory)

    @property
    def counts(self) -> list[tuple[int, int]]:
        """Of each step so far, how many cells (of all samples) were computed and how many fired."""
        return [] if self.resting is None else self.resting.counts

    def _steps(self, rule: Rule, state: Tensor, fire: Tensor, clock: Clock) -> Tensor:
        if self.resting is None:
            kind = RestingCells if rule.stepper == "gmlp" else RestingRows
            self.resting = kind(rule, self.threshold, state)
        return self.resting.run(state, fire, clock)


def refuse(rule: Rule, state: Tensor | Compact) -> None:
    """Raises ValueError for what can't be run without knowing more of the rule, or with gradient."""
    inner, inputs = (rule.rule, rule.inputs) if isinstance(rule, RuleWithInputs) else (rule, Inputs())
    found = f"'event-approx' for {type(inner).__name__}, which"
    if rule.alive_threshold is not None:
        raise ArgumentError("executor", f"{found} has an alive mask", "'event', which is exact where cells can be dead")
    if not (rule.stepper == "gmlp" or fits(rule)):
        raise ArgumentError("executor", f"{found} has a step of its own (it overrides forward or alive_mask)", "'dense'")
    if inner.training and getattr(inner, "dropout", False):
        raise ArgumentError(
            "executor", f"{found} drops out in training, so that no answer holds for long", "'dense', or rule.eval()"
        )
    values = state.values if isinstance(state, Compact) else state
    asked = (values, *(part for part in inputs if part is not None), *rule.parameters())
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in asked):
        raise ArgumentError("executor", "'event-approx' where gradients are asked for", "'dense', or torch.no_grad()")


@dataclass(frozen=True)
class ApproxReport:
    """What `event-approx` saved in one rollout, and how far its last state is off.

    Args:
        activity_threshold: that it ran with.
        error_max, error_mean: of |approximate − dense| over all numbers of the last state, relative to max|dense|.
        saved: the share of cell updates (cells that fire, over samples and steps) that were not computed.
        saved_by_step: the same of each step.
        seconds_dense, seconds_approx: measured once each, in this process.
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
    """Run the same steps densely and approximately, without dropout.

    Args:
        rule: one without an alive mask.
        state: float (B, C, D, H, W).
        steps: how many, 1 or more.
        activity_threshold: see the module.
        inputs: what comes from outside in every step, as in `rollout`.
        random_seed: chooses the fire masks.

    Raises:
        ValueError: no steps, or what the executor refuses.
    """
    if steps < 1:
        raise ArgumentError("steps", steps, "1 or more")
    ids = torch.arange(len(state), device=state.device)
    draw = Draw(random_seed, 0, ids, as_size(tuple(state.shape[2:])), rule.fire_rate, steps)
    run_rule = rule if inputs is None else RuleWithInputs(rule, Inputs.of(inputs).to(state))
    opened = Opened(activity_threshold)
    seconds: list[float] = []
    ends: list[Any] = []
    training = rule.training
    run_rule.eval()
    try:
        for run in (EXECUTORS["dense"], opened):
            start = time.perf_counter()
            ends.append(run(run_rule, state, draw, 0, steps, Memory.of("auto", None)))
            if state.is_cuda:  # until it has done what it was asked
                torch.cuda.synchronize(state.device)
            seconds.append(time.perf_counter() - start)
    finally:
        rule.train(training)
    dense, approx = ends
    off, most = (approx - dense).abs(), float(dense.abs().max().clamp_min(1e-30))
    computed, fired = (sum(count) for count in zip(*opened.counts, strict=True))
    by_step = tuple(1 - some / max(1, all_) for some, all_ in opened.counts)
    saved = 1 - computed / max(1, fired)
    return ApproxReport(activity_threshold, float(off.max()) / most, float(off.mean()) / most, saved, by_step, *seconds)
