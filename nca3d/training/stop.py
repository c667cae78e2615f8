"""Ctrl-C and SIGTERM as a wish to stop: the loop ends its iteration, saves, and leaves with the due exit code."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """`with StopSignal() as stop: while stop.requested is None: ...`; the former handlers come back at the end.

    A signal sets `requested` and no more, so that it can't tear a save apart. A second one exits at once; in a notebook
    or another interactive shell it raises KeyboardInterrupt instead, so that its variables live on.
    Outside the main thread Python can't handle signals, and this does nothing.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._former[number] = signal.signal(number, self._received)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former = {}

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.requested is None:
            self.requested = number
        elif number == signal.SIGINT and _interactive():
            raise KeyboardInterrupt
        else:
            os._exit(128 + number)

    def leave(self, message: str = "") -> NoReturn:
        """Ends the run as the signal asked: KeyboardInterrupt (exit code 130), or SystemExit (143 for SIGTERM)."""
        number = self.requested or signal.SIGINT
        if message:
            print(message, file=sys.stderr)
        if number == signal.SIGINT:
            raise KeyboardInterrupt(message)
        raise SystemExit(128 + number)


def _interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules
