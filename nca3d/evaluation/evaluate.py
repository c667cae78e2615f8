"""Growth, persistence and regeneration of a rule, as figures: `evaluate(rule, target)`."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

import pools
from nca3d.errors import InputError, nearest
from nca3d.fire import evaluation_seed
from nca3d.quality import iou, occupied
from nca3d.rollout import Trajectory, rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.targets import Target


@dataclass(frozen=True)
class Preset:
    """How much is asked: bodies grown side by side, steps to hold, and wounds with the fraction of the body they destroy."""

    samples: int
    hold_steps: int
    wounds: dict[str, float] = field(default_factory=dict)


PRESETS = {"quick": Preset(samples=8, hold_steps=1000, wounds={"half_space": 0.5, "sphere": 0.2, "random_cells": 0.25})}

WINDOW = 100
"""Steps of one window in which the worst body must keep `HELD` of its quality at the horizon."""

HELD = 0.95


class Report(dict[str, Any]):
    """Figures by name; `heal_iou` holds one for each damage, also found as "heal_iou.sphere".

    `.spread` has each figure's values over the samples.
    """

    def __init__(self, figures: dict[str, Any], spread: dict[str, list[float]]) -> None:
        super().__init__(figures)
        self.spread = spread

    def __missing__(self, name: str) -> Any:
        outer, dot, inner = name.partition(".")
        if dot and isinstance(self.get(outer), dict) and inner in self[outer]:
            return self[outer][inner]
        raise KeyError(name)

    def rows(self) -> list[tuple[str, Any]]:
        """(name, value) with nested names joined by a dot: `heal_iou.sphere`."""
        rows: list[tuple[str, Any]] = []
        for name, value in self.items():
            rows += (
                [(f"{name}.{inner}", v) for inner, v in value.items()] if isinstance(value, dict) else [(name, value)]
            )
        return rows

    def to_json(self, path: str | Path | None = None) -> str:
        """The figures and their spread as JSON; written to `path` too if given."""
        text = json.dumps({**self, "spread": self.spread}, indent=2, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def to_markdown(self) -> str:
        """A table for a paper: mean, and the range over the samples where there is one."""
        lines = ["| measure | value | range |", "|---|---|---|"]
        for name, value in self.rows():
            values = self.spread.get(name)
            span = f"{min(values):.3f} – {max(values):.3f}" if values else ""
            lines.append(
                f"| {name} | {value:.3f} | {span} |" if isinstance(value, float) else f"| {name} | {value} | |"
            )
        return "\n".join(lines)

    def to_html(self) -> str:
        """The same table as one small page."""
        cells = "".join(
            f"<tr><td>{name}</td><td>{value:.3f}</td></tr>"
            if isinstance(value, float)
            else f"<tr><td>{name}</td><td>{value}</td></tr>"
            for name, value in self.rows()
        )
        return f'<!doctype html><meta charset="utf-8"><title>nca3d evaluation</title><table>{cells}</table>\n'


@torch.no_grad()
def evaluate(
    rule: Rule,
    target: Target,
    preset: str = "quick",
    *,
    horizon: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Grow bodies from one cell, hold them, cut them and let them heal; say how well each went.

    Args:
        rule: what one cell does.
        target: the body it should grow.
        preset: a name in `PRESETS`.
        horizon: steps after which a body is judged grown; default the rule's card, else 2 · longest side + 10.
        random_seed: chooses fire masks and wounds; they never overlap those of training.
        executor: see `rollout`.
        progress: whether to show a bar.

    Returns:
        grow_iou (at the horizon), hold_iou_1000 (1,000 steps later), heal_iou.<damage> and hurt_iou.<damage> (two horizons
        after the cut, and right after it), steps_held (of the steps tried), params, horizon, samples: means over samples.

    Raises:
        InputError: an unknown preset.
    """
    if preset not in PRESETS:
        raise InputError("evaluate", "preset", repr(preset), ", ".join(PRESETS) + nearest(preset, PRESETS))
    asked = PRESETS[preset]
    if horizon is None:
        horizon = rule.card.get("horizon") or 2 * max(target.size) + 10
    total = horizon + asked.hold_steps + 2 * horizon * len(asked.wounds)
    bar = tqdm(total=total, disable=not progress, desc="evaluate", unit="step")

    def run(state: Tensor, steps: int, trial: int, record_every: int | None = None) -> Any:
        out = rollout(
            rule,
            state,
            steps,
            random_seed=evaluation_seed(random_seed, trial),
            executor=executor,
            record_every=record_every,
        )
        bar.update(steps)
        return out

    grown = run(seed_state(rule, target.size, asked.samples), horizon, trial=0)
    spread = {"grow_iou": iou(grown, target).tolist()}

    hold = f"hold_iou_{asked.hold_steps}"
    held = run(grown, asked.hold_steps, trial=1, record_every=10)
    spread[hold] = iou(held.states[-1], target).tolist()
    steps_held = _steps_held(held, target)

    for trial, (wound, severity) in enumerate(asked.wounds.items(), start=2):
        generator = torch.Generator().manual_seed(evaluation_seed(random_seed, trial))
        body = occupied(grown, rule.visible, rule.visible_kind).cpu()
        mask = pools.damage.DAMAGES[wound](
            target.size, asked.samples, severity=severity, body=body, generator=generator
        )
        hurt = pools.damage.apply(grown, mask.to(grown.device), rule.dead_value)
        healed = run(hurt, 2 * horizon, trial)
        spread[f"hurt_iou.{wound}"] = iou(hurt, target).tolist()
        spread[f"heal_iou.{wound}"] = iou(healed, target).tolist()
    bar.close()

    means = {name: statistics.fmean(values) for name, values in spread.items()}
    figures: dict[str, Any] = {name: value for name, value in means.items() if "." not in name}
    for kind in ("heal_iou", "hurt_iou"):
        figures[kind] = {wound: means[f"{kind}.{wound}"] for wound in asked.wounds}
    figures |= {
        "steps_held": steps_held,
        "steps_tried": asked.hold_steps,
        "horizon": horizon,
        "samples": asked.samples,
        "params": sum(p.numel() for p in rule.parameters()),
    }
    return Report(figures, spread)


def _steps_held(held: Trajectory, target: Target) -> int:
    """The most steps up to which all bodies stay finite and keep `HELD` of their first quality, in whole windows."""
    quality = torch.stack([iou(state, target) for state in held.states])
    finite = held.states.isfinite().flatten(2).all(dim=2)
    good = (finite & (quality >= HELD * quality[0])).all(dim=1)
    after = (held.steps - held.steps[0]).tolist()
    failed = next((step for step, fine in zip(after, good.tolist(), strict=True) if not fine), None)
    return after[-1] if failed is None else max(0, failed - 1) // WINDOW * WINDOW
