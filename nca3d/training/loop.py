"""The training loop, `train(config)`: a straight function that a newcomer can read.

One iteration is `step.train_step`; all that lives from one iteration to the next is in `trainer.Trainer`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

import pools
from nca3d import checkpoint
from nca3d.config import Config, plugins
from nca3d.config.shipped import located
from nca3d.errors import InputError, NotFiniteError, RunError
from nca3d.files import KEPT_TARGET
from nca3d.process.parting import PARTING
from nca3d.process.stop import Overdue, StopSignal
from nca3d.process.streams import steady_output
from nca3d.process.supervise import no_way_out
from nca3d.ranks import by_first, current
from nca3d.ranks.joined import joined
from nca3d.ranks.restart import noted_run
from nca3d.ranks.telling import tell
from nca3d.reports.report import Report
from nca3d.rules.cell import Rule
from nca3d.training.agreed import check_alike, load_newest, stopping
from nca3d.training.build import shaped, widened_note
from nca3d.training.changes import changes
from nca3d.training.forecast import forecast
from nca3d.training.log import Log
from nca3d.training.memory import check_memory
from nca3d.training.open_run import open_run_folder
from nca3d.training.phases import phase
from nca3d.training.profiler import Profiler
from nca3d.training.ran import note_place, ran
from nca3d.training.ranked_pool import RankedPool
from nca3d.training.recovery import NOTICED, Recovery
from nca3d.training.run_folder import RunFolder
from nca3d.training.saving import Saver
from nca3d.training.step import note_executor
from nca3d.training.threads import threads
from nca3d.training.trackers import check_trackers
from nca3d.training.trainer import Trainer
from nca3d.training.watch import LOST, lost_told, silent_told, spike_told, unmoved_told

# Cells from which a training takes long enough for its forecast to be of use.
FORECAST_FROM = 500


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
    with joined(config.timeout) as ranks:
        ranks.splits = config.kind.splits(config)
        # torchrun has started the processes anew: they go on where they were.
        if resume is None:
            resume = noted_run() if ranks.size > 1 else None
        return _train(config, resume, progress, given, rule, finish)


def _train(
    config: Config,
    resume: str | Path | None,
    progress: bool,
    given: object,
    rule: Rule | None,
    finish: Callable[[Run, Trainer], Report] | None,
) -> Run:
    """Trains as one of the processes, or alone; see `train`."""
    ranks = current()
    # Paths become absolute, so that the run can be continued from any folder.
    config = config.anchored()
    # Plug-ins first: they register the rules, losses and damages that the config may name.
    plugins.run(config.plugins, config.plugins_from)
    check_trackers(config)
    # Before a body is computed for nothing.
    check_memory(config)
    asked = config
    config, given = config.kind.sized(config if resume else shaped(config), given, resume)
    trainer = Trainer.begin(config, given, rule)
    check_alike(trainer)
    decided = dict.fromkeys(note for target in trainer.targets for note in target.notes)
    for message in (
        *decided,
        asked.kind.chosen(asked, given, resume),
        "" if resume else widened_note(config, trainer.rule),
        trainer.task.note(trainer.rule),
        note_executor(config, trainer.task, trainer.rule),
        note_place(trainer),
    ):
        if message:
            print(message, file=sys.stderr)
    # The folder is made last: a config that can't be used leaves nothing behind.
    with open_run_folder(config, resume, trainer.task.subject) as folder, StopSignal(ranks.size > 1) as stop, threads(config):
        if folder.has_checkpoints():
            _restore(trainer, folder)
        # That of a small body is done before it is read.
        if sum(target.cells for target in trainer.targets) > FORECAST_FROM and trainer.iteration < config.iterations:
            print(forecast(config, trainer.targets, trainer.rule, trainer.iteration), file=sys.stderr)
        # What was trained for goes with the run; where the config names no other source, it names that file from now on.
        if changes := by_first(lambda: trainer.task.keep(folder.path)):
            trainer.config = trainer.task.config = folder.config = config = config.replace(**changes)
            trainer.rule.card |= {name: value for name, value in trainer.task.card().items() if name != "start"}
            folder.write_config()
        _iterate(trainer, folder, stop, Saver(trainer, folder), progress)
        if trainer.iteration >= trainer.end and (told := trainer.course.told(config, trainer.seconds)):
            print(f"{folder.path}: {told}", file=sys.stderr)
        if trainer.iteration < trainer.end and stopping(stop):
            stop.leave(f"stopped at iteration {trainer.iteration}; go on with: {folder.way_on}")

        rule = trainer.trained_rule()
        # The first of several processes gets all of it.
        rule = rule.whole() or rule
        rule.card = located(rule.card, folder.path)
        if isinstance(trainer.pool, RankedPool):
            trainer.pool = trainer.pool.whole()
        run = Run(rule, folder.path, trainer.pool, folder.metrics())
        if finish is not None:
            # All is saved: from here on a signal need not wait.
            undone = f"{folder.path}: trained and saved, but its report is not done: nca3d evaluate {folder.path}"
            stop.parts, ranks.doing = partial(tell, undone), "its report"
            with stop.at_once(undone):
                try:
                    run.report = finish(run, trainer)
                except OSError as error:
                    raise RunError(f"{undone} ({error})") from error
            if not folder.is_there():
                folder.require()
    return run


def _iterate(trainer: Trainer, folder: RunFolder, stop: StopSignal, saver: Saver, progress: bool) -> None:
    """Trains until all iterations are done or a signal came, with retries where the run goes wrong; ends with a save.

    Raises:
        RunError: it went wrong once too often, something called sys.exit, or the end can't be saved.
    """
    config = trainer.config
    # Several processes stop between two iterations: one can't break off alone what all are about.
    several = current().size > 1
    stop.may_interrupt = lambda: not several and trainer.phase == "run"
    stop.saving = lambda: saver.busy
    stop.parts = partial(_parted, folder)
    bar = tqdm(
        total=config.iterations, initial=trainer.iteration, disable=not (progress and current().first), unit="it", desc="train"
    )
    # As if the run had begun earlier by what it took before, so that a resumed run goes on counting.
    start_time = time.monotonic() - trainer.seconds
    with saver.whatever_happens(), no_way_out(), Log(folder, trainer) as log, Profiler(folder, trainer) as profiler, bar:
        saver.first()
        while cause := _train_on(trainer, stop, saver, log, profiler, bar, start_time):
            _go_back(trainer, folder, cause)
            if len(trainer.recovery.setbacks) > config.retries:
                break
            print(f"{folder.path}: {trainer.recovery.told(config)}", file=sys.stderr)
            log.went_back(trainer)
            saver.again()
            bar.n = trainer.iteration
            bar.refresh()
        if cause:
            failure, trainer.recovery = trainer.recovery.failure(config, folder.path, folder.way_on), Recovery()
            # Whoever resumes it has changed something: then all retries are there again.
            saver.again()
    if cause:
        raise RunError(failure)
    # The last iteration, or the one that a signal stopped at.
    saver.last()


def _parted(folder: RunFolder) -> None:
    """Tells that one of several processes can't wait any longer for the iteration to end, or for another process."""
    found = f"{folder.path}: not saved: {current().doing} did not end within {PARTING:g} s of a signal"
    tell(f"{found}; goes on from its last checkpoint with: {folder.way_on}")


