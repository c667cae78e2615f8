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
from nca3d.process.room import within_memory
from nca3d.registry import Registry
from nca3d.reports.report import Report
from nca3d.reports.values import mean
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, dense
from nca3d.targets import Target

# Evaluations of rules that grow no body, by their visible kind; each takes the arguments of `evaluate`, but for `samples`.
EVALUATIONS = Registry("evaluation")

# The trial numbers of each study, far enough apart that no two studies share fire masks or wounds.
GROW, HOLD, WOUNDS, GRID, REPEATED, CONTROL, WORLD, LIFE = 0, 1, 2, 10_000, 20_000, 30_000, 40_000, 50_000

# Severity up to which a wound counts as small: what every regenerating body should heal.
SMALL = 0.25


@within_memory("evaluation", "the number of samples (--samples), the preset, or the lattice")
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
    """Grows bodies from one cell, holds them, damages them and lets them heal; reports how well each went.

    IoU is the intersection over union of body and target: cells in both / cells in either, 0 .. 1 (Jaccard 1912). A cell is
    occupied where its alpha is above 0.1.

    Args:
        rule: What one cell does.
        target: The body that it should grow; None = the one that the rule's card names. For rules that grow none see
            `EVALUATIONS`.
        preset: A name in `PRESETS`, or a `Preset` of one's own. "quick" is growth, a hold of 1,000 steps and three wounds;
            "standard" adds 10,000 steps, the grid of wounds, repeated damage, controls, robustness and emergence; "full" is
            the same on more bodies, moments and steps.
        horizon: The steps after which a body is judged grown; default the rule's card, else 2 · longest side + 10.
        samples: The number of bodies side by side; default the preset's.
        random_seed: Chooses fire masks and wounds; they never overlap those of training.
        executor: The executor's name, see `nca3d.rollout`.
        progress: Whether to show a bar with the time left.

    Returns:
        The figures, means over bodies; their spread and bootstrap intervals (Efron 1979) are attributes of the report.
        `grow_iou`: IoU at the horizon. `hold_iou_N`: IoU N steps later. `hurt_iou.<damage>`: IoU right after a wound.
        `heal_iou.<damage>`: IoU after healing, two horizons later. `recovered.<damage>`: the share of bodies that healed, so
        that they were whole again, 0 .. 1. `half_recovery_step.<damage>`: steps until half of the loss was back.
        `grow_mse`: mean squared error of premultiplied colours and alpha over the lattice, classes in the colours of the
        target; `mse_regained.<damage>`: the share of it that was made good, (after − hurt) / (before − hurt), as NCAtorch
        has it.
        `steps_held`: by the worst body, without an interval. Beside them the colour error (0 .. 1, 0 is right) or label
        accuracy (0 .. 1), and by study `persistence`, `regeneration`, `robustness` and `emergence`, whose modules give the
        formulas.

    Raises:
        InputError: If the preset is unknown, the target doesn't fit the rule, or horizon or samples are below 1.
    """
    if rule.visible_kind in EVALUATIONS:
        return EVALUATIONS[rule.visible_kind](
            rule, target, preset, horizon=horizon, random_seed=random_seed, executor=executor, progress=progress
        )
    body = rule.target() if target is None else target
    if not isinstance(body, Target) or not isinstance(preset, str | Preset):
        kind = type(preset if isinstance(body, Target) else body).__name__
        raise InputError("evaluate", "target and preset", f"a {kind}", "a Target, and a Preset or the name of one")
    body.for_rule(rule.visible_kind, rule.visible, "evaluate")
    preset = _preset(preset, samples)
    if horizon is None:
        # A body grows by at most one cell a step: twice the longest side lets it reach every corner, and settle.
        horizon = rule.card.get("horizon") or 2 * max(body.size) + 10
    if isinstance(horizon, bool) or not hasattr(horizon, "__index__") or horizon < 1:
        raise InputError("evaluate", "horizon", repr(horizon), "1 step or more, a whole number")
    preset = replace(preset, wounds=tuple(wound for wound in preset.wounds if wound.cuts(body.size)))
    work = _work(preset, horizon, len(robustness.variations(rule, body.size)))
    with torch_on_one(), tqdm(total=work, disable=not progress, desc="evaluate", unit="step") as bar:
        trials = Trials(rule, body, horizon, preset.samples, random_seed, executor, bar.update)
        evaluation = _Evaluation(trials, preset)
        bodies = evaluation.life()
        evaluation.three_wounds(bodies)
        if "regeneration" in preset.studies:
            evaluation.regeneration(bodies)
        if "robustness" in preset.studies:
            evaluation.robustness()
        if "emergence" in preset.studies:
            evaluation.emergence(bodies)
        bar.update(max(0, bar.total - bar.n))  # the work is an estimate: the bar ends full all the same
    return evaluation.finished()


