"""Is it alive? `evaluate(rule, target)`: growth, persistence, regeneration, robustness and emergence of a rule, as figures."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from tqdm.auto import tqdm

from nca3d.errors import InputError, nearest
from nca3d.evaluation.presets import PRESETS, QUICK_WOUNDS, Preset
from nca3d.evaluation.studies import persistence, regeneration, robustness
from nca3d.evaluation.studies.emergence import emergence
from nca3d.evaluation.trials import Trials
from nca3d.evaluation.wounds import Wound
from nca3d.executors.cores import torch_on_one
from nca3d.registry import Registry
from nca3d.reports.report import Report
from nca3d.reports.values import mean
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, dense
from nca3d.targets import Target

# How rules are evaluated that grow no body, by their visible kind: they take what `evaluate` does, but for `samples`.
EVALUATIONS = Registry("evaluation")

# Numbers of the trials of each study: other numbers are other fire masks and wounds.
GROW, HOLD, WOUNDS, GRID, AGAIN, CONTROL, WORLD, LIFE = 0, 1, 2, 10_000, 20_000, 30_000, 40_000, 50_000

# Severity up to which a wound counts as small: what every regenerating body should heal.
SMALL = 0.25


def evaluate(
    rule: Rule,
    target: Target | object = None,
    preset: str | Preset | object = "quick",
    *,
    horizon: int | None = None,
    samples: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Grow bodies from one cell, hold them, cut them and let them heal; say how well each went.

    Args:
        rule: what one cell does.
        target: the body it should grow; None = the one that the rule's card names. For rules that grow none see `EVALUATIONS`.
        preset: a name in `PRESETS`, or a `Preset` of one's own. "quick" is growth, a hold of 1,000 steps and three wounds;
            "standard" adds 10,000 steps, the grid of wounds, repeated injury, controls, robustness and emergence; "full" is
            the same on more bodies, moments and steps.
        horizon: steps after which a body is judged grown; default the rule's card, else 2 · longest side + 10.
        samples: bodies side by side; default the preset's.
        random_seed: chooses fire masks and wounds; they never overlap those of training.
        executor: see `rollout`.
        progress: whether to show a bar with the time left.

    Returns:
        grow_iou (at the horizon), hold_iou_N (N steps later), heal_iou.<damage>, hurt_iou.<damage> (two horizons after the
        wound, and right after it), recovered.<damage>, steps_held (by the worst body), colour error or label accuracy
        beside each, and by study `persistence`, `regeneration`, `robustness`, `emergence`. Means over bodies; their spread and
        bootstrap intervals are attributes of the report.

    Raises:
        InputError: an unknown preset, a horizon or number of samples that can't be.
    """
    if rule.visible_kind in EVALUATIONS:
        return EVALUATIONS[rule.visible_kind](
            rule, target, preset, horizon=horizon, random_seed=random_seed, executor=executor, progress=progress
        )
    body = rule.target() if target is None else target
    if not isinstance(body, Target) or not isinstance(preset, str | Preset):
        given = type(preset if isinstance(body, Target) else body).__name__
        raise InputError("evaluate", "target and preset", f"a {given}", "a Target, and a Preset or the name of one")
    body.for_rule(rule.visible_kind, rule.visible, "evaluate")
    asked = _asked(preset, samples)
    if horizon is None:
        horizon = rule.card.get("horizon") or 2 * max(body.size) + 10
    if horizon < 1:
        raise InputError("evaluate", "horizon", horizon, "1 step or more")
    work = _work(asked, horizon, len(robustness.variations(rule)))
    with torch_on_one(), tqdm(total=work, disable=not progress, desc="evaluate", unit="step") as bar:
        trials = Trials(rule, body, horizon, asked.samples, random_seed, executor, bar.update)
        found = _Findings(trials, asked)
        bodies = found.life()
        found.three_wounds(bodies)
        if "regeneration" in asked.studies:
            found.regeneration(bodies)
        if "robustness" in asked.studies:
            found.robustness()
        if "emergence" in asked.studies:
            found.emergence(bodies)
        bar.update(max(0, bar.total - bar.n))
    return found.finished()


def _asked(preset: str | Preset, samples: int | None) -> Preset:
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise InputError("evaluate", "preset", repr(preset), ", ".join(PRESETS) + nearest(preset, PRESETS))
        preset = PRESETS[preset]
    if samples is not None and samples < 1:
        raise InputError("evaluate", "samples", samples, "1 body or more")
    return preset if samples is None else replace(preset, samples=samples)


def _work(asked: Preset, horizon: int, variations: int) -> int:
    """Steps of the whole evaluation, for the bar: nearly all of its time is steps."""
    wound = 2 * horizon + asked.late_steps
    total = horizon + asked.hold_steps + len(QUICK_WOUNDS) * wound
    if "regeneration" in asked.studies:
        total += len(asked.moments) * len(asked.wounds) * wound + max(asked.moments) + 2 * len(QUICK_WOUNDS) * wound
        total += asked.injuries * 2 * horizon
    if "robustness" in asked.studies:
        total += variations * (horizon + robustness.HOLD + 4)
    return total


class _Findings:
    """The studies, one method each, and the figures that they leave."""

    def __init__(self, trials: Trials, asked: Preset) -> None:
        self.trials, self.asked = trials, asked
        self.report = Report()
        self.put, self.series = self.report.put, self.report.series

    def life(self) -> Compact:
        """Growth to the horizon and a long hold; returns the grown bodies."""
        trials, steps = self.trials, self.asked.hold_steps
        detail = "colour_error" if trials.target.kind == "rgb" else "label_accuracy"
        grown, growth = trials.watch(trials.seeds(), trials.horizon, GROW)
        held = trials.watch(grown, steps, HOLD, every=self.asked.look_every)[1]
        self.put("grow_iou", growth.quality[-1].tolist())
        self.put(f"grow_{detail}", growth.detail[-1].tolist())
        marks = sorted({min(1000, steps), steps})
        for mark in marks:
            at = int((held.steps - held.steps[0] <= mark).sum()) - 1
            self.put(f"hold_iou_{mark}", held.quality[at].tolist())
        self.put(f"hold_{detail}_{marks[-1]}", held.detail[-1].tolist())
        judged = persistence.persistence(held)
        self.put("steps_held", judged["steps_held"])
        self.report |= {"steps_held": min(judged["steps_held"]), "steps_tried": steps}
        for name in ("blow_up_step", "extinction_step", "drift", "period", "amplitude"):
            self.put(("persistence", name), judged[name])
        self.series["growth"] = {"steps": growth.steps.tolist(), "quality": growth.quality.tolist()}
        self.series["hold"] = persistence.windows(held)
        return grown

    def three_wounds(self, grown: Compact) -> None:
        """The wounds of every preset, right at the horizon."""
        curves = self.series.setdefault("recovery", {})
        for trial, (damage, severity) in enumerate(QUICK_WOUNDS.items(), start=WOUNDS):
            healing = regeneration.heal(self.trials, grown, Wound(damage, severity), trial, late_steps=self.asked.late_steps)[1]
            self.put(("heal_iou", damage), healing.seen.quality[-1].tolist())
            self.put(("hurt_iou", damage), healing.seen.quality[0].tolist())
            self.put(("recovered", damage), healing.recovered)
            self.put(("half_recovery_step", damage), list(healing.half_step))
            curves[healing.name] = _curve(healing)

    def regeneration(self, grown: Compact) -> None:
        """The whole grid of wounds, repeated injury, and controls that must not pass."""
        asked, curves = self.asked, self.series.setdefault("recovery", {})
        healings = list(regeneration.grid(self.trials, grown, asked.wounds, asked.moments, asked.late_steps, GRID))
        for healing in healings:
            self.put(("regeneration", "recovered_each", healing.name), healing.recovered)
            if healing.moment == asked.moments[0]:
                curves[healing.name] = _curve(healing)
        self.series["grid"] = [healing.row() for healing in healings]
        small = [healing.recovered for healing in healings if healing.wound.severity <= SMALL]
        half = [of.recovered for of in healings if (of.wound.damage, of.wound.severity) == ("half_space", 0.5)]
        self.put(("regeneration", "recovered_small"), _by_body(small))
        self.put(("regeneration", "recovered_half_space"), _by_body(half))
        again = regeneration.repeated_injury(self.trials, grown, Wound("sphere", SMALL), asked.injuries, AGAIN)
        for number, healing in enumerate(again, start=1):
            self.put(("regeneration", "injury", str(number)), healing.seen.quality[-1].tolist())
        self._controls(grown)

    def _controls(self, grown: Compact) -> None:
        """Rules that can't heal, on the same grown bodies and wounds: what they recover is what the yardstick lets through."""
        seed = self.trials.seed(CONTROL)
        for name, rule in (
            ("untrained", robustness.changed(self.trials.rule, step_size=0.0)),  # a fresh rule does nothing
            ("shuffled", robustness.shuffled(self.trials.rule, seed)),
        ):
            of = self.trials.of(rule)
            passed = [
                regeneration.heal(of, grown, Wound(*wound), WOUNDS + number, late_steps=self.asked.late_steps)[1].recovered
                for number, wound in enumerate(QUICK_WOUNDS.items())
            ]
            self.put(("regeneration", f"control_{name}"), _by_body(passed))

    def robustness(self) -> None:
        """Growth and hold in a world that is not the one of training."""
        for variation in robustness.variations(self.trials.rule):
            # The same trial each time, so that only the condition differs.
            self.put(("robustness", variation.name), variation.measure(self.trials, WORLD))
            self.series.setdefault("conditions", {})[variation.name] = variation.group

    def emergence(self, grown: Compact) -> None:
        """Pattern and dynamics of the grown bodies."""
        trials = self.trials
        states = dense(grown, trials.rule.dead_value)
        found = emergence(trials.rule, states, random_seed=trials.seed(LIFE), executor=trials.executor)
        for name, values in found.items():
            self.put(("emergence", name), values)

    def finished(self) -> Report:
        """The figures, with what was asked."""
        trials, target = self.trials, self.trials.target
        params = sum(p.numel() for p in trials.rule.parameters())
        self.report |= {"horizon": trials.horizon, "samples": trials.samples, "params": params}
        self.report.about |= {
            "target": target.name,
            "size": list(target.size),
            "kind": target.kind,
            "cells": int(target.occupied.sum()),
            "random_seed": trials.random_seed,
            "torch": torch.__version__,
        }
        return self.report


def _curve(healing: regeneration.Healing) -> dict[str, Any]:
    """A recovery curve as it is kept: quality as a share of that before the wound, about 60 looks."""
    share = healing.seen.quality / healing.before.clamp_min(1e-6)
    every = max(1, len(share) // 60)
    picked = sorted({*range(0, len(share), every), len(share) - 1})
    return {"steps": picked, "quality": share[picked].tolist(), "recovered": healing.recovered}


def _by_body(wounds: list[list[float | None]]) -> list[float | None]:
    """Each body's recovered fraction over several wounds."""
    return [mean(of_one) for of_one in zip(*wounds, strict=True)]


def summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures without what is only detail: no entry for each wound of the grid."""
    kept = {name: dict(value) if isinstance(value, Mapping) else value for name, value in figures.items()}
    kept.get("regeneration", {}).pop("recovered_each", None)
    return kept
