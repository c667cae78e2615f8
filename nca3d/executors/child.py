"""Child processes: programs that may hang, crash or say anything at all, and Python that imports nothing foreign."""

import contextlib
import os
import signal
import site
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

# Bytes of its last words that are kept: a program may go on for ever.
ROOM = 65_536


class Ended(NamedTuple):
    """How a program ended.

    Attributes:
        code: The exit code; minus the number of the signal that killed it; None = it ran out of time.
        text: What it wrote to stderr, or the beginning of that.
    """

    code: int | None
    text: str


def run_limited(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None, descriptors: Sequence[int] = ()
) -> Ended:
    """Runs a program without input, in a process group of its own, which is killed when its time is over.

    Args:
        command: The program and its arguments.
        seconds: The time that it has.
        environment: Its environment; None = that of this process.
        descriptors: Open files that it inherits, under the same numbers.

    Raises:
        OSError: The program can't be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        pass_fds=descriptors,
        start_new_session=True,
    )
    said = bytearray()
    assert process.stderr is not None
    # A thread, because a full pipe would stop the program.
    reader = threading.Thread(target=_drain, args=(process.stderr, said), daemon=True)
    reader.start()
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        code = process.returncode
    finally:
        # Out of time, or Ctrl-C here, which a group of its own doesn't hear of.
        if process.returncode is None:
            _kill_group(process)
    # Not for ever: a grandchild may have moved to another group, and hold the pipe open.
    reader.join(1)
    return Ended(code, bytes(said).decode(errors="backslashreplace"))


def python_with_nca3d() -> tuple[list[str], dict[str, str]]:
    """Returns the beginning of a command that runs Python, and its environment; it imports this nca3d.

    It imports nothing from the current folder, which Python would look into first for -c and -m: in a run folder that was
    downloaded, that could be anybody's `torch.py`.
    """
    root = Path(__file__).parents[2]
    paths = [os.environ.get("PYTHONPATH", "")]
    # A checkout may have been found through the current folder alone. One that is installed isn't named: its neighbours there
    # would then come before Python's own modules.
    if root not in map(Path, [*site.getsitepackages(), site.getusersitepackages()]):
        paths.insert(0, str(root))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return [sys.executable, "-P"], environment


def signal_name(code: int) -> str:
    """Returns the name of the signal in a negative exit code, such as "SIGSEGV"."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    # Even a killed process can hang, in a dead network drive.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)


def _drain(pipe: IO[bytes], said: bytearray) -> None:
    """Reads a pipe to its end, and keeps the beginning."""
    with pipe:
        while piece := os.read(pipe.fileno(), ROOM):
            said += piece[: ROOM - len(said)]
