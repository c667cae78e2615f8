"""What is said when memory runs out: one line, with what was asked for and what to lower first. Imports no torch."""

import gc
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nca3d.errors import RunError

# How torch's allocator on a CPU and libraries on a GPU say it; others raise MemoryError, or an error named OutOfMemoryError.
_SAID = re.compile(
    r"can't allocate memory|not enough memory|cannot allocate memory|out of memory|STATUS_ALLOC_FAILED", re.IGNORECASE
)
# "you tried to allocate 17179869184 bytes", "Tried to allocate 2.50 GiB", "Unable to allocate 64.0 GiB".
_ASKED = re.compile(r"to allocate ([\d.]+) (bytes|[KMGT]iB)", re.IGNORECASE)


def ran_out(error: BaseException) -> bool:
    """Returns whether an error means that memory ran out, on the host or on a device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and not isinstance(error, RunError) and bool(_SAID.search(str(error)))


def on_device(error: BaseException) -> bool:
    """Returns whether it was the memory of a device that ran out."""
    return type(error).__name__ == "OutOfMemoryError" or any(word in str(error) for word in ("CUDA", "CUBLAS", "CUDNN"))


def let_go(error: BaseException) -> None:
    """Frees what the functions held that memory ran out in, so that there is room to save what was done before.

    Args:
        error: Any error; nothing happens unless `ran_out` is true of it.
    """
    if ran_out(error):
        traceback.clear_frames(error.__traceback__)
        # Graphs of autograd hold themselves in circles.
        gc.collect()


def line(error: BaseException, doing: str, lower: str) -> str:
    """Returns the line that says so.

    Args:
        error: What `ran_out` is true of.
        doing: What was done, and with which settings.
        lower: What to lower, the best first.
    """
    found = _ASKED.search(str(error))
    asked = ""
    if found:
        number, unit = float(found[1]), found[2]
        asked = f", {number / 2**20:,.0f} MiB more" if unit == "bytes" else f", {number:g} {unit} more"
    elif isinstance(error, MemoryError) and str(error):
        # Words of our own, or of a plug-in: no library's, whose lines are long.
        asked = f" ({str(error).splitlines()[0]})"
    where = "the device's memory" if on_device(error) else "memory"
    return f"{doing}: {where} is not enough{asked}: lower first {lower}"


@contextmanager
def within_memory(doing: str, lower: str | Callable[[BaseException], str]) -> Iterator[None]:
    """A context, or a decorator, that turns "out of memory" into one line.

    Args:
        doing: What is done, and with which settings.
        lower: What to lower, the best first; or a function that says so of the error.

    Raises:
        RunError: Memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        raise RunError(line(error, doing, lower if isinstance(lower, str) else lower(error))) from error
