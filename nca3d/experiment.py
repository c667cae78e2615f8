"""An experiment: `train(config)`, training and then the report. The one place that knows both.

The end of a body's run: measure the trained rule, film it growing, cut and healing, write the report and the page it lives in.
"""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.config.regimes import GROWTH
from nca3d.errors import InputError
from nca3d.evaluation import Preset
from nca3d.evaluation import evaluate as evaluate_rule
from nca3d.evaluation.evaluate import EVALUATIONS
from nca3d.evaluation.story import film
from nca3d.live.page import live_page
from nca3d.load import CONFIG, RuleRef, run_folder
from nca3d.reports.body import write_body
from nca3d.reports.report import Report
from nca3d.rules.cell import Rule
from nca3d.targets import Target
from nca3d.training import loop
from nca3d.training.loop import Run
from nca3d.training.trainer import Trainer
from nca3d.versions import versions


def finish_run(run: Run, trainer: Trainer, *, progress: bool = True) -> Report:
    """Figures, pictures, film and report of a finished run, written into its folder.

    Returns:
        What `evaluate` measured, with iterations and seconds of training.
    """
    config, target, rule = trainer.config, trainer.target, run.rule
    report = evaluate_rule(rule, target, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
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
    if not isinstance(config, Config | None):
        raise InputError("train", "config", f"a {type(config).__name__}", "a Config: Config(…), or Config.load(FILE)")
    if not isinstance(rule, Rule | None):
        raise InputError("train", "rule", f"a {type(rule).__name__}", "a Rule: nca3d.load(…) reads one")
    if config is None:
        config = Config() if resume is None else Config.load(run_folder(resume) / CONFIG)
    changes = {"iterations": iterations, "report": report}
    config = config.replace(**{name: value for name, value in changes.items() if value is not None})
    if target is not None:
        if config.kind.task is not GROWTH:
            raise InputError("train", "target", "one", f"none where regime = {config.regime}, which grows no body")
        from nca3d.training.growth import CustomBody

        given = CustomBody.of(target, config)
    finish = partial(config.kind.finish.load(), progress=progress) if config.report else None
    return loop.train(config, resume=resume, progress=progress, given=given, rule=rule, finish=finish)


def evaluate(
    rule: Rule | Run | str | Path,
    target: Target | None = None,
    preset: str | Preset = "quick",
    *,
    horizon: int | None = None,
    samples: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Report:
    """Is it alive? `nca3d.evaluation.evaluate`, asked of a rule, of a run, or of what either is called.

    Args:
        rule: a rule, what `train` returned, a run folder, one of its checkpoints, "zoo:NAME" or "FILE.py:NAME".
        target: the body it should grow; None = the one that its card names; of a cube, the questions of its run.
        preset, horizon, samples, random_seed, executor, progress: see `nca3d.evaluation.evaluate`.

    Raises:
        InputError: no such rule, no body that is known, an unknown preset, a number that can't be.
    """
    run = rule.folder if isinstance(rule, Run) else None
    if isinstance(rule, str | Path):
        ref = RuleRef(rule)
        rule, run = ref.rule(), ref.folder
    rule = rule.rule if isinstance(rule, Run) else rule
    wanted = run if target is None and rule.visible_kind in EVALUATIONS else target
    return evaluate_rule(
        rule,
        wanted,
        preset,
        horizon=horizon,
        samples=samples,
        random_seed=random_seed,
        executor=executor,
        progress=progress,
    )
