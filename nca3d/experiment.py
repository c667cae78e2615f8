"""An experiment: `train(config)`, training and then the report. This is the only module that knows both.

A body's run ends with `finish_run`: it measures the trained rule, films it growing, damaged and regenerating, and writes the
report and the page that it lives in.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import pools
from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.evaluation import Preset
from nca3d.evaluation import evaluate as evaluate_rule
from nca3d.evaluation.evaluate import EVALUATIONS
from nca3d.evaluation.several import evaluate_several
from nca3d.evaluation.story import film, film_several
from nca3d.files import vacate
from nca3d.live.page import live_page
from nca3d.load import CONFIG, RuleRef, run_folder
from nca3d.process.streams import steady_output
from nca3d.ranks import alone, current
from nca3d.reports.body import write_body
from nca3d.reports.report import Report
from nca3d.reports.several import write_several
from nca3d.reports.training import cost_of
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.targets import Target
from nca3d.training import loop
from nca3d.training.ledger import memory_figures
from nca3d.training.loop import Run
from nca3d.training.memory import training_memory
from nca3d.training.ran import ran
from nca3d.training.trainer import Trainer
from nca3d.versions import versions


def finish_run(run: Run, trainer: Trainer, *, progress: bool = True) -> Report:
    """Evaluates a finished run of a body, and writes report, pictures and film into its folder.

    Args:
        run: the finished run.
        trainer: its trainer, for the config, the target and the pool.
        progress: whether to show bars.

    Returns:
        The results of `evaluate`, with iterations and seconds of training.
    """
    config, target, rule = trainer.config, trainer.target, run.rule
    assert target is not None, "a body's task has a target"
    # With the seed of the run, so that an evaluation of the same run gives the same numbers.
    report = evaluate_rule(rule, target, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    # Several processes measure together; the first one writes.
    if not current().first:
        return report
    with alone():
        _write_body(run, trainer, report, progress)
    return report


def _write_body(run: Run, trainer: Trainer, report: Report, progress: bool) -> None:
    """Writes the report of a body, its pictures, film and page into the folder of its run."""
    config, target, rule = trainer.config, trainer.target, run.rule
    assert target is not None, "a body's task has a target"
    # From here on whoever has the rule has its numbers, too.
    rule.card = {**rule.card, "figures": dict(report)}
    report |= training_summary(trainer, run.metrics) | {"pool_diversity": pools.diversity.summary(trainer.pool.states)}
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
    # A rule with a step of its own can't run in a page: such a run ends without one.
    with contextlib.suppress(InputError):
        live_page(rule, vacate(Path(run.folder) / "creature.html"), target.size, target, random_seed=config.random_seed)


def finish_several(run: Run, trainer: Trainer, *, progress: bool = True) -> Report:
    """Evaluates a finished run of several bodies, and writes report, pictures and film into its folder.

    Args:
        run: the finished run.
        trainer: its trainer, for the config and the pool.
        progress: whether to show bars.

    Returns:
        The results of `evaluate_several`, with iterations and seconds of training.
    """
    config, rule = trainer.config, run.rule
    assert isinstance(rule, ConditionalRule), "several bodies have a condition"
    report = evaluate_several(rule, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    if not current().first:
        return report
    with alone():
        _write_several(run, trainer, report, progress)
    return report


def _write_several(run: Run, trainer: Trainer, report: Report, progress: bool) -> None:
    """Writes the report of several bodies, pictures, films and a page into the folder of their run."""
    config, rule = trainer.config, run.rule
    assert isinstance(rule, ConditionalRule), "several bodies have a condition"
    # From here on whoever has the rule has its numbers, too.
    rule.card = {**rule.card, "figures": dict(report)}
    report |= training_summary(trainer, run.metrics) | {"pool_diversity": pools.diversity.summary(trainer.pool.states)}
    report.about |= {"title": f"{len(rule.conditions)} bodies · {config.regime}", "versions": versions()}
    filmed = film_several(rule, config.horizon, config.random_seed)
    write_several(run.folder, report, filmed, metrics=run.metrics, config_toml=config.to_toml(), progress=progress)
    live_page(rule, vacate(Path(run.folder) / "creature.html"), trainer.targets[0].size, random_seed=config.random_seed)


def training_summary(trainer: Trainer, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what a training took and what really ran: iterations, seconds, speed, memory, retries, states reseeded.

    Args:
        trainer: The trainer of a finished run.
        metrics: The lines of its log.
    """
    # A run of 0 iterations (a report on a rule that is only initialised) has no speed.
    epoch = trainer.seconds / trainer.iteration * trainer.task.epoch if trainer.iteration else 0.0
    return {
        "iterations": trainer.iteration,
        "training_seconds": round(trainer.seconds, 1),
        "skipped_iterations": trainer.skipped,
        "retries": len(trainer.recovery.setbacks),
        "loss_spikes": trainer.watch.spikes,
        **({"seconds_per_epoch": round(epoch, 1 if epoch >= 10 else 3)} if epoch else {}),
        **cost_of(metrics),
        "memory": memory_figures(trainer),
        "ran": ran(trainer),
        **{f"reseeded_{why}": count for why, count in trainer.pool.reseeded.items()},
    }


