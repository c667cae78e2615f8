"""`nca3d train --profile`: a few iterations are timed by phase, a few more are traced, and a page says where the time went."""

import contextlib
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from nca3d.config.fields import AGEING_EVERY
from nca3d.executors.cores import cores
from nca3d.files import vacate, write_atomic
from nca3d.process.status import status_bytes
from nca3d.ranks import current
from nca3d.reports.profile import Operation, Phase, Profile
from nca3d.training.phases import PHASES, Clock, phase, watch
from nca3d.training.run_folder import RunFolder
from nca3d.training.trainer import Trainer
from nca3d.versions import versions

# Iterations at the beginning that are not looked at (libraries set themselves up), that are timed, and that are traced.
SKIPPED, TIMED, TRACED = 10, 20, 5

# Seconds that are traced, about: a trace has up to 50,000 events a second, and every one has to be read.
TRACED_SECONDS = 2.0


class Window(NamedTuple):
    """Iterations that are looked at: `timed` of them from number `first` on, and then `traced`."""

    first: int
    timed: int
    traced: int


def windows(done: int, iterations: int, mature: int | None) -> list[Window]:
    """Returns when to look: soon after the start, and once more where ageing has begun, which early iterations don't have.

    Args:
        done: The number of iterations that are done already.
        iterations: How many there are to be in all.
        mature: The first iteration in which states may age; None = they never do.
    """
    left = iterations - done
    skipped, traced = min(SKIPPED, left // 4), min(TRACED, max(1, left // 4))
    timed = min(TIMED, left - skipped - traced)
    if timed < 1:
        return []
    early = Window(done + skipped + 1, timed, traced)
    if mature is None or mature <= early.first:
        return [early]
    late = Window(max(mature, early.first + timed + traced), TIMED, TRACED)
    return [early, late] if late.first + TIMED + TRACED - 1 <= iterations else [early]


class Profiler:
    """Looks at some iterations of a training, and writes RUN/profile.html and RUN/profile/trace.json after the last of them.

    It draws no number and changes none: a run is the same with and without it.

    Args:
        folder: The run folder.
        trainer: What is looked at; unless its config asks for a profile, nothing happens.
    """

    def __init__(self, folder: RunFolder, trainer: Trainer) -> None:
        self.folder, self.trainer = folder, trainer
        config, task = trainer.config, trainer.task
        mature = int(task.curriculum * config.iterations) + 1 if task.ageing else None
        self._windows = windows(trainer.iteration, config.iterations, mature) if config.profile and current().first else []
        self._device = next(trainer.rule.parameters()).device
        self._look: _Look | None = None
        self._written = False

    def __enter__(self) -> "Profiler":
        if self.trainer.config.profile and current().first and not self._windows:
            print("profile: too few iterations are left to look at", file=sys.stderr)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # An iteration that broke off is none.
        if error is None:
            self._count()
        if self._look is not None:
            self._look.stop()
            if error is None and not self._written:
                print(f"profile: none, since training ended before iteration {self._look.last}", file=sys.stderr)
        self._look = None

    def next(self) -> None:
        """Says that the next iteration begins here."""
        self._count()
        number = self.trainer.iteration + 1
        if self._look is None and self._windows and number >= self._windows[0].first:
            self._look = _Look(self._windows.pop(0), number, self._device)

    def _count(self) -> None:
        if self._look is not None and self._look.next():
            self._write(self._look)
            self._look = None

    def _write(self, look: "_Look") -> None:
        """Writes the trace and the page; a disk that is full costs them, and not the training."""
        place = self.folder.path / "profile"
        try:
            place.mkdir(exist_ok=True)
            look.trace.export_chrome_trace(str(vacate(place / "trace.json")))
            write_atomic(vacate(self.folder.path / "profile.html"), _found(look, self.trainer).page().encode())
        except OSError as error:
            print(f"{place}: not written: {error.strerror or error}; training goes on", file=sys.stderr)
        self._written = True


class _Look:
    """One window: the clock and the trace of its iterations."""

    def __init__(self, window: Window, number: int, device: torch.device) -> None:
        self.first, self.window, self.done = number, window, 0
        self.clock, self.traced = Clock(device), Clock(device)
        self.traces = window.traced
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        self.trace = profile(activities=activities, profile_memory=True)
        watch(self.clock)

    @property
    def last(self) -> int:
        """The number of its last iteration."""
        return self.first + self.window.timed + self.traces - 1

    def next(self) -> bool:
        """Counts an iteration that is done; returns whether it was the last one."""
        phase("")
        self.done += 1
        if self.done == self.window.timed:
            mean = sum(self.clock.seconds.values()) / self.window.timed
            self.traces = max(1, min(self.window.traced, int(TRACED_SECONDS / max(mean, 1e-9))))
            self.traced.marked = True
            watch(self.traced)
            with _quiet():
                before = torch.empty(1 << 10)
                self.trace.start()
                # The first tensor that is older than the trace makes torch say so on stderr.
                del before
        elif self.done == self.window.timed + self.traces:
            self.stop()
            return True
        return False

    def stop(self) -> None:
        """Looks no longer."""
        phase("")
        watch(None)
        if self.traced.marked:
            self.traced.marked = False
            with _quiet():
                self.trace.stop()


def _found(look: _Look, trainer: Trainer) -> Profile:
    """Returns what a window has shown."""
    timed, traced = look.window.timed, look.traces
    seconds = {name: look.clock.seconds.get(name, 0.0) / timed for name in PHASES}
    held = _memory(look.trace)
    config, first = trainer.config, look.first
    in_trace = sum(look.traced.seconds.values()) / traced
    figures: dict[str, Any] = {"params": sum(parameter.numel() for parameter in trainer.rule.parameters())}
    with contextlib.suppress(OSError, ValueError):
        figures["peak_memory_mib"] = status_bytes("VmHWM") / 2**20
    about = {"device": str(look.clock.device), "cores": cores(), "processor": platform.machine(), "versions": versions()}
    return Profile(
        title=f"Where the time went · {_subject(trainer)}",
        timed=(first, first + timed - 1),
        traced=(first + timed, first + timed + traced - 1),
        phases={name: Phase(PHASES[name], seconds[name], held.get(name)) for name in PHASES},
        operations=_operations(look.trace, traced),
        slowdown=in_trace / max(sum(seconds.values()), 1e-9),
        notes=list(_notes(trainer, range(first, first + timed))),
        figures=figures,
        about=about,
        config_toml=config.to_toml(),
    )


def _subject(trainer: Trainer) -> str:
    """Returns what is trained, in words."""
    config, task = trainer.config, trainer.task
    return f"{Path(task.subject or config.kind.subject(config)).stem} · {config.regime}"


def _notes(trainer: Trainer, timed: range) -> Iterator[str]:
    """Yields what is rarer or more frequent in the timed iterations than in the run as a whole."""
    config, task = trainer.config, trainer.task
    if task.ageing:
        ripe = [number for number in timed if number > task.curriculum * config.iterations and number % AGEING_EVERY == 0]
        words = f"every {AGEING_EVERY}th iteration ages pooled states once bodies are mature"
        yield f"{len(ripe) or 'None'} of these iterations aged states: {words}."
    for every, what, plural in (
        (config.pattern_every, "measurement of pattern", "measurements of pattern"),
        (config.save_every, "checkpoint", "checkpoints"),
    ):
        if every:
            found = sum(number % every == 0 for number in timed)
            yield f"They had {found or 'no'} {what if found == 1 else plural}, due every {every:,} iterations."


def _operations(trace: Any, iterations: int) -> list[Operation]:
    """Returns the operations of a trace, the longest first; ranges of phases are none."""
    averages = trace.key_averages()
    cuda = any(event.self_device_time_total for event in averages)
    own = "self_device_time_total" if cuda else "self_cpu_time_total"
    found = [
        Operation(event.key, event.count / iterations, getattr(event, own) * 1e-6 / iterations)
        for event in averages
        if event.key not in PHASES and getattr(event, own) > 0
    ]
    return sorted(found, key=lambda one: -one.seconds)


def _memory(trace: Any) -> dict[str, int]:
    """Returns the most bytes that tensors held in each phase, above what they held when the trace began."""
    events = trace.profiler.kineto_results.events()
    turns = sorted((event.start_ns(), event.name()) for event in events if event.name() in PHASES)
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held, most, place = 0, dict[str, int](), 0
    for moment, change in changes:
        held += change
        while place + 1 < len(turns) and turns[place + 1][0] <= moment:
            place += 1
            # What a phase begins with counts for it, too.
            most[turns[place][1]] = max(most.get(turns[place][1], 0), held - change)
        if turns and turns[place][0] <= moment:
            most[turns[place][1]] = max(most.get(turns[place][1], 0), held)
    return most


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A context without the lines that torch's profiler writes on stderr past Python, each time that it begins and ends."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
