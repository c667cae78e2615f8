"""Who runs which trial: an Optuna study that several processes and machines share, and a lock for each trial.

All trials stand in the study from the beginning, waiting: those of a grid with their settings, those of a search without, to be
chosen when they begin. So there is one way to take a trial, and none is run twice. Whoever takes one holds its lock, which the
kernel frees when the process dies: a trial that is said to run and isn't locked is an orphan, and goes on from its checkpoint.
"""

import contextlib
import itertools
import json
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nca3d.errors import InputError
from nca3d.files import locked, refuse_locked, refuse_odd
from nca3d.sweep.plan import JOURNAL, TRIALS, Plan, Setting

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

# The lock of a run folder: a trial that was told to end may still be saving.
RUN_LOCK = "run.lock"
SEED = "random_seed"
# Of the parts that a trial is looked at in, those before a search may end it; and the trials that are always run to their end.
LOOKS, WARM_UP, STARTERS = 20, 5, 5


def require_optuna() -> None:
    """Checks that Optuna is there.

    Raises:
        InputError: it is not; the line names the extra.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("nca3d sweep", "optuna", "not installed", "pip install 'nca3d[sweep]'") from None
    # What it logs of each trial is on our bar.
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass
class Claim:
    """A trial that this process has taken, and holds the lock of.

    Attributes:
        number: its number, from 0.
        setting: the values of what varies.
        seeds: the random seeds that it is run with, one after the other.
        lock: frees the trial.
    """

    number: int
    setting: Setting
    seeds: list[int]
    lock: contextlib.ExitStack


class Board:
    """The study of a sweep.

    Args:
        plan: what is asked.
        folder: the folder of the sweep.

    Attributes:
        given_up: trials that were ended from outside; this process does not take them again.

    Raises:
        InputError: the study can't be opened.
    """

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        # Without locks no trial could be taken: that is known now, and not mistaken for trials that others hold.
        with locked(folder / TRIALS / f"{os.uname().nodename}-{os.getpid()}-{id(self)}.lock"):
            pass
        with _readable(plan, folder):
            self._storage = _storage(plan, folder)
            self._study = _study(plan, self._storage)
            self._id = self._storage.get_study_id_from_name(plan.study)
        self.given_up: set[int] = set()

    def trials(self) -> "list[FrozenTrial]":
        """Returns all trials as they stand now, by number."""
        with _readable(self.plan, self.folder):
            return self._study.get_trials(deepcopy=False)

    def claim(self) -> Claim | None:
        """Takes a trial that waits or is an orphan, and returns it; None = there is none."""
        from optuna.trial import TrialState

        for state in (TrialState.WAITING, TrialState.RUNNING):
            for trial in self.trials():
                if trial.state == state and trial.number not in self.given_up and (claim := self._take(trial.number)):
                    return claim
        return None

    def _take(self, number: int) -> Claim | None:
        """Returns a trial once its lock is ours and it is still to be run; None = somebody else has it, or had it."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import Trial, TrialState

        lock = contextlib.ExitStack()
        try:
            lock.enter_context(locked(self.folder / TRIALS / f"{number:04d}.lock"))
            for place in self.places(number):
                refuse_locked(place / RUN_LOCK)
        except InputError:
            lock.close()
            return None
        identity = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        state = self._study.get_trials(deepcopy=False)[number].state
        # A trial that runs and that nobody holds is an orphan.
        ours = state == TrialState.RUNNING
        if state == TrialState.WAITING:
            with contextlib.suppress(UpdateFinishedTrialError):
                ours = self._storage.set_trial_state_values(identity, TrialState.RUNNING)
        if not ours:
            lock.close()
            return None
        trial, plan = Trial(self._study, identity), self.plan
        setting = {axis.name: axis.suggest(trial) for axis in plan.axes}
        seeds = list(range(plan.first_seed, plan.first_seed + plan.seeds))
        if plan.search == "grid":
            seeds = [int(trial.suggest_categorical(SEED, seeds))]
        return Claim(number, setting, seeds, lock)

    def places(self, number: int) -> list[Path]:
        """Returns the run folders of a trial: one, or of a search one for each random seed."""
        stem = self.folder / TRIALS / f"{number:04d}"
        if self.plan.search == "grid" or self.plan.seeds == 1:
            return [stem]
        return [stem.with_name(f"{stem.name}-{seed}") for seed in range(self.plan.seeds)]

    def seen(self, number: int, look: int, value: float) -> bool:
        """Enters how good a trial is at a look 1 … `LOOKS`; returns whether it may end early."""
        identity = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        self._storage.set_trial_intermediate_value(identity, look, value)
        return bool(self._study.pruner.prune(self._study, self._study.get_trials(deepcopy=True)[number]))

    def tell(self, number: int, state: str, *, value: float | None = None, cause: str = "") -> None:
        """Enters how a trial ended.

        Args:
            number: the trial.
            state: "complete", "fail", or "pruned" for one that was ended early.
            value: the objective of one that is complete.
            cause: why it failed.
        """
        from optuna.trial import TrialState

        if cause:
            identity = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
            self._storage.set_trial_user_attr(identity, "cause", cause)
        self._study.tell(number, value, TrialState[state.upper()])

    def give_up(self, number: int) -> None:
        """Leaves a trial as it is, for another process or for later."""
        self.given_up.add(number)


def create(plan: Plan, folder: Path) -> None:
    """Makes the study, with all trials waiting in it.

    Raises:
        InputError: the database can't be used.
    """
    (folder / TRIALS).mkdir()
    import optuna

    with _readable(plan, folder):
        study = optuna.create_study(storage=_storage(plan, folder), study_name=plan.study, direction=_direction(plan))
        for setting in _waiting(plan):
            study.enqueue_trial(setting)


def _waiting(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yields what each trial is given: its setting in a grid, nothing in a search."""
    from nca3d.schema.spec import toml

    if plan.search != "grid":
        yield from ({} for _ in range(plan.trials))
        return
    seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
    # All settings with the first seed come first: a sweep that is looked at half-way has one of each.
    for seed, setting in itertools.product(seeds, list(plan.settings())):
        shown = {name: toml(value) if isinstance(value, list | dict) else value for name, value in setting.items()}
        yield {**shown, SEED: seed}


def _direction(plan: Plan) -> Literal["minimize", "maximize"]:
    return "minimize" if plan.minimise else "maximize"


def _storage(plan: Plan, folder: Path) -> "BaseStorage":
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if plan.storage:
        return RDBStorage(plan.storage)
    refuse_odd(folder / JOURNAL)
    return JournalStorage(JournalFileBackend(str(folder / JOURNAL)))


def _study(plan: Plan, storage: "BaseStorage") -> Any:
    """Returns the study with its sampler and its pruner."""
    import optuna

    begun = len(
        [1 for trial in storage.get_all_trials(storage.get_study_id_from_name(plan.study), deepcopy=False) if trial.params]
    )
    # Machines that join later must not propose what the first one did.
    seed = plan.first_seed + begun
    with warnings.catch_warnings():
        # Of its options that are new; what changes in them is a matter of which settings are tried.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # Trials that still run count as bad, so that trials at the same time are not all at one place.
        random = optuna.samplers.RandomSampler(seed=seed)
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True) if plan.search == "tpe" else random
        pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTERS, n_warmup_steps=WARM_UP)
    return optuna.load_study(
        study_name=plan.study, storage=storage, sampler=sampler, pruner=pruner if plan.prune else optuna.pruners.NopPruner()
    )


@contextlib.contextmanager
def _readable(plan: Plan, folder: Path) -> Iterator[None]:
    """A context in which what goes wrong with the storage is one line.

    Raises:
        InputError: the storage can't be used.
    """
    where, name = (folder, JOURNAL) if not plan.storage else ("--storage", "database")
    allowed = "the journal as Optuna wrote it; where a network drive tears its lines, --storage URL of a database"
    try:
        yield
    except (InputError, OSError):
        raise
    # A line that was torn on a network drive, a database that doesn't answer: each storage has errors of its own.
    except (json.JSONDecodeError, ValueError, KeyError, ImportError) as error:
        raise InputError(where, name, f"{type(error).__name__}: {error}", allowed if not plan.storage else _DATABASE) from None
    except Exception as error:
        if not type(error).__module__.startswith(("optuna", "sqlalchemy")):
            raise
        raise InputError(where, name, f"{type(error).__name__}: {error}", allowed if not plan.storage else _DATABASE) from None


_DATABASE = "the URL of a database that answers, as SQLAlchemy takes it: postgresql://…, sqlite:///FILE"