def train(
    config: Config | None = None,
    *,
    target: Target | np.ndarray | Tensor | Mapping[str, Target | np.ndarray | Tensor] | None = None,
    rule: Rule | None = None,
    resume: str | Path | None = None,
    iterations: int | None = None,
    report: bool | None = None,
    plugins: Sequence[str] | None = None,
    progress: bool = True,
    given: object = None,
) -> Run:
    """Trains a rule and ends with a report: the same call from the shell and in Jupyter.

    Args:
        config: the experiment; None = the one in the folder `resume`, or the default one. Everything is checked before anything
            is written.
        target: the body to grow instead of the one that the config names: a `Target`, or an array (D, H, W) or (D, H, W, 4) as
            `nca3d.targets.from_array` takes it; or several of them by name, for one rule that grows each. It is saved in the
            run folder.
        rule: the rule to train instead of a fresh one; a copy of it is trained, with all its weights.
        resume: a run folder to continue from its newest checkpoint that verifies.
        iterations: how many iterations in all, including those already done; None = as the config says.
        report: whether to end with an evaluation, pictures, films and a page; None = as the config says.
        plugins: Python files to run first; None = as the config says, where those that a file names must have been confirmed.
        progress: whether to show a bar with time left, loss and IoU.
        given: what `config.kind.check_inputs` returned, if it was called before, so that files are read once.

    Returns:
        The finished `Run`: .rule .folder .pool .metrics .report.

    Raises:
        InputError: bad input; nothing was written.
        RunError: the run failed on its own (extinct, non-finite, disk or memory full); the last good checkpoint is kept.
        KeyboardInterrupt: stopped by Ctrl-C, after saving.
        SystemExit: stopped by another signal, after saving.
    """
    # A resumed run must go on with what it began with (law 11).
    if resume is not None and (target is not None or rule is not None):
        what = "target" if target is not None else "rule"
        raise InputError("train", what, f"a {what} together with resume", f"one of the two: a resumed run has its own {what}")
    if resume is not None and not os.fspath(resume):
        raise InputError("train", "resume", "''", "the folder of a run")
    if not isinstance(config, Config | None):
        raise InputError("train", "config", f"a {type(config).__name__}", "a Config: Config(…), or Config.load(FILE)")
    if not isinstance(rule, Rule | None):
        raise InputError("train", "rule", f"a {type(rule).__name__}", "a Rule: nca3d.load(…) reads one")
    if config is None:
        config = Config() if resume is None else Config.load(run_folder(resume) / CONFIG)
    changes = {"iterations": iterations, "report": report, "plugins": plugins}
    config = config.replace(**{name: value for name, value in changes.items() if value is not None})
    if target is not None:
        if config.kind.table != "body":
            raise InputError("train", "target", "a body", f"no target where regime = {config.regime}, which grows no body")
        # Imported here, like every task: a config names its task, and only that one is loaded.
        if isinstance(target, Mapping):
            from nca3d.training.several import custom_bodies

            config, given = custom_bodies(target, config)
        else:
            from nca3d.training.growth import custom_body

            # Where the config has no size, the body has brought its own.
            given = custom_body(target, config)
            config = config.replace(size=given.target.size)
    # Each regime brings its own end of a run; it is loaded only if a report is due.
    finish = partial(config.kind.finish.load(), progress=progress) if config.report else None
    with training_memory(config):
        return loop.train(config, resume=resume, progress=progress, given=given, rule=rule, finish=finish)


@steady_output()
def evaluate(
    rule: Rule | Run | str | Path,
    target: Target | None = None,
    preset: str | Preset = "quick",
    *,
    horizon: int | None = None,
    samples: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    plugins: Sequence[str] | None = None,
    progress: bool = False,
) -> Report:
    """Is it alive? Evaluates a rule, a run, or a rule that is given by its name; see `nca3d.evaluation.evaluate`.

    Args:
        rule: a rule, what `train` returned, a run folder, one of its checkpoints, "zoo:NAME" or "FILE.py:NAME".
        target: the body that it should grow; None = what its card names, or what it was trained on.
        preset: how thorough to be; see `nca3d.evaluation.evaluate`.
        horizon: the age in steps at which the body is judged grown; None = the card's.
        samples: how many bodies; None = as the preset says.
        random_seed: every random draw follows from it.
        executor: how steps are run.
        plugins: Python files to run first, for a rule that is given by its name; see `nca3d.load`.
        progress: whether to show a bar.

    Raises:
        InputError: the rule, its body or the preset is unknown, or a number is out of range.
    """
    # A name is resolved to its rule, and to its folder where it has one.
    run = rule.folder if isinstance(rule, Run) else None
    if isinstance(rule, str | Path):
        ref = RuleRef(rule, plugins=plugins)
        rule, run = ref.rule(), ref.folder
    rule = rule.rule if isinstance(rule, Run) else rule
    if not isinstance(rule, Rule):
        raise InputError("evaluate", "rule", f"a {type(rule).__name__}", "a Rule, a Run, or the name of one")
    if isinstance(rule, ConditionalRule):
        if target is not None:
            raise InputError(
                "evaluate", "target", "a Target", "none: a rule of several bodies has its own; rule.bound(NAME) is one"
            )
        return evaluate_several(
            rule,
            preset,
            horizon=horizon,
            samples=samples,
            random_seed=random_seed,
            executor=executor,
            progress=progress,
        )
    # Kinds with an evaluation of their own take the run folder, and read from it what they were trained on.
    goal = run if target is None and rule.visible_kind in EVALUATIONS else target
    return evaluate_rule(
        rule,
        goal,
        preset,
        horizon=horizon,
        samples=samples,
        random_seed=random_seed,
        executor=executor,
        progress=progress,
    )
