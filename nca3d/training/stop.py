"""Ctrl-C and SIGTERM as a request to stop: the loop ends its iteration, saves, and leaves with the right exit code."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """A context in which signals only set a flag: `with StopSignal() as stop: while stop.requested is None: ...`.

    A signal sets `requested` and no more, so that it can't interrupt a save. A second one exits at once; in a notebook or
    another interactive shell it raises KeyboardInterrupt instead, so that its variables live on. Outside the main thread
    Python can't handle signals, and this does nothing. The former handlers come back at the end.

    Attributes:
        requested: number of the first signal; None before one came.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        # What handled each signal before, to be put back.
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._former[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            # None: a handler that was not installed from Python, and can't be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.requested is None:
            self.requested = number
        elif number == signal.SIGINT and _interactive():
            raise KeyboardInterrupt
        else:
            # Whoever asks twice wants out now, whatever Python is doing; 128 + number is the shell's convention.
            os._exit(128 + number)

    def leave(self, message: str = "") -> NoReturn:
        """Ends the run as the signal asked.

        Args:
            message: is printed first, on stderr.

        Raises:
            KeyboardInterrupt: after Ctrl-C (exit code 130).
            SystemExit: after another signal (exit code 143 for SIGTERM).
        """
        number = self.requested or signal.SIGINT
        if message:
            print(message, file=sys.stderr)
        if number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(128 + number)


def _interactive() -> bool:
    """Returns whether this is a notebook or a Python prompt."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
