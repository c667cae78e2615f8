"""The training loop, `train(config)`: a straight function that a newcomer can read.

One iteration is `step.train_step`; all that lives from one iteration to the next is in `trainer.Trainer`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import pools
from nca3d import checkpoint
from nca3d.config import Config, plugins
from nca3d.errors import RunError
from nca3d.process.stop import Overdue, StopSignal
from nca3d.process.streams import steady_output
from nca3d.process.supervise import no_way_out
from nca3d.reports.report import Report
from nca3d.rules.cell import Rule
from nca3d.training.changes import changes
from nca3d.training.log import Log
from nca3d.training.run_folder import RunFolder, open_run_folder
from nca3d.training.saving import Saver
from nca3d.training.step import note_executor
from nca3d.training.threads import threads
from nca3d.training.trainer import Trainer


@dataclass
class Run:
    """The result of training.

    Attributes:
        rule: the trained rule; with the averaged weights where the config asks for an average.
        folder: the run folder, with checkpoints, metrics and report.
        pool: the evolved states.
        metrics: one dict for each logged iteration, oldest first.
        report: what was measured at the end; empty if no report was asked for.
    """

    rule: Rule
    folder: Path
    pool: pools.StatePool
    metrics: list[dict[str, Any]]
    report: Report = field(default_factory=lambda: Report({}, {}))


@steady_output()
def train(
    config: Config,
    *,
    resume: str | Path | None = None,
    progress: bool = True,
    given: object = None,
    rule: Rule | None = None,
    finish: Callable[[Run, Trainer], Report] | None = None,
) -> Run:
    """Trains a rule as the config says. `nca3d.train` is this with a report at the end.

    Args:
        config: the experiment. Everything is checked before anything is written.
        resume: a run folder to continue from its newest checkpoint that verifies; its config may ask for more iterations.
        progress: whether to show a bar with time left, loss and IoU.
        given: what the task would load by the config's names, if it is loaded already (a target, questions); see `Task`.
        rule: the rule to train instead of a fresh one; a copy of it is trained.
        finish: makes the run's report, (run, trainer) -> report; it is called while the run folder is still locked.

    Returns:
        The finished `Run`.

    Raises:
        InputError: bad input; nothing was written.
        RunError: the run failed on its own (extinct, non-finite, disk full); the last good checkpoint is kept.
        KeyboardInterrupt: stopped by Ctrl-C, after saving.
        SystemExit: stopped by another signal, after saving.
    """
    # Paths become absolute, so that the run can be continued from any folder.
    config = config.anchored()
    # Plug-ins first: they register the rules, losses and damages that the config may name.
    plugins.run(config.plugins, config.plugins_from)
    config, given = config.kind.sized(config, given)
    trainer = Trainer.begin(config, given, rule)
    decided = trainer.target.notes if trainer.target else ()
    for message in (*decided, trainer.task.note(trainer.rule), note_executor(config, trainer.task, trainer.rule)):
        if message:
            print(message, file=sys.stderr)
    # The folder is made last: a config that can't be used leaves nothing behind.
    with open_run_folder(config, resume, trainer.task.subject) as folder, StopSignal() as stop, threads(config):
        if folder.has_checkpoints():
            _restore(trainer, folder)
        # A target without a name is saved in the run folder, and the config names that file from now on.
        if changes := trainer.task.keep(folder.path):
            trainer.config = trainer.task.config = folder.config = config = config.replace(**changes)
            trainer.rule.card = trainer.task.card()
            folder.write_config()
        _iterate(trainer, folder, stop, Saver(trainer, folder), progress)
        if stop.requested is not None and trainer.iteration < config.iterations:
            stop.leave(f"stopped at iteration {trainer.iteration}; go on with: nca3d train --resume {folder.path}")

        run = Run(trainer.trained_rule(), folder.path, trainer.pool, folder.metrics())
        if finish is not None:
            # All is saved: from here on a signal need not wait.
            undone = f"{folder.path}: trained and saved, but its report is not done: nca3d evaluate {folder.path}"
            with stop.at_once(undone):
                try:
                    run.report = finish(run, trainer)
                except OSError as error:
                    raise RunError(f"{undone} ({error})") from error
            folder.require()
    return run


def _iterate(trainer: Trainer, folder: RunFolder, stop: StopSignal, saver: Saver, progress: bool) -> None:
    """Trains until all iterations are done, a signal came, or too many were bad in a row; ends with a save.

    Raises:
        RunError: the last iterations were bad ones, something called sys.exit, or the end can't be saved.
    """
    config = trainer.config
    stop.may_interrupt = lambda: trainer.phase == "run"
    bar = tqdm(total=config.iterations, initial=trainer.iteration, disable=not progress, unit="it", desc="train")
    # As if the run had begun earlier by what it took before, so that a resumed run goes on counting.
    start_time = time.monotonic() - trainer.seconds
    # Of a run that is resumed at its end nothing else is known.
    fault = "faulty"
    with saver.whatever_happens(), no_way_out(), Log(folder, config) as log, bar:
        # A signal only sets `stop.requested`: an iteration is never torn, and the run can be resumed bit for bit.
        while trainer.iteration < config.iterations and stop.requested is None and trainer.bad_steps < config.max_bad_steps:
            try:
                outcome = trainer.step()
            # It took too long after a signal: the trainer is back at the iteration before.
            except Overdue:
                if stop.requested is None:
                    raise
                break
            trainer.seconds, fault = time.monotonic() - start_time, outcome.fault

            log.write(trainer, outcome)
            postfix = {"loss": f"{outcome.metrics['loss']:.4f}"}
            postfix[trainer.task.headline] = f"{outcome.metrics[trainer.task.headline]:.3f}"
            bar.set_postfix(postfix, refresh=False)
            bar.update()
            saver.in_between()
    if trainer.bad_steps >= config.max_bad_steps:
        # Nothing to go back to: then this is better than nothing.
        if not saver.saved_before:
            saver.last()
        raise RunError(_failure(folder.path, trainer, fault))
    # The last iteration, or the one that a signal stopped at.
    saver.last()
    # One bad iteration at the end does no harm: the weights are those of the one before.
    if trainer.bad_steps > 1 and trainer.iteration == config.iterations:
        raise RunError(_failure(folder.path, trainer, fault))


def _restore(trainer: Trainer, folder: RunFolder) -> None:
    """Takes a run up where its newest checkpoint was taken, and tells what will be different from now on.

    Raises:
        InputError: no checkpoint can be used, or it belongs to another run; nothing was written.
        RunError: the disk is full or fails.
    """
    saved = checkpoint.load(folder.path)
    trainer.restore(saved)
    if warning := checkpoint.bit_exact_warning(saved.manifest):
        print(warning, file=sys.stderr)
    if "config" not in saved.scalars:
        print(f"{saved.path}: holds no config yet, as in version 0.1.0: compared with config.toml as it is", file=sys.stderr)
    before = folder.config_before(saved.scalars.get("config"))
    if before is not None and (lines := changes(before, trainer.config)):
        kept = folder.keep_config(before, trainer.iteration)
        print(
            f"{folder.path}: goes on from iteration {trainer.iteration} with another config; {kept.name} has the old one",
            file=sys.stderr,
        )
        print(*lines, sep="\n", file=sys.stderr)
    # Lines after the checkpoint are of iterations that are now run again.
    folder.cut_metrics(trainer.iteration)


def _failure(folder: Path, trainer: Trainer, fault: str) -> str:
    """Returns the message of a run that failed, with what to do next."""
    done = trainer.iteration == trainer.config.iterations
    way = f"nca3d train --resume {folder}" + (f" --iterations {trainer.iteration + trainer.config.save_every}" if done else "")
    return (
        f"{folder}: iteration {trainer.iteration}: {fault}, {trainer.bad_steps} iterations in a row; the last good checkpoint "
        f"is kept: lower learning_rate, then {way}"
    )