def _preset(preset: str | Preset, samples: int | None) -> Preset:
    """Returns the preset of that name, with another number of bodies if one is given."""
    if isinstance(preset, str):
        if preset not in PRESETS:
            raise InputError("evaluate", "preset", repr(preset), ", ".join(PRESETS) + nearest(preset, PRESETS))
        preset = PRESETS[preset]
    if samples is not None and samples < 1:
        raise InputError("evaluate", "samples", samples, "1 body or more")
    return preset if samples is None else replace(preset, samples=samples)


def _work(preset: Preset, horizon: int, variations: int) -> int:
    """Returns the steps of the whole evaluation, for the bar: nearly all of its time is steps."""
    wound = 2 * horizon + preset.late_steps
    total = horizon + preset.hold_steps + len(QUICK_WOUNDS) * wound
    if "regeneration" in preset.studies:
        # The grid, the way to its last moment, and the controls: two rules that can't heal, three wounds each.
        total += len(preset.moments) * len(preset.wounds) * wound + max(preset.moments) + 2 * len(QUICK_WOUNDS) * wound
        total += preset.injuries * 2 * horizon
    if "robustness" in preset.studies:
        total += variations * (horizon + robustness.HOLD + 4)
    return total


class _Evaluation:
    """One evaluation: each method carries out a study and enters its figures into the report."""

    def __init__(self, trials: Trials, preset: Preset) -> None:
        self.trials, self.preset = trials, preset
        self.report = Report()
        self.put, self.series = self.report.put, self.report.series

    def life(self) -> Compact:
        """Grows bodies to the horizon and holds them; returns the grown bodies."""
        trials, steps = self.trials, self.preset.hold_steps
        detail = "colour_error" if trials.target.kind == "rgb" else "label_accuracy"
        grown, growth = trials.watch(trials.seeds(), trials.horizon, GROW)
        held = trials.watch(grown, steps, HOLD, every=self.preset.look_every)[1]
        self.put("grow_iou", growth.quality[-1].tolist())
        self.put(f"grow_{detail}", growth.detail[-1].tolist())
        self.put("grow_mse", growth.mse[-1].tolist())
        # 1,000 steps in every preset, so that reports can be compared; the end of a longer hold besides.
        marks = sorted({min(1000, steps), steps})
        for mark in marks:
            at = int((held.steps - held.steps[0] <= mark).sum()) - 1
            self.put(f"hold_iou_{mark}", held.quality[at].tolist())
        self.put(f"hold_{detail}_{marks[-1]}", held.detail[-1].tolist())
        figures = persistence.persistence(held)
        # Of the worst body and not the mean: a rule whose bodies fall apart now and then does not hold.
        self.put("steps_held", figures["steps_held"])
        self.report["steps_tried"] = steps
        for name in ("blow_up_step", "extinction_step", "drift", "period", "amplitude"):
            self.put(("persistence", name), figures[name])
        self.series["growth"] = {"steps": growth.steps.tolist(), "quality": growth.quality.tolist()}
        self.series["hold"] = persistence.windows(held)
        return grown

    def three_wounds(self, grown: Compact) -> None:
        """Measures healing from the wounds of every preset, given right at the horizon."""
        curves, late_steps = self.series.setdefault("recovery", {}), self.preset.late_steps
        for trial, (damage, severity) in enumerate(QUICK_WOUNDS.items(), start=WOUNDS):
            healing = regeneration.heal(self.trials, grown, Wound(damage, severity), trial, late_steps=late_steps)[1]
            self.put(("heal_iou", damage), healing.watch.quality[-1].tolist())
            self.put(("hurt_iou", damage), healing.watch.quality[0].tolist())
            self.put(("recovered", damage), healing.recovered)
            self.put(("half_recovery_step", damage), list(healing.half_step))
            self.put(("mse_regained", damage), healing.mse_regained)
            curves[healing.name] = _curve(healing)

    def regeneration(self, grown: Compact) -> None:
        """Measures healing from the whole grid of wounds, from repeated damage, and of controls that must not pass."""
        preset, curves = self.preset, self.series.setdefault("recovery", {})
        healings = list(regeneration.grid(self.trials, grown, preset.wounds, preset.moments, preset.late_steps, GRID))
        for healing in healings:
            self.put(("regeneration", "recovered_each", healing.name), healing.recovered)
            if healing.moment == preset.moments[0]:  # later moments have their columns in the grid, not a curve each
                curves[healing.name] = _curve(healing)
        self.series["grid"] = [healing.row() for healing in healings]
        small = [healing.recovered for healing in healings if healing.wound.severity <= SMALL]
        halves = [one.recovered for one in healings if (one.wound.damage, one.wound.severity) == ("half_space", 0.5)]
        self.put(("regeneration", "recovered_small"), _by_body(small))
        self.put(("regeneration", "recovered_half_space"), _by_body(halves))
        repeated = regeneration.repeated_injury(self.trials, grown, Wound("sphere", SMALL), preset.injuries, REPEATED)
        for number, healing in enumerate(repeated, start=1):
            self.put(("regeneration", "injury", str(number)), healing.watch.quality[-1].tolist())
        self._controls(grown)

    def _controls(self, grown: Compact) -> None:
        """Measures rules that can't heal on the same bodies and wounds: the yardstick must be able to say no.

        The share that they heal, 0 .. 1, is what the measure lets through; well above 0 it means that the wounds are too small.
        """
        seed = self.trials.seed(CONTROL)
        for name, rule in (
            ("untrained", robustness.changed(self.trials.rule, step_size=0.0)),  # a fresh rule does nothing
            ("shuffled", robustness.shuffled(self.trials.rule, seed)),
        ):
            control, late_steps = self.trials.with_rule(rule), self.preset.late_steps
            recovered = [
                regeneration.heal(control, grown, Wound(*wound), WOUNDS + number, late_steps=late_steps)[1].recovered
                for number, wound in enumerate(QUICK_WOUNDS.items())
            ]
            self.put(("regeneration", f"control_{name}"), _by_body(recovered))

    def robustness(self) -> None:
        """Measures growth and hold in a world that is not the one of training."""
        for variation in robustness.variations(self.trials.rule, self.trials.target.size):
            # The same trial each time, so that only the condition differs.
            self.put(("robustness", variation.name), variation.measure(self.trials, WORLD))
            self.series.setdefault("conditions", {})[variation.name] = variation.group

    def emergence(self, grown: Compact) -> None:
        """Measures the pattern and the dynamics of the grown bodies."""
        trials = self.trials
        states = dense(grown, trials.rule.dead_value)
        figures = emergence(trials.rule, states, random_seed=trials.seed(LIFE), executor=trials.executor)
        for name, values in figures.items():
            self.put(("emergence", name), values)

    def finished(self) -> Report:
        """Returns the report, with what was evaluated entered into its `about`."""
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
        if 1 in target.size and self.preset.studies:
            self.report.about["left out"] = "in a flat lattice: cuts across its one layer, other paddings"
        return self.report


def _curve(healing: regeneration.Healing) -> dict[str, Any]:
    """Returns a recovery curve for the report: IoU as a share of that before the wound, at about 60 steps since the wound."""
    share = healing.watch.quality / healing.before.clamp_min(1e-6)
    every = max(1, len(share) // 60)  # more points than a picture can show would only swell report.json
    picked = sorted({*range(0, len(share), every), len(share) - 1})
    return {"steps": picked, "quality": share[picked].tolist(), "recovered": healing.recovered}


def _by_body(wounds: list[list[float | None]]) -> list[float | None]:
    """Returns each body's mean over several wounds: the share of those that could tell from which it healed."""
    return [mean(body) for body in zip(*wounds, strict=True)]


def summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the figures of a report without its details: no entry for each wound of the grid."""
    copied = {name: dict(value) if isinstance(value, Mapping) else value for name, value in figures.items()}
    copied.get("regeneration", {}).pop("recovered_each", None)
    return copied
