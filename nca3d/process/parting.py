"""A process that waits for another one may wait for ever: some seconds after a signal it ends, whatever it is doing.

Python's signal handlers run between two of its instructions. A process that waits in a library, as for an answer of a process
that is no more, never comes to the next one; but the signal wakes a thread up.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator

# Seconds after a signal; if the process is saving, it may take LONGEST.
PARTING, LONGEST = 5.0, 25.0

# Code that is run meanwhile finds another one in its place; see `supervise.no_way_out`.
_leave = os._exit


@contextlib.contextmanager
def parting(numbers: Collection[int], saving: Callable[[], bool], last: Callable[[], object]) -> Iterator[None]:
    """A context in which this process ends some seconds after a signal that Python handles; only in the main thread.

    Args:
        numbers: Of the signals that are meant.
        saving: Tells whether a save is going on, which must not be cut off.
        last: Is called before the end, in a thread of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, numbers, saving, last), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        # The thread sees the end of the pipe, and closes its own.
        os.close(writer)


def _watch(reader: int, numbers: Collection[int], saving: Callable[[], bool], last: Callable[[], object]) -> None:
    try:
        # The C part of Python writes the number of each signal as a byte.
        came: list[int] = []
        while not came:
            if not (data := os.read(reader, 64)):
                return
            came = [number for number in data if number in numbers]
        since = time.monotonic()
        while (waited := time.monotonic() - since) < PARTING or (saving() and waited < LONGEST):
            if select.select([reader], [], [], 0.1)[0] and not os.read(reader, 64):
                return
        with contextlib.suppress(Exception):
            last()
        _leave(128 + came[0])
    finally:
        os.close(reader)
