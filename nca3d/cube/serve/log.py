"""The log of a server that strangers may call: it holds up no request, is no flood, and shows no trace of the inside.

Lines wait in a short queue for a thread of their own to write them: where nobody reads stderr any more, a write would block,
and with it the server. So many lines a second are written; of the others their number.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from asyncio import CancelledError

# Lines a second; lines that wait to be written; characters of a line.
RATE, WAITING, LONGEST = 200, 1000, 400
LOGGERS = ("uvicorn", "asyncio")
# What uvicorn says of every malformed request, to which `protocol.py` gives a line with its address.
SAID_BETTER = "Invalid HTTP request received."


class LineLog(logging.Handler):
    """Writes records as lines.

    Args:
        descriptor: Where to; 2 = stderr. What can't be written there is dropped.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        # Not sys.stderr: a thread that is stuck in its lock would end the interpreter in a fatal error.
        self.descriptor = descriptor
        self.lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self.second, self.written, self.left_out = 0, 0, 0
        self.writer = threading.Thread(target=self._write, name="log", daemon=True)
        self.writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Puts a record's line in the queue, or counts it where there were too many."""
        if record.msg == SAID_BETTER or (record.exc_info and isinstance(record.exc_info[1], CancelledError)):
            return
        now = int(time.monotonic())
        if now != self.second:
            left_out, self.second, self.written, self.left_out = self.left_out, now, 0, 0
            if left_out:
                self._put(f"{left_out:,} lines left out")
        self.written += 1
        if self.written > RATE:
            self.left_out += 1
        else:
            self._put(line_of(record))

    def _put(self, line: str) -> None:
        try:
            self.lines.put_nowait(line)
        except queue.Full:
            self.left_out += 1

    def _write(self) -> None:
        while (line := self.lines.get()) is not None:
            # Nobody may read it any more, or it is closed.
            with contextlib.suppress(OSError):
                os.write(self.descriptor, (line + "\n").encode())

    def close(self) -> None:
        """Ends the thread once all lines are written, or after a second."""
        try:
            self.lines.put(None, timeout=1)
        except queue.Full:
            pass
        else:
            self.writer.join(1)
        super().close()


def line_of(record: logging.LogRecord) -> str:
    """Returns a record as one line of printable characters: what strangers send must not look like another line."""
    text = record.getMessage().strip()
    if record.exc_info and record.exc_info[1] is not None:
        text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
    text = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    return f"{record.levelname}: {text if len(text) <= LONGEST else text[:LONGEST] + '…'}"


def install(access: bool) -> LineLog:
    """Sends what the server logs to stderr, and returns the handler, to be closed at the end.

    Args:
        access: Whether requests have a line each.
    """
    handler = LineLog()
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    # Of the server's own life nothing is said: stdout has the address, and exit codes say how it ended.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").setLevel(logging.INFO if access else logging.CRITICAL)
    return handler
