"""The loop of a sweep: takes trials, runs as many at a time as it may, enters how they end, and writes the table."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from nca3d.errors import InputError
from nca3d.process.stop import StopSignal
from nca3d.reports.groups import write_tables
from nca3d.sweep.attempt import Attempt, Ended
from nca3d.sweep.board import Board
from nca3d.sweep.plan import Plan
from nca3d.sweep.results import Results, collect, headline, measured

# Seconds between two looks at the processes; at the metrics of a trial that may end early; at what others have left.
TICK, LOOK, OTHERS = 0.1, 2.0, 5.0


class Work:
    """A sweep at work in this process.

    Args:
        plan: what is asked.
        folder: the folder of the sweep.
        jobs: how many trials run at a time.
        flags: flags of every run, such as the plug-ins that the caller named.
    """

    def __init__(self, plan: Plan, folder: Path, jobs: int, flags: Sequence[str] = ()) -> None:
        self.plan, self.folder, self.jobs, self.flags = plan, folder, jobs, flags
        self.board = Board(plan, folder)
        self._running: list[Attempt] = []
        self._headline = ""

    @property
    def goal(self) -> str:
        """The figure that the sweep is for: the one that was named, else the metric that training shows."""
        self._headline = self._headline or self.plan.objective or headline(self.plan)
        return self._headline

    def run(self) -> None:
        """Runs trials until none is left that waits or is an orphan.

        Raises:
            KeyboardInterrupt: stopped by Ctrl-C, after the trials have saved.
            SystemExit: stopped by another signal, after the trials have saved.
        """
        with StopSignal() as stop:
            with tqdm(total=len(self.board.trials()), unit="trial", desc="sweep", initial=self._finished()) as bar:
                try:
                    self._loop(stop, bar)
                finally:
                    # Whatever breaks it off: no trial goes on alone.
                    self._end_all()
            if stop.requested is not None:
                done = f"{self._finished()} of {bar.total} trials are done"
                stop.leave(f"stopped: {done}; go on with: nca3d sweep --resume {self.folder}")

    def _loop(self, stop: StopSignal, bar: Any) -> None:
        """Takes trials and looks at them, until none is left or a signal came and all have saved."""
        free_at, looked_at, told = 0.0, time.monotonic(), False
        while True:
            now = time.monotonic()
            if stop.requested is None and len(self._running) < self.jobs and now >= free_at:
                # Another process may leave a trial behind: now and then that is looked for.
                free_at = 0.0 if self._take() else now + OTHERS
                continue
            if not self._running:
                return
            if stop.requested is not None and not told:
                told = True
                for attempt in self._running:
                    attempt.end()
            time.sleep(TICK)
            if self._advance():
                free_at = 0.0
                bar.n = self._finished()
                bar.refresh()
            if self.plan.prune and now - looked_at > LOOK and not told:
                looked_at = now
                self._prune()

    def _finished(self) -> int:
        return sum(trial.state.is_finished() for trial in self.board.trials())

    def _take(self) -> bool:
        """Takes a trial and starts it; returns whether there was one."""
        claim = self.board.claim()
        if claim is None:
            return False
        attempt = Attempt(self.plan, claim, self.board.places(claim.number), self.flags)
        self._running.append(attempt)
        if (ended := attempt.begin()) is not None:
            self._end(attempt, ended)
        return True

    def _advance(self) -> bool:
        """Looks at all attempts; returns whether any has ended."""
        ends = [(attempt, ended) for attempt in self._running if (ended := attempt.poll()) is not None]
        for attempt, ended in ends:
            self._end(attempt, ended)
        return bool(ends)

    def _end(self, attempt: Attempt, ended: Ended) -> None:
        """Enters how an attempt ended, and frees its trial."""
        number = attempt.claim.number
        self._running.remove(attempt)
        with attempt.claim.lock:
            if self.plan.prune and ended is Ended.DONE:
                # Others are compared with it, at every age.
                self._look(attempt)
            value = self._value(number) if ended is Ended.DONE else None
            if value is not None:
                self.board.tell(number, "complete", value=value)
            elif attempt.pruned and ended is not Ended.FAILED:
                self.board.tell(number, "pruned")
                tqdm.write(f"{attempt.name}: ended early: it fell behind the median of the others", file=sys.stderr)
            elif ended is Ended.STOPPED:
                self.board.give_up(number)
                tqdm.write(f"{attempt.name}: {attempt.cause}; it goes on with --resume {self.folder}", file=sys.stderr)
            else:
                cause = attempt.cause or f"no figure {self.goal!r}, which the sweep is for"
                self._refuse_unknown_goal(attempt, ended)
                self.board.tell(number, "fail", cause=cause)
                tqdm.write(f"{attempt.name}: failed: {cause} ({attempt.log})", file=sys.stderr)

    def _refuse_unknown_goal(self, attempt: Attempt, ended: Ended) -> None:
        """Ends a sweep whose runs go well and have no such figure as it is for: the others would not have it either.

        Raises:
            InputError: so it is.
        """
        if ended is not Ended.DONE or attempt.cause or not self.plan.objective:
            return
        known = list(measured(self.board.places(attempt.claim.number)[0], self.plan.measure)[0])
        self.board.tell(attempt.claim.number, "fail", cause=f"no figure {self.goal!r}")
        flag = "--minimise" if self.plan.minimise else "--maximise"
        raise InputError(flag, "figure", repr(self.goal), ", ".join(known))

    def _value(self, number: int) -> float | None:
        """Returns the mean of the goal over the runs of a trial; None if one lacks it."""
        values = [measured(place, self.plan.measure)[0].get(self.goal) for place in self.board.places(number)]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    def _prune(self) -> None:
        """Ends trials early that fall behind, as Optuna's pruner says."""
        for attempt in self._running:
            if self._look(attempt) and not attempt.pruned:
                attempt.pruned = True
                attempt.end()

    def _look(self, attempt: Attempt) -> bool:
        """Enters how good a trial is at each new look; returns whether it may end early."""
        # A figure of the report is not known before the end: till then the metric that training shows stands for it.
        names = [self.plan.objective] if self.plan.objective else []
        if not self.plan.minimise:
            names.append(headline(self.plan))
        claim = attempt.claim
        iterations = self.plan.config(claim.setting, claim.seeds[0]).iterations
        # Each of them is entered, whatever the ones before it say.
        return any([self.board.seen(claim.number, look, value) for look, value in attempt.looks(iterations, names)])

    def _end_all(self) -> None:
        for attempt in self._running:
            attempt.end()
        while self._running:
            time.sleep(TICK)
            self._advance()

    def finish(self) -> tuple[Results, list[Path]]:
        """Writes table and chart into the folder; returns what is known, and the files."""
        results = collect(self.plan, self.board, self.goal)
        while True:
            files = write_tables(self.folder, results.table, picture="sweep")
            newer = collect(self.plan, self.board, self.goal)
            # Another process may have ended the last trial, and written the whole table before we wrote a part of it.
            if newer.states == results.states:
                return results, files
            results = newer
