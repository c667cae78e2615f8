"""An experiment: `train(config)`, training and then the report. The one place that knows both.

The end of a body's run: measure the trained rule, film it growing, cut and healing, write the report and the page it lives in.
"""

from __future__ import annotations

import contextlib
import platform
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import nca3d
import pools
from nca3d.config import Config
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
from nca3d.training import loop
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


def train(
    config: Config | None = None,
    *,
    target: Target | np.ndarray | Tensor | None = None,
    rule: Rule | None = None,
    resume: str | Path | None = None,
    iterations: int | None = None,
    report: bool | None = None,
    progress: bool = True,
    given: object = None,
) -> Run:
    """Train a rule, and end with a report: the same call from the shell and in Jupyter.

    Args:
        config: the experiment; None = the one in the folder `resume`, or the default one. Everything is checked before anything
            is written.
        target: the body to grow, instead of the one that the config names: a `Target`, or an array as
            `nca3d.targets.from_array` takes it. It is kept in the run folder.
        rule: is trained instead of a fresh one; a copy of it, all of whose weights learn.
        resume: a run folder to go on with, from its newest checkpoint that verifies.
        iterations: how many in all, those already done among them; None = as the config says.
        report: whether to end with figures, pictures, films and a page; None = as the config says.
        progress: show a bar with time left, loss and IoU.
        given: what `config.kind.check_inputs` read, so that it is read once.

    Returns:
        The finished `Run`: .rule .folder .pool .metrics .report.

    Raises:
        InputError: bad input; nothing was written.
        RunError: the run failed on its own (extinct, non-finite, disk full); the last good checkpoint is kept.
        KeyboardInterrupt, SystemExit: stopped by a signal, after saving.
    """
    if resume is not None and (target is not None or rule is not None):
        what = "target" if target is not None else "rule"
        raise InputError("train", what, "one beside resume", f"none: the {what} of a resumed run lies in its folder")
    if config is None:
        config = Config() if resume is None else Config.load(Path(resume) / "config.toml")
    changes = {"iterations": iterations, "report": report}
    config = config.replace(**{name: value for name, value in changes.items() if value is not None})
    if target is not None:
        from nca3d.training.growth import OwnBody

        given = OwnBody.of(target, config)
    finish = partial(config.kind.finish.found(), progress=progress) if config.report else None
    return loop.train(config, resume=resume, progress=progress, given=given, rule=rule, finish=finish)
