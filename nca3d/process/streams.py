"""Output never ends a run: what is printed may get lost, the work goes on.

A reader goes away (`nca3d train 2>&1 | head`) or stops reading (`| less`), the disk of a log is full, a terminal is closed, or
there never was an output: in all these cases the bar and the log fall silent. In a log that is no terminal bars are lines
(`bars.py`). No torch here: the shell command uses it too.
"""

import codecs
import contextlib
import errno
import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from nca3d.process.bars import BarLog, is_log

# Seconds that a line waits for a reader who has stopped reading; after the first such wait none waits, until he reads on.
PATIENCE = 1.0
# Characters written at once: a pipe that can take anything takes 4096 bytes (PIPE_BUF), and a character has at most 4.
CHUNK = 1000
# What stands for a sign where an encoding lacks it.
PLAIN = {
    "×": "x",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "→": "->",
    "±": "+-",
    "≥": ">=",
    "≤": "<=",
    "·": "*",
    "²": "^2",
    "³": "^3",
}


class SteadyStream:
    """A text stream whose writes never fail: after the first error it is silent. All else is as in the stream that it wraps.

    Args:
        stream: where the text goes; None = nowhere, as in a process that was started without this output.
        patience: seconds that a write waits for a reader who doesn't read before its text is dropped; None = for ever.
        bars: whether progress bars are written to it; they become plain lines if the stream is no terminal.

    Attributes:
        stream: where the text goes.
        failed: why the stream is silent; None while it works.
        stalled: whether its reader has stopped reading.
    """

    def __init__(self, stream: TextIO | None, patience: float | None = PATIENCE, *, bars: bool = False) -> None:
        # A stream to nowhere still has an encoding and the like, which progress bars ask for.
        self.stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115
        self.failed: OSError | None = None
        self.stalled = False
        self._patience = patience
        self._poll = None if patience is None else _poll_of(self.stream)
        self._bars = BarLog() if bars and is_log(self.stream) else None

    def write(self, text: str) -> int:
        """Writes the text, or drops it where that is impossible; returns its length."""
        shown = self._encodable(text if self._bars is None else self._bars.lines(text))
        for start in range(0, len(shown), CHUNK):
            self._try("write", shown[start : start + CHUNK])
        return len(text)

    def flush(self) -> None:
        """Passes on what is buffered, or leaves it there where that is impossible."""
        self._try("flush")

    def _encodable(self, text: str) -> str:
        """Returns a text that the stream's encoding can hold: in an ASCII locale × is x, and a name's odd bytes are escapes."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return text.encode(encoding, "nca3d.plain").decode(encoding)
        return text

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def _try(self, name: str, *arguments: str) -> None:
        if self.failed is not None or not self._ready():
            return
        try:
            getattr(self.stream, name)(*arguments)
        except OSError as error:
            self.failed = error
        # A signal's message in the middle of another one ("reentrant call"): it is lost, the run is not.
        except RuntimeError:
            pass
        # The stream was closed.
        except ValueError as error:
            self.failed = OSError(errno.EBADF, str(error))

    def _ready(self) -> bool:
        """Returns whether a write would return at once, after having waited for it."""
        if self._poll is None:
            return True
        wait = 0 if self.stalled else self._patience or 0
        self.stalled = not self._poll.poll(1000 * wait)
        return not self.stalled


@contextlib.contextmanager
def steady_output(stdout_patience: float | None = PATIENCE) -> Iterator[tuple[SteadyStream, SteadyStream]]:
    """A context, or a decorator, in which stdout and stderr are steady streams; it gives both.

    Args:
        stdout_patience: as in `SteadyStream`, of stdout; None where what is printed there is the result.
    """
    _fill_gaps()
    before = sys.stdout, sys.stderr
    streams = SteadyStream(sys.stdout, stdout_patience), SteadyStream(sys.stderr, bars=True)
    sys.stdout, sys.stderr = cast(TextIO, streams[0]), cast(TextIO, streams[1])
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before


def silence(stream: SteadyStream) -> None:
    """Lets a stream that nobody reads end in nothing: else Python fails or waits when it empties the buffer on the way out."""
    if stream.failed is None and not stream.stalled:
        return
    # Streams of a notebook or a test have no descriptor (io.UnsupportedOperation is an OSError).
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _poll_of(stream: TextIO) -> "select.poll | None":
    """Returns a poll object that tells whether a pipe, socket or terminal can take text; None for what always can."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = stream.fileno()
        # Not a notebook's stream: it has a descriptor, too, but writes elsewhere.
        if isinstance(stream, io.TextIOWrapper) and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            return poll
    return None


def _plain(error: UnicodeError) -> tuple[str, int]:
    """Gives a codec what stands for the signs that its encoding lacks."""
    assert isinstance(error, UnicodeEncodeError)
    signs = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in signs), error.end


codecs.register_error("nca3d.plain", _plain)


def _fill_gaps() -> None:
    """Opens whichever of the descriptors 0, 1 and 2 are closed, as /dev/null.

    Else the next file that is opened gets one of these numbers, and all that libraries print goes into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
