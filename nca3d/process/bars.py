"""Progress bars in a log: what is drawn over and over with carriage returns becomes a plain line now and then.

The stream does it and not each bar, so that bars of other libraries are lines too. On a terminal and in Jupyter bars stay bars.
"""

import io
import re
import time
from collections.abc import Callable
from typing import TextIO

# Seconds between two lines of one bar: a tenth of the time that it has taken so far, within these bounds.
LEAST, MOST = 10.0, 300.0
# What a bar shows as a picture, and its clock, which only those can read who know tqdm.
_PICTURE = re.compile(r"% ?\|[^|]*\|\s*")
_CLOCK = re.compile(r"\[(\S+)<([^\s,]+), ")


def is_log(stream: TextIO) -> bool:
    """Whether a stream is a file or a pipe: no terminal, and no notebook, whose streams have a class of their own."""
    return isinstance(stream, io.TextIOWrapper) and not stream.closed and not stream.isatty()


class BarLog:
    """What a log shows of text that was meant for a terminal.

    A bar is a write that begins with a carriage return; the line break after it ends it. Its last state is always shown, those
    before at intervals: after ten seconds, and then ever more rarely. All other text is left as it is.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The newest state of the bar; None = there is no bar at the moment.
        self._bar: str | None = None
        self._began = self._told = 0.0

    def lines(self, text: str) -> str:
        """Returns what is to be written in place of a text: whole lines of a bar, or nothing; any other text itself."""
        if self._bar is None and "\r" not in text:
            return text
        # A message in the middle of a bar has a line of its own.
        if self._bar is not None and text and text[0] not in "\r\n":
            self._bar = None
        out = []
        for part in re.split(r"(\r|\n)", text.replace("\r\n", "\n")):
            if part == "\r":
                self._begin()
            elif part == "\n":
                out.append(self._end())
            elif self._bar is None:
                out.append(part)
            elif part:
                self._bar = part
                out.append(self._due())
        return "".join(out)

    def _begin(self) -> None:
        if self._bar is None:
            self._began = self._told = self._clock()
        self._bar = ""

    def _due(self) -> str:
        """Returns the bar as a line, if it is time for one."""
        now = self._clock()
        if now - self._told < min(max((now - self._began) / 10, LEAST), MOST):
            return ""
        self._told = now
        return _plain(self._bar or "")

    def _end(self) -> str:
        """Returns the last state of the bar as a line; without a bar, the line break itself."""
        last, self._bar = self._bar, None
        return "\n" if last is None else _plain(last)


def _plain(bar: str) -> str:
    """Returns a bar as a line of text, with its line break; "" for one that was wiped away."""
    words = _CLOCK.sub(r"[\1 gone, \2 left, ", _PICTURE.sub("%, ", bar, count=1))
    text = " ".join(words.split())
    return f"{text}\n" if text else ""
