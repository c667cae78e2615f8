"""One trial at work: its runs, one after the other, each in a process of its own."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from nca3d.errors import InputError
from nca3d.executors.child import python_with_nca3d, signal_name
from nca3d.files import open_own, write_atomic
from nca3d.ranks.launcher import without_launcher
from nca3d.sweep.board import LOOKS, Claim
from nca3d.sweep.plan import Plan
from nca3d.training.run_folder import read_metrics

# What runs a trial. A name, since commands stand above this package.
PROGRAM = "nca3d.cli.trial"
# What tells a trial to save and end. Not SIGTERM: where a cluster's scheduler sends that to all processes of a job, ours would
# be the second wish to end, at once and without saving; a hangup beside it is none (`process/stop.py`).
END: int = getattr(signal, "SIGHUP", signal.SIGTERM)
# Exit codes of a run that was ended from outside, after saving.
STOPPED = (129, 130, 143)


class Ended(Enum):
    """How an attempt ended."""

    DONE = "trained and measured"
    FAILED = "failed for a cause of its own"
    STOPPED = "ended from outside: it can go on"


class Attempt:
    """A trial that this process has taken, at work.

    Args:
        plan: what is asked of the sweep.
        claim: the trial.
        places: a run folder for each of its random seeds.
        flags: of every run, such as the plug-ins that the caller named.

    Attributes:
        claim: the trial.
        pruned: whether it was told to end because it fell behind.
        cause: why it failed or was ended.
    """

    def __init__(self, plan: Plan, claim: Claim, places: Sequence[Path], flags: Sequence[str]) -> None:
        self.claim, self.pruned, self.cause = claim, False, ""
        self._plan, self._flags = plan, flags
        self._waiting = list(zip(places, claim.seeds, strict=True))
        self._first = places[0]
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path()
        self._looked, self._told = 0, False

    @property
    def name(self) -> str:
        """The trial as messages call it: its number, and its setting."""
        setting = ", ".join(f"{name} = {value}" for name, value in self.claim.setting.items())
        seed = f"random_seed = {self.claim.seeds[0]}" if len(self.claim.seeds) == 1 else ""
        return f"trial {self.claim.number} ({', '.join(filter(None, (setting, seed)))})"

    @property
    def log(self) -> Path:
        """The file with what the run that is at work, or was the last one, has printed."""
        return self._log

    def begin(self) -> Ended | None:
        """Starts the next run; returns how the attempt ended if there is none, or if its config can't be used."""
        if not self._waiting:
            return Ended.DONE
        place, seed = self._waiting.pop(0)
        file = place.with_name(f"{place.name}.toml")
        self._log = place.with_name(f"{place.name}.log")
        try:
            config = self._plan.config(self.claim.setting, seed)
            write_atomic(file, config.to_toml().encode())
            log = open_own(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        except InputError as error:
            # A search may propose what goes with nothing else, such as a batch that can't be split.
            self.cause = str(error).replace("\n", "; ")
            return Ended.FAILED
        python, environment = python_with_nca3d()
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(max(1, config.threads)))
        # A trial is a run of its own, not one of the processes that torchrun has started for the sweep.
        environment = without_launcher(environment)
        words = [str(os.getpid()), str(place), str(file), self._plan.measure, *self._flags]
        try:
            # A session of its own: Ctrl-C in the terminal is for the sweep, which tells its trials once.
            self._process = subprocess.Popen(
                [*python, "-m", PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        finally:
            os.close(log)
        return None

    def poll(self) -> Ended | None:
        """Returns how the attempt ended; None while it is at work. After a run that is done the next one begins."""
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        if code == 0:
            return Ended.STOPPED if self._told and self._waiting else self.begin()
        if code < 0 or code in STOPPED:
            self.cause = f"ended by {signal_name(code) if code < 0 else 'a signal'}"
            return Ended.STOPPED
        self.cause = _last_words(self._log) or f"exit code {code}"
        return Ended.FAILED

    def end(self) -> None:
        """Tells the run that is at work to save and end."""
        self._told = True
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(END)

    def looks(self, iterations: int, names: Sequence[str]) -> list[tuple[int, float]]:
        """Returns how good the first run is at each new look, so that trials can be compared at the same age.

        Args:
            iterations: of the whole run.
            names: the metrics that say how good it is; the first that a line has counts.

        Returns:
            (look 1 … `LOOKS`, value), those that were not returned before.
        """
        found: dict[int, float] = {}
        with contextlib.suppress(InputError):
            for line in read_metrics(self._first):
                look = int(line.get("iteration", 0)) * LOOKS // iterations
                value = next((line[name] for name in names if isinstance(line.get(name), int | float)), None)
                if value is not None and look > self._looked:
                    found.setdefault(look, float(value))
        self._looked = max(found, default=self._looked)
        return sorted(found.items())


def _last_words(log: Path) -> str:
    """Returns the last line that a run has printed, which says why it failed."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 4000))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line), "")
