"""The training loop, `train(config)`: a straight function that a newcomer can read."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import pools
from nca3d import checkpoint
from nca3d.config import Config
from nca3d.errors import RunError
from nca3d.load import run_plugins
from nca3d.reports.report import Report
from nca3d.rules.cell import Rule
from nca3d.training.log import Log
from nca3d.training.run_folder import open_run_folder
from nca3d.training.step import note_executor
from nca3d.training.stop import StopSignal
from nca3d.training.threads import threads
from nca3d.training.trainer import Trainer


@dataclass
class Run:
    """What training leaves: the trained rule, its folder, the pool, one dict for each logged iteration, and the report."""

    rule: Rule
    folder: Path
    pool: pools.StatePool
    metrics: list[dict[str, Any]]
    report: Report = field(default_factory=lambda: Report({}, {}))


def train(
    config: Config,
    *,
    resume: str | Path | None = None,
    progress: bool = True,
    given: object = None,
    rule: Rule | None = None,
    finish: Callable[[Run, Trainer], Report] | None = None,
) -> Run:
    """Train a rule as the config says. `nca3d.train` is this with a report at the end.

    Args:
        config: the experiment. Everything is checked before anything is written.
        resume: a run folder to go on with, from its newest checkpoint that verifies; more iterations may be asked for.
        progress: show a bar with time left, loss and IoU.
        given: what the task would read by the config's names, where somebody has read it already: see `Task`.
        rule: is trained in place of a fresh one; a copy of it.
        finish: is called with what training left while the folder is still held; what it returns is the run's report.

    Returns:
        The finished `Run`.

    Raises:
        InputError: bad input; nothing was written.
        RunError: the run failed on its own (extinct, non-finite, disk full); the last good checkpoint is kept.
        KeyboardInterrupt, SystemExit: stopped by a signal, after saving.
    """
    config = config.anchored()
    run_plugins(config.plugins)
    trainer = Trainer.begin(config, given, rule)
    for said in (trainer.task.note(trainer.rule), note_executor(config, trainer.task, trainer.rule)):
        if said:
            print(said, file=sys.stderr)
    with open_run_folder(config, resume, trainer.task.subject) as folder, StopSignal() as stop, threads(config):
        if resume is not None:
            saved = checkpoint.load(folder.path)
            trainer.restore(saved)
            for note in (checkpoint.bit_exact_warning(saved.manifest), _stretched(config, saved)):
                if note:
                    print(note, file=sys.stderr)
            folder.cut_metrics(trainer.iteration)
        if changes := trainer.task.keep(folder.path):
            trainer.config = trainer.task.config = folder.config = config = config.replace(**changes)
            trainer.rule.card = trainer.task.card()
            folder.write_config()
        bar = tqdm(total=config.iterations, initial=trainer.iteration, disable=not progress, unit="it", desc="train")
        started = time.monotonic() - trainer.seconds

        with Log(folder, config) as log, bar:
            while trainer.iteration < config.iterations and stop.requested is None:
                outcome = trainer.step()
                trainer.seconds = time.monotonic() - started

                log.write(trainer, outcome)
                shown = {"loss": f"{outcome.metrics['loss']:.4f}"}
                shown[trainer.task.headline] = f"{outcome.metrics[trainer.task.headline]:.3f}"
                bar.set_postfix(shown, refresh=False)
                bar.update()
                if trainer.bad_steps >= config.max_bad_steps:
                    raise RunError(_failed(folder.path, trainer, outcome.fault))
                if trainer.bad_steps == 0 and trainer.iteration % config.save_every == 0:
                    trainer.save(folder.path)
            if trainer.bad_steps == 0 and trainer.iteration % config.save_every:
                trainer.save(folder.path)
        if stop.requested is not None and trainer.iteration < config.iterations:
            stop.leave(f"stopped at iteration {trainer.iteration}; go on with: nca3d train --resume {folder.path}")

        run = Run(trainer.trained_rule(), folder.path, trainer.pool, folder.metrics())
        if finish is not None:
            run.report = finish(run, trainer)
    return run


def _stretched(config: Config, saved: checkpoint.Checkpoint) -> str | None:
    """What another number of iterations means for a resumed run; None where it is the same."""
    before = saved.scalars["iterations"]
    if before == config.iterations:
        return None
    return (
        f"iterations was {before}, is {config.iterations}: schedule, curriculum and damage_from are shares of it, "
        f"so what follows is not bit for bit a run of {config.iterations} from the start"
    )


def _failed(folder: Path, trainer: Trainer, fault: str) -> str:
    return (
        f"{folder}: iteration {trainer.iteration}: {fault}, {trainer.bad_steps} iterations in a row; the last good checkpoint "
        f"is kept: lower learning_rate, then nca3d train --resume {folder}"
    )
