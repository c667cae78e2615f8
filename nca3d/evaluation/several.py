"""Several bodies of one rule: each measured as if it were the only one, and what they are to each other.

Each body grows, holds and heals by the studies of one body. Beside them stand the questions that only several bodies raise:

- *confusion*: which body is nearest to what grew (by squared error of premultiplied colours and alpha over the lattice, since
  two bodies may have one shape), after growth and after healing from a quarter of the body;
- *switches*: a grown body is told, in mid-life, that it is another one; all ordered pairs;
- *between*: grown by a code in the middle of two bodies' codes;
- *beside*: two first cells of different bodies in one lattice, where the first cell carries the condition.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from nca3d.evaluation.evaluate import evaluate, summary
from nca3d.evaluation.presets import Preset
from nca3d.evaluation.trials import Trials, look
from nca3d.evaluation.wounds import Wound
from nca3d.executors.cores import torch_on_one
from nca3d.process.room import within_memory
from nca3d.reports.report import Report
from nca3d.rollout import rollout, seed_state, start_of
from nca3d.rules.conditional import ConditionalRule
from nca3d.sparse import Compact, chosen, compact, joined
from nca3d.targets import Target

# The trial numbers of the studies, which share fire masks and wounds with no study of one body.
FRAGMENT, SWITCH, BETWEEN, BESIDE = 60_000, 61_000, 62_000, 63_000
# What a fragment has left of its body, and the IoU from which a switched body counts as the new one.
LEFT, CHANGED = 0.25, 0.9
# A switch has so many horizons.
HORIZONS = 3
# Free cells between two first cells that grow side by side, as shares of the longest side of a body.
APART = (0.5, 1.0, 1.5)
# Figures of one body that stand in the row of each.
ROW = (
    "grow_iou",
    "grow_colour_error",
    "grow_label_accuracy",
    "grow_mse",
    "steps_held",
    "heal_iou",
    "recovered",
    "regeneration",
)
# The shares of a standard evaluation that healed, of all kinds of damage.
HEALED = ("regeneration.recovered_small", "regeneration.recovered_half_space")


@within_memory("evaluation", "the number of samples (--samples), the preset, or the lattice")
def evaluate_several(
    rule: ConditionalRule,
    preset: str | Preset = "quick",
    *,
    horizon: int | None = None,
    samples: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Evaluates each body of a rule of several, and what they are to each other.

    Args:
        rule: What one cell does, with the card that names its bodies.
        preset: As in `evaluate`.
        horizon: The steps after which a body is judged grown; default the rule's card.
        samples: The number of bodies of each kind side by side; default the preset's.
        random_seed: Chooses fire masks and wounds; they never overlap those of training.
        executor: The executor's name, see `nca3d.rollout`.
        progress: Whether to show bars with the time left.

    Returns:
        `bodies.<name>`: the figures of each body, as `evaluate` returns them. The same names at the top, such as `grow_iou`,
        `hold_iou_1000`, `heal_iou.<damage>`, `recovered.<damage>` and `steps_held`: those of the body that is worst at it.
        `right_body.grown` and `right_body.fragment`: the share of bodies that are nearest to their own target, after growth
        and after healing from a quarter. `confusion.<condition>.<body>`: the IoU of what grew with each target.
        `switch.<from>.<to>`: the IoU with the new target three horizons after cells were told; `switched`: the share of pairs
        with 0.9 and more. `between`: the share of bodies that live under a code in the middle of two.
        `beside.<distance>`: of pairs of first cells side by side, the share in which both become their own body.

    Raises:
        InputError: The rule's card names no bodies, or the preset is unknown.
    """
    targets = [rule.target(name) for name in rule.conditions]
    horizon = horizon or rule.card.get("horizon") or 2 * max(targets[0].size) + 10
    report = Report()
    each: dict[str, Report] = {}
    for name, target in zip(rule.conditions, targets, strict=True):
        each[name] = evaluate(
            rule.bound(name),
            target,
            preset,
            horizon=horizon,
            samples=samples,
            random_seed=random_seed,
            executor=executor,
            progress=progress,
        )
    _put_rows(report, each)
    count = next(iter(each.values()))["samples"]
    study = _Study(rule, targets, horizon, count, random_seed, executor, progress)
    with torch_on_one(), torch.no_grad():
        study.into(report)
    report |= {"horizon": horizon, "samples": count, "params": sum(p.numel() for p in rule.parameters())}
    report.about |= {
        "target": f"{len(targets)} bodies",
        "bodies": list(rule.conditions),
        "condition": rule.condition,
        "size": list(targets[0].size),
        "kind": targets[0].kind,
        "cells": sum(target.cells for target in targets),
        "random_seed": random_seed,
        "torch": torch.__version__,
    }
    return report


def _put_rows(report: Report, each: Mapping[str, Report]) -> None:
    """Enters the figures of each body, and of each figure the worst."""
    report["bodies"] = {
        name: {key: value for key, value in summary(one).items() if key in ROW or key.startswith("hold_iou")}
        for name, one in each.items()
    }
    reports = list(each.values())
    for name, value in reports[0].rows():
        first = name.partition(".")[0]
        # Details by the dozen stay in the rows of the bodies.
        detail = first == "regeneration" and name not in HEALED
        if not (first in ROW or first.startswith("hold_iou")) or detail or value is None:
            continue
        # Of errors the largest is the worst.
        worst = max if "error" in name or ("mse" in name and "regained" not in name) else min
        values = [one[name] for one in reports if one[name] is not None]
        place: dict[str, Any] = report
        *outer, last = name.split(".")
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = worst(values)
    report["steps_tried"] = reports[0]["steps_tried"]


