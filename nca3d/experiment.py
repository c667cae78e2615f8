"""The end of a run: measure the trained rule, film it growing, cut and healing, write the report and the page it lives in."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import nca3d
import pools
from nca3d.errors import InputError
from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.presets import QUICK_WOUNDS
from nca3d.fire import evaluation_seed
from nca3d.live.page import live_page
from nca3d.metrics import iou, occupied, to_rgba
from nca3d.reports.report import Report
from nca3d.reports.run import write_report
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.targets import Target

if TYPE_CHECKING:  # training imports this file at the end of a run, not the other way round
    from nca3d.training.loop import Run
    from nca3d.training.trainer import Trainer

FRAMES = 24
"""Frames of growth, and of each healing."""

FILM_SEED = 1000
"""The trial whose fire masks the films show: one that the figures don't use."""


def finish_run(run: Run, trainer: Trainer, *, progress: bool = True) -> Report:
    """Figures, pictures, film and report of a finished run, written into its folder.

    Returns:
        What `evaluate` measured, with iterations and seconds of training.
    """
    config, target, rule = trainer.config, trainer.target, run.rule
    report = evaluate(rule, target, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    figures = Report(
        {
            **report,
            "iterations": trainer.iteration,
            "training_seconds": round(trainer.seconds, 1),
            "skipped_iterations": trainer.skipped,
            **{f"reseeded_{why}": count for why, count in trainer.pool.reseeded.items()},
            "pool_diversity": pools.diversity.summary(trainer.pool.states),
        },
        report.spread,
    )
    rule.card = {**rule.card, "figures": dict(report)}
    growth, heal, timelines = film(rule, target, config.horizon, config.random_seed)
    write_report(
        run.folder,
        title=f"{target.name} · {config.regime}",
        figures=figures,
        config_toml=config.to_toml(),
        versions=versions(),
        metrics=run.metrics,
        growth=growth,
        heal=heal,
        target_rgba=target.rgba(),
        timelines=timelines,
        progress=progress,
    )
    with contextlib.suppress(InputError):  # a rule with a step of its own can't live in a page
        live_page(rule, Path(run.folder) / "creature.html", target.size, target, random_seed=config.random_seed)
    return figures


Frames = tuple[np.ndarray, np.ndarray]


@torch.no_grad()
def film(
    rule: Rule, target: Target, horizon: int, random_seed: int = 0
) -> tuple[Frames, dict[str, tuple[np.ndarray, np.ndarray, int]], dict[str, Frames]]:
    """One body that grows, and what becomes of it after each wound of the quick preset.

    Returns:
        growth: (frames (T, D, H, W, 4), steps (T,)); heal by wound: (frames, steps, index of the cut frame), the frame before
        it being the whole body; timelines by wound: (steps, IoU) from the seed to healed.
    """
    every = max(1, horizon // FRAMES)
    grown = _filmed(rule, seed_state(rule, target.size), horizon, 0, every, random_seed)
    body = grown.states[-1]
    growth = _pictures(rule, target, grown.states), grown.steps.numpy()
    heal, timelines = {}, {}
    for trial, (wound, severity) in enumerate(QUICK_WOUNDS.items(), start=1):
        generator = torch.Generator().manual_seed(evaluation_seed(random_seed, FILM_SEED + trial))
        there = occupied(body, rule.visible, rule.visible_kind).cpu()
        mask = pools.damage.DAMAGES[wound](target.size, 1, severity=severity, body=there, generator=generator)
        hurt = pools.damage.apply(body, mask.to(body.device), rule.dead_value)
        healed = _filmed(rule, hurt, 2 * horizon, horizon, 2 * every, random_seed)
        states = torch.cat([body[None], healed.states])
        steps = torch.cat([healed.steps[:1], healed.steps])
        heal[wound] = _pictures(rule, target, states), steps.numpy(), 1
        quality = [iou(state, target)[0].item() for state in torch.cat([grown.states, healed.states])]
        timelines[wound] = torch.cat([grown.steps, healed.steps]).numpy(), np.array(quality)
    return growth, heal, timelines


def _filmed(rule: Rule, state: Tensor, steps: int, first_step: int, every: int, random_seed: int) -> Any:
    seed = evaluation_seed(random_seed, FILM_SEED)
    return rollout(rule, state, steps, random_seed=seed, first_step=first_step, record_every=every)


def _pictures(rule: Rule, target: Target, states: Tensor) -> np.ndarray:
    return to_rgba(states[:, 0], rule, target.palette)


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "nca3d": nca3d.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
    }
