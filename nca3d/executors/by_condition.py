"""Bodies under several conditions in one batch: the samples of each condition run together, by the plain rule bound to it.

So every executor runs a rule that is told its condition as it runs any other, at the same cost, and no sample's condition can
touch another sample (law 16).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import event
from nca3d.executors.memory import Memory
from nca3d.fire import Draw
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import Condition, ConditionalRule
from nca3d.sparse import Compact, chosen, joined

# The samples under one condition, and that condition.
Group = tuple[list[int], Condition]


class ByCondition:
    """An executor for a rule that is told its condition; it stands in for the one that runs the bound rules.

    Args:
        rule: The rule.
        condition: Which body each sample is to grow, as `rollout` takes it.
        batch: The number of samples.
        steps: The number of steps.

    Attributes:
        changes: The steps at which a condition changes, rising, the first of them 0.

    Raises:
        ValueError: The condition names no body, or fits neither the batch nor the steps.
    """

    def __init__(self, rule: ConditionalRule, condition: object, batch: int, steps: int) -> None:
        self.rule = rule
        each = _per_step(condition, batch, steps)
        self.changes = [0, *(k + 1 for k, (one, other) in enumerate(pairwise(each)) if not _same(one, other))]
        self._groups = [grouped(rule, each[change], batch) for change in self.changes]
        # Bound once a condition: gradients of all steps then meet in one bias.
        self._bound: dict[object, Rule] = {}
        # Bound now, so that what names no body is refused before anything runs.
        self._rules = [[(samples, self._rule(one)) for samples, one in groups] for groups in self._groups]
        self._runs: dict[int, Callable[..., Any]] = {}
        self._open: Callable[[], Callable[..., Any]] | None = None

    def opened(self, open_run: Callable[[], Callable[..., Any]]) -> Self:
        """Returns the same on top of an executor: each bound rule is run by what `open_run()` returns, opened once for it."""
        self._open = open_run
        return self

    @property
    def first(self) -> Rule:
        """The rule of the first samples: all others differ from it in numbers alone."""
        return self._rules[0][0][1] if self._rules[0] else self._rule(self.rule.conditions[0])

    def _rule(self, condition: Condition) -> Rule:
        key = condition if isinstance(condition, str | int) else id(condition)
        if key not in self._bound:
            bound = self.rule.tied(condition)
            self._bound[key] = bound.core or bound
        return self._bound[key]

    def __call__(
        self, rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory
    ) -> Tensor | Compact:
        """Runs steps start .. stop−1, during which no condition changes; arguments as of any executor."""
        assert self._open is not None, "opened comes first"
        groups = self._rules[sum(change <= start for change in self.changes) - 1]
        order = [sample for samples, _ in groups for sample in samples]
        given: Any = state
        batch = list(range(len(order)))
        # Side by side where an executor can: with compiled code on all cores.
        if (run := self._runs.setdefault(0, self._open())) is event.run and len(groups) > 1:
            whole = given if order == batch else chosen(given, order)
            end: Any = event.run_bound(
                [(len(samples), bound) for samples, bound in groups], whole, draw.only(order), start, stop, memory
            )
            return end if order == batch else joined([(order, end)])
        # What may be kept is for all of them.
        plan = replace(memory, budget=max(1, memory.budget // max(1, len(groups))))
        parts = []
        for samples, bound in groups:
            run = self._runs.setdefault(id(bound), self._open())
            part = given if samples == batch else chosen(given, samples)
            parts.append((samples, run(bound, part, draw.only(samples), start, stop, plan)))
        return parts[0][1] if len(parts) == 1 else joined(parts) if parts else state


def _per_step(condition: Any, batch: int, steps: int) -> Sequence[Any]:
    """Returns the condition of each step, at least one: a list has one for each step, a tensor (steps, B, K) too."""
    if isinstance(condition, np.ndarray):
        condition = torch.from_numpy(condition)
    if isinstance(condition, list | tuple):
        if len(condition) == steps and steps:
            return condition
        if len(condition) == batch:
            return [list(condition)]
        found = f"a list of {len(condition)}"
        raise ArgumentError("condition", found, f"one for each of the {steps} steps, or of the {batch} samples")
    if isinstance(condition, Tensor) and condition.ndim == 3:
        if len(condition) != steps:
            raise ArgumentError("condition", f"shape {tuple(condition.shape)}", f"({steps}, {batch}, K): one for each step")
        return list(condition) or [0]
    return [condition]


def grouped(rule: ConditionalRule, condition: object, batch: int) -> list[Group]:
    """Returns the samples under each condition, in the order in which conditions come.

    Args:
        rule: The rule of several bodies.
        condition: One condition for all; or for each sample, a list, int (B,) or codes (B, K).
        batch: The number of samples, B.

    Raises:
        ValueError: There is not one condition for each sample.
    """
    everyone = list(range(batch))
    if isinstance(condition, np.ndarray):
        condition = torch.from_numpy(condition)
    one_for_all: Any = condition
    if isinstance(condition, Tensor) and condition.ndim:
        if condition.is_floating_point() and condition.ndim == 1:
            return [(everyone, condition)]
        if len(condition) != batch or condition.dtype == torch.bool or condition.ndim != 1 + condition.is_floating_point():
            found = f"{condition.dtype} {tuple(condition.shape)}".replace("torch.", "")
            allowed = f"int ({batch},), or codes ({batch}, {rule.code_size}) or (steps, {batch}, {rule.code_size})"
            raise ArgumentError("condition", found, f"{allowed}; other bodies in other steps: a list of lists")
        each: list[Any] = list(condition) if condition.is_floating_point() else condition.tolist()
    elif isinstance(condition, list | tuple):
        each = list(condition)
        if len(each) != batch:
            raise ArgumentError("condition", f"a list of {len(each)}", f"one for each of the {batch} samples")
    else:
        return [(everyone, one_for_all)]
    groups: list[Group] = []
    for sample, one in enumerate(each):
        for samples, known in groups:
            if _same(known, one):
                samples.append(sample)
                break
        else:
            groups.append(([sample], one))
    return groups


def _same(one: Any, other: Any) -> bool:
    """Returns whether two conditions are one: codes with a gradient never are, since each wants its own."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or (not (one.requires_grad or other.requires_grad) and torch.equal(one, other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)
