"""Last words: what processes that end together have to say is printed once, and stands in their launcher's summary.

They often fail alike: by the same flag that is wrong, or by the one of them that was lost. Rank 0 says it; another one speaks
only where rank 0 does not. No torch here: most bad input is found before it is loaded.
"""

import contextlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from nca3d.errors import InputError
from nca3d.ranks import launcher

# Seconds for which another rank gives rank 0 the word.
PATIENCE = 2.0
TOLD = "nca3d-told"
# How a line goes on about a rank that has ended as it was told to.
LEFT = "was stopped by"
# Set by `nca3d train --processes`, which prints the cause itself, as its last line.
BY_LAUNCHER = "NCA3D_TOLD_BY_LAUNCHER"


def tell(line: object) -> None:
    """Prints on stderr why this process fails, unless another one says so, and notes it for the launcher.

    Args:
        line: Why it fails.
    """
    if _alone():
        # A launcher may have started this process, and no other.
        record(str(line))
        print(line, file=sys.stderr)
        return
    with at_leisure():
        record(named(str(line)))
        if not os.environ.get(BY_LAUNCHER) and _heard(str(line)) is None:
            print(line if launcher.own_rank() == 0 else named(str(line)), file=sys.stderr, flush=True)


def to_be_shown(bug: Exception) -> bool:
    """Returns whether this process is to show the trace of an error, and notes it for the launcher; else another one does."""
    if _alone():
        return True
    line = f"{type(bug).__name__}: {bug}"
    with at_leisure():
        record(named(line), bug)
        # The trace of another error is known here alone.
        return _heard(line) != line


def named(line: str) -> str:
    """Returns a line that says which rank it is of."""
    return line if line.startswith("rank ") else f"rank {launcher.own_rank()} of {launcher.expected()}: {line}"


def record(line: str, bug: BaseException | None = None) -> None:
    """Writes why this process fails where torchrun looks for it; what is written first, stays.

    Args:
        line: Why.
        bug: The error, where its trace is wanted.
    """
    file = launcher.error_file()
    trace = "" if bug is None else "\n" + "".join(traceback.format_exception(bug)).rstrip()
    # As torch.distributed.elastic.multiprocessing.errors.ErrorHandler writes it; of this, torchrun shows "py_callstack".
    message = {"message": line, "extraInfo": {"py_callstack": line + trace, "timestamp": str(int(time.time()))}}
    with contextlib.suppress(OSError):
        if file is not None:
            with open(file, "x", encoding="utf-8") as out:
                json.dump({"message": message}, out)


@contextlib.contextmanager
def at_leisure() -> Iterator[None]:
    """A context in which SIGTERM is not obeyed: the launcher sends it once a rank has failed, before the others know why."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if former is None else former)


def _alone() -> bool:
    """Returns whether there is no other process, or none that is known of."""
    try:
        return launcher.expected() == 1
    except InputError:
        return True


def _heard(line: str) -> str | None:
    """Returns what a rank of this machine has said first; None where this one is to speak, which is noted."""
    folder = launcher.common_folder(of_attempt=True)
    until = time.monotonic() + (PATIENCE if launcher.own_rank() else 0)
    while folder is not None:
        with contextlib.suppress(OSError):
            return (folder / TOLD).read_text(encoding="utf-8")
        if time.monotonic() >= until:
            return _note(folder / TOLD, line)
        time.sleep(0.05)
    return None


def _note(file: Path, line: str) -> str | None:
    """Notes what is said; returns what another rank has noted in this very moment, if one has."""
    try:
        # Whole or not at all, so that nobody reads half a line.
        own = file.with_name(f"{file.name}-{os.getpid()}")
        own.write_text(line, encoding="utf-8")
        os.link(own, file)
    except FileExistsError:
        return file.read_text(encoding="utf-8")
    except OSError:
        pass
    return None