@dataclass
class _Study:
    """What several bodies are to each other."""

    rule: ConditionalRule
    targets: list[Target]
    horizon: int
    samples: int
    random_seed: int
    executor: str
    progress: bool

    def into(self, report: Report) -> None:
        """Carries out the studies and enters their figures."""
        names = self.rule.conditions
        grown = [self._trials(place).run(self._trials(place).seeds(), self.horizon, 0) for place in range(len(names))]
        report["confusion"] = {
            name: dict(zip(names, self._iou(state).mean(dim=0).tolist(), strict=True))
            for name, state in zip(names, grown, strict=True)
        }
        report.put(("right_body", "grown"), self._right(grown))
        fragments = [self._healed_fragment(place, state) for place, state in enumerate(grown)]
        report.put(("right_body", "fragment"), self._right(fragments))
        # A body that has nothing to be mistaken for is no pair.
        if len(names) < 2:
            return
        if self.rule.told:
            self._switches(report, grown)
            report.put("between", self._between())
        else:
            for apart in APART:
                report.put(("beside", f"{apart:g}"), self._beside(apart))

    def _trials(self, place: int) -> Trials:
        """Returns trials of one body."""
        name = self.rule.conditions[place]
        rule, target = self.rule.bound(name), self.targets[place]
        return Trials(rule, target, self.horizon, self.samples, self.random_seed, self.executor)

    def _iou(self, states: Compact) -> Tensor:
        """Returns the IoU of bodies with each target, (B, n)."""
        return torch.stack([look([states], [0], target).quality[0] for target in self.targets], dim=1)

    def _right(self, states: list[Compact]) -> list[float | None]:
        """Returns for each body whether the target nearest to it is its own: n · B values, 0 or 1."""
        right: list[float | None] = []
        for place, bodies in enumerate(states):
            errors = torch.stack([look([bodies], [0], target).mse[0] for target in self.targets], dim=1)
            right += (errors.argmin(dim=1) == place).float().tolist()
        return right

    def _healed_fragment(self, place: int, grown: Compact) -> Compact:
        """Returns what grows back from a quarter of each body, two horizons later, under its own condition."""
        trials = self._trials(place)
        hurt = trials.apply_wound(grown, Wound("half_space", 1 - LEFT), FRAGMENT + place)
        return trials.run(hurt, 2 * self.horizon, FRAGMENT + place)

    def _switches(self, report: Report, grown: list[Compact]) -> None:
        """Enters the IoU of each grown body with each other one, some horizons after its cells were told of that one."""
        names, found = self.rule.conditions, {}
        done: list[float | None] = []
        for place, name in enumerate(tqdm(names, desc="switches", unit="body", disable=not self.progress)):
            others = [other for other in range(len(names)) if other != place]
            one = chosen(grown[place], [0])
            start = joined([([k], one) for k in range(len(others))])
            seed = self._trials(place).seed(SWITCH + place)
            end = rollout(
                self.rule,
                start,
                HORIZONS * self.horizon,
                random_seed=seed,
                condition=torch.tensor(others),
                executor=self.executor,
            )
            values = [float(look([chosen(end, [k])], [0], self.targets[other]).quality) for k, other in enumerate(others)]
            found[name] = {names[other]: value for other, value in zip(others, values, strict=True)}
            done += [float(value >= CHANGED) for value in values]
        report["switch"] = found
        report.put("switched", done)

    def _between(self) -> list[float | None]:
        """Returns for each pair of bodies whether one lives, at the horizon, that grows by the middle of their codes."""
        count = len(self.rule.conditions)
        pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
        codes = torch.stack([(self.rule.code_of(a) + self.rule.code_of(b)) / 2 for a, b in pairs])
        where = torch.tensor([start_of(self.rule.bound(a), self.targets[a].size) for a, _ in pairs])
        start = compact(seed_state(self.rule, self.targets[0].size, len(pairs), where), self.rule.dead_value)
        seed = self._trials(0).seed(BETWEEN)
        end = rollout(self.rule, start, self.horizon, random_seed=seed, condition=codes, executor=self.executor)
        living = look([end], [0], self.targets[0])
        return ((living.volume[0] > 0) & living.finite[0]).float().tolist()

    def _beside(self, apart: float) -> list[float | None]:
        """Returns for pairs of neighbours in the list whether both first cells become their own body, some way apart."""
        count, (depth, height, width) = len(self.rule.conditions), self.targets[0].size
        gap = round(apart * max(depth, height, width))
        both: list[float | None] = []
        for a in range(count):
            b = (a + 1) % count
            # Each in its own half of a lattice that is long enough for both, with a gap between the two.
            size = (depth, height, 2 * width + gap)
            state = seed_state(self.rule.bound(a), size, 1, torch.tensor([self._at(a, 0)]))
            state += seed_state(self.rule.bound(b), size, 1, torch.tensor([self._at(b, width + gap)]))
            end = rollout(self.rule, state, self.horizon, random_seed=self._trials(a).seed(BESIDE + a), executor=self.executor)
            halves = ((end[..., :width], a), (end[..., width + gap :], b))
            ious = [float(look([compact(half.contiguous())], [0], self.targets[place]).quality) for half, place in halves]
            both.append(float(min(ious) >= CHANGED))
        return both

    def _at(self, place: int, shift: int) -> tuple[int, int, int]:
        """Returns the first cell of a body whose lattice begins at x = shift."""
        z, y, x = start_of(self.rule.bound(place), self.targets[place].size)
        return z, y, x + shift
