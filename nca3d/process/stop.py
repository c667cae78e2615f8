"""Signals as a request to stop: the loop ends its iteration, saves, and leaves with the right exit code.

Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which a shell sends when its terminal is lost. No torch here: the shell command uses it.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, NoReturn

from nca3d.process.parting import parting

HANGUP: int | None = getattr(signal, "SIGHUP", None)
SIGNALS: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else []))

# Seconds that an iteration may still take once a signal came; then it is given up, and the one before is saved. Not more: a
# large pool takes seconds to save, and whoever sends SIGTERM often sends SIGKILL ten seconds later.
PATIENCE = 2.0
# Seconds after which a process ends that was told to, whatever it is doing. Nothing may be lost by then.
FAREWELL = 8.0
# Seconds in which a launcher may repeat a signal that all its processes have got already, as from Ctrl-C in a terminal.
REPEATED = 3.0

# Code that is run meanwhile finds another one in its place; see `supervise.no_way_out`.
_leave = os._exit


class Overdue(BaseException):
    """Breaks off an iteration that takes too long after a signal; `Trainer.step` then undoes what it has begun."""


class StopSignal:
    """A context in which signals only set a flag: `with StopSignal() as stop: while stop.requested is None: ...`.

    A signal sets `requested` and no more, so that it can't interrupt a save. A second one exits at once; in a notebook or
    another interactive shell it raises KeyboardInterrupt instead, so that its variables live on. Outside the main thread
    Python can't handle signals, and this does nothing. The former handlers come back at the end.

    Args:
        several: whether this is one of several processes that a launcher has started. It may be waiting for one that is no
            more: so it ends some seconds after a signal, whatever it is doing; see `parting`.

    Attributes:
        requested: number of the first signal; None before one came.
        saving: tells whether a save is going on, which must not be cut off.
        may_interrupt: tells whether the work may be broken off at this moment by `Overdue`, see `PATIENCE`.
        parts: is called before a process ends that was told to and could not.
    """

    def __init__(self, several: bool = False) -> None:
        self.requested: int | None = None
        self.several, self._since = several, 0.0
        self.saving: Callable[[], bool] = lambda: False
        self.may_interrupt: Callable[[], bool] = lambda: False
        self.parts: Callable[[], object] = lambda: None
        # What handled each signal before, to be put back.
        self._former: dict[int, Any] = {}
        self._overdue = False
        self._message: str | None = None
        self._timers: list[threading.Timer] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if _meant(number):
                    self._former[number] = signal.signal(number, self._received)
        if self.several:
            self._stack.enter_context(parting(self._former, lambda: self.saving(), lambda: self.parts()))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            # None: a handler that was not installed from Python, and can't be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}
        self._stack.close()
        _cancel(self._timers)

    def told(self, number: int) -> None:
        """Takes over a signal that another process got: one's own, which may come a moment later, is no second wish."""
        if self.requested is None:
            self.requested, self._since = number, time.monotonic()

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._overdue:
            self._overdue = False
            if self.may_interrupt():
                raise Overdue
        elif self.requested is None:
            self.requested, self._since = number, time.monotonic()
            if self._message is not None:
                self._timers.append(_ended_soon(number))
                self.leave(self._message)
            self._timers.append(_later(PATIENCE, self._call_time))
        # A lost terminal sends several, and a machine that shuts down sends SIGTERM and SIGHUP: this is no second wish.
        elif number == HANGUP or self.requested == HANGUP:
            self.requested = self.requested if number == HANGUP else number
        # From the terminal and once more from the launcher.
        elif self.several and time.monotonic() - self._since < REPEATED:
            pass
        elif number == signal.SIGINT and _interactive():
            raise KeyboardInterrupt
        else:
            # Whoever asks twice wants out now, whatever Python is doing; 128 + number is the shell's convention.
            _leave(128 + number)

    def _call_time(self) -> None:
        """Sends the signal once more, from a thread: it wakes up the main one, which may be asleep."""
        self._overdue = True
        signal.pthread_kill(threading.main_thread().ident or 0, self.requested or signal.SIGINT)

    @contextlib.contextmanager
    def at_once(self, message: str) -> Iterator[None]:
        """A context in which a signal ends the run at once: all is saved, and what follows can be done again.

        Args:
            message: is printed on stderr then.

        Raises:
            KeyboardInterrupt: after Ctrl-C.
            SystemExit: after another signal.
        """
        # A signal of the last iteration is obeyed here.
        if self.requested is not None:
            self.leave(message)
        self._message = message
        try:
            yield
        finally:
            self._message = None
            _cancel(self._timers)

    def leave(self, message: str = "") -> NoReturn:
        """Ends the run as the signal asked.

        Args:
            message: is printed first, on stderr.

        Raises:
            KeyboardInterrupt: after Ctrl-C (exit code 130).
            SystemExit: after another signal (exit code 143 for SIGTERM, 129 for SIGHUP).
        """
        number = self.requested or signal.SIGINT
        if message:
            print(message, file=sys.stderr)
        if number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(128 + number)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """A context in which SIGTERM and SIGHUP raise SystemExit, so that half-written files are removed on the way out.

    Ctrl-C does so anyway. Work that doesn't end by itself is ended after `FAREWELL` seconds.
    """
    timers: list[threading.Timer] = []

    def received(number: int, frame: FrameType | None) -> NoReturn:
        timers.append(_ended_soon(number))
        raise SystemExit(128 + number)

    with contextlib.ExitStack() as stack:
        stack.callback(_cancel, timers)
        if threading.current_thread() is threading.main_thread():
            for number in (number for number in SIGNALS if number != signal.SIGINT and _meant(number)):
                former = signal.signal(number, received)
                stack.callback(signal.signal, number, signal.SIG_DFL if former is None else former)
        yield


def _meant(number: int) -> bool:
    """Returns whether a signal is a wish: nohup has hangups ignored, and means it."""
    return number != HANGUP or signal.getsignal(number) != signal.SIG_IGN


def _ended_soon(number: int) -> threading.Timer:
    """Ends this process in `FAREWELL` seconds with the exit code of a signal; returns the timer, which may be cancelled."""
    # An interactive shell must survive: there a signal ends what runs, not the process.
    return _later(FAREWELL, (lambda: None) if _interactive() else (lambda: _leave(128 + number)))


def _later(seconds: float, call: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    # A daemon: it must not keep the process waiting.
    timer.daemon = True
    timer.start()
    return timer


def _cancel(timers: list[threading.Timer]) -> None:
    while timers:
        timers.pop().cancel()


def _interactive() -> bool:
    """Returns whether this is a notebook or a Python prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