def _train_on(
    trainer: Trainer, stop: StopSignal, saver: Saver, log: Log, profiler: Profiler, bar: Any, start_time: float
) -> str:
    """Trains until all iterations are done, a signal came, or too many were bad in a row; returns what is wrong then, or ""."""
    config, fault = trainer.config, ""
    # A signal only sets `stop.requested`: an iteration is never torn, and the run can be resumed bit for bit.
    while trainer.iteration < trainer.end and not stopping(stop):
        current().doing = f"iteration {trainer.iteration + 1}"
        profiler.next()
        begun = time.perf_counter()
        try:
            outcome = trainer.step()
        # It took too long after a signal: the trainer is back at the iteration before.
        except Overdue:
            if stop.requested is None:
                raise
            break
        trainer.seconds, fault = time.monotonic() - start_time, outcome.fault

        took = time.perf_counter() - begun
        phase("log")
        log.write(trainer, outcome, took)
        postfix = {"loss": f"{outcome.metrics['loss']:.4f}"}
        postfix[trainer.task.headline] = f"{outcome.metrics[trainer.task.headline]:.3f}"
        bar.set_postfix(postfix, refresh=False)
        bar.update()
        if trainer.bad_steps >= min(config.max_bad_steps, NOTICED):
            return f"{fault}, {trainer.bad_steps} iterations in a row"
        if cause := _spike(trainer, outcome.metrics):
            return cause
        phase("save")
        # The last one is saved when it is known to be good.
        if trainer.iteration < trainer.end:
            try:
                saver.in_between()
            except NotFiniteError as error:
                return _spoilt(error)
        # The bar ends where the run does.
        bar.total = trainer.end
    if trainer.iteration < trainer.end:
        return ""
    # One bad iteration at the end does no harm: the weights are those of the one before.
    if trainer.bad_steps > 1:
        return f"{fault}, {trainer.bad_steps} iterations in a row"
    if wrong := trainer.task.fault(trainer.trained_rule()):
        return wrong
    # Saved here, where the run can still go back.
    try:
        saver.last()
    except NotFiniteError as error:
        return _spoilt(error)
    return ""


def _spoilt(error: NotFiniteError) -> str:
    """Returns why a run goes back whose numbers can't be saved: what no iteration looks at, such as the running average."""
    return str(error).partition("not saved: ")[2].partition(";")[0]


