"""The end of a run: measure the trained rule, film it growing, cut and healing, write the report and the page it lives in."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pools
from nca3d.errors import InputError
from nca3d.evaluation.evaluate import evaluate
from nca3d.evaluation.story import film
from nca3d.live.page import live_page
from nca3d.reports.body import write_body
from nca3d.reports.report import Report, versions

if TYPE_CHECKING:  # training imports this file at the end of a run, not the other way round
    from nca3d.training.loop import Run
    from nca3d.training.trainer import Trainer


def finish_run(run: Run, trainer: Trainer, *, progress: bool = True) -> Report:
    """Figures, pictures, film and report of a finished run, written into its folder.

    Returns:
        What `evaluate` measured, with iterations and seconds of training.
    """
    config, target, rule = trainer.config, trainer.target, run.rule
    report = evaluate(rule, target, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    rule.card = {**rule.card, "figures": dict(report)}
    report |= trained(trainer) | {"pool_diversity": pools.diversity.summary(trainer.pool.states)}
    report.about |= {"title": f"{target.name} · {config.regime}", "versions": versions()}
    write_body(
        run.folder,
        report,
        film(rule, target, config.horizon, config.random_seed),
        metrics=run.metrics,
        config_toml=config.to_toml(),
        moving=True,
        progress=progress,
    )
    with contextlib.suppress(InputError):  # a rule with a step of its own can't live in a page
        live_page(rule, Path(run.folder) / "creature.html", target.size, target, random_seed=config.random_seed)
    return report


def trained(trainer: Trainer) -> dict[str, Any]:
    """What a training took: iterations, seconds, iterations that were skipped and states that were reseeded, and why."""
    return {
        "iterations": trainer.iteration,
        "training_seconds": round(trainer.seconds, 1),
        "skipped_iterations": trainer.skipped,
        **{f"reseeded_{why}": count for why, count in trainer.pool.reseeded.items()},
    }