def _spike(trainer: Trainer, metrics: dict[str, float]) -> str:
    """Tells of a loss that is a spike, and of weights that don't move; returns why the run goes back, "" if it goes on."""
    config, where = trainer.config, f"iteration {trainer.iteration}"
    if "unmoved" in metrics:
        if trainer.watch.unmoved >= LOST and metrics["loss"]:
            return lost_told(trainer.watch.unmoved)
        print(f"{where}: {unmoved_told(trainer.watch.unmoved)}", file=sys.stderr)
    if metrics.get("no_gradient"):
        print(f"{where}: {silent_told(trainer.watch.silent)}", file=sys.stderr)
    if not trainer.watch.told:
        return ""
    told = spike_told(metrics["loss"], metrics["spike"])
    # It is no fault: when all retries are used up, the run goes on.
    if config.spike == "rollback" and len(trainer.recovery.setbacks) < config.retries:
        return told
    if not trainer.watch.usual(metrics["loss"]):
        on = "" if config.spike == "rollback" else "; training goes on (spike = rollback would go back)"
        print(f"{where}: {told}{on}", file=sys.stderr)
    return ""


def _check_body(trainer: Trainer, folder: RunFolder, saved: checkpoint.Checkpoint) -> None:
    """Checks that a run goes on with the body that it was trained on, unless its config names another one now.

    Raises:
        InputError: the file that keeps the body is gone or another one, and what its source gives is another body.
    """
    before, now = folder.config_before(saved.scalars.get("config")), trainer.config
    kept, found = (_digests(card) for card in (saved.scalars["card"], trainer.rule.card))
    if before is None or None in kept or None in found or kept == found:
        return
    if all(getattr(before, name) == getattr(now, name) for name in ("target", "target_options", "size")):
        allowed = f"the one that the run was trained on ({KEPT_TARGET} as it was written); or another one by --target"
        raise InputError(folder.path / KEPT_TARGET, "target", "another body, or none", allowed)


def _digests(card: dict[str, Any]) -> list[str | None]:
    """Returns the digests of the bodies of a card; None for one that is not kept."""
    return [(one.get("body") or {}).get("sha256") for one in card.get("targets") or [card]]


def _go_back(trainer: Trainer, folder: RunFolder, cause: str) -> None:
    """Takes a run that went wrong back to its newest checkpoint whose rule is alive, with one setback more on its record.

    Raises:
        RunError: no checkpoint can be used.
    """
    iteration, recovery, seconds = trainer.iteration, trainer.recovery, trainer.seconds
    try:
        # Where no weight has moved for long, what was saved meanwhile is no better.
        saved = by_first(lambda: checkpoint.steps(folder.path))
        moving = [number for number in saved if number <= iteration - trainer.watch.unmoved] or saved[-1:]
        for number in recovery.candidates(moving, iteration, trainer.config):
            if number == 0:
                by_first(lambda: checkpoint.bring_first_back(folder.path))
            trainer.restore(load_newest(folder.path, number, checkpoint.check_training))
            # Saved between two looks, with the harm already done: an older one will do.
            if not trainer.task.fault(trainer.rule):
                break
    except InputError as error:
        raise RunError(f"{folder.path}: iteration {iteration}: {cause}, and nothing to go back to: {error}") from error
    trainer.recovery, trainer.seconds = recovery.after(iteration, cause, trainer.iteration, trainer.config), seconds


def _restore(trainer: Trainer, folder: RunFolder) -> None:
    """Takes a run up where its newest checkpoint was taken, and tells what will be different from now on.

    Raises:
        InputError: no checkpoint can be used, or it belongs to another run; nothing was written.
        RunError: the disk is full or fails.
    """
    saved = load_newest(folder.path, check=checkpoint.check_training)
    _check_body(trainer, folder, saved)
    trainer.restore(saved)
    # Compiled code sums by sample: so it is the same run on any number of processes.
    by_sample = ran(trainer)["executor"] == "event, compiled code"
    if warning := checkpoint.bit_exact_warning(saved.manifest, any_ranks=by_sample):
        print(warning, file=sys.stderr)
    if "config" not in saved.scalars:
        print(f"{saved.path}: holds no config yet, as in version 0.1.0: compared with config.toml as it is", file=sys.stderr)
    before = folder.config_before(saved.scalars.get("config"))
    # Another rate is another way out: the retries are there again, and none of their factors is on it.
    if before is not None and before.learning_rate != trainer.config.learning_rate:
        trainer.recovery = Recovery()
    if before is not None and (lines := changes(before, trainer.config)):
        kept = folder.keep_config(before, trainer.iteration)
        print(
            f"{folder.path}: goes on from iteration {trainer.iteration} with another config; {kept.name} has the old one",
            file=sys.stderr,
        )
        print(*lines, sep="\n", file=sys.stderr)
    # Lines after the checkpoint are of iterations that are now run again.
    folder.cut_metrics(trainer.iteration)
