"""The one door to parsers of other people: whatever they raise, print or ask for, the user gets one line.

`parsing` is for parsers in Python: their errors, warnings and logs. `in_child` is for those in C++ that print on
their own, crash, or ask for all memory there is: they run in a process of their own, which may do all that.
"""

import contextlib
import json
import logging
import math
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nca3d.errors import InputError

# Seconds that a child has. Half a second goes to Python, numpy and VTK; a scan of 100 MB takes two more.
SECONDS = 20.0
# Bytes of address space for Python, numpy and the libraries: SimpleITK reads a small image with 384 MiB and no less, VTK with
# 296 MiB; twice that, for other builds of them. What a file's header promises comes on top, twice: the reader may copy it.
ROOM = 800 << 20
# Bytes of an answer besides its arrays: the names of 65,536 labels have room.
HEAD = 1 << 24
# One thread each: a pool of threads takes address space for every core of a large machine.
THREADS = ("OMP", "OPENBLAS", "MKL", "VTK_SMP_MAX", "ITK_GLOBAL_DEFAULT_NUMBER_OF")
# What a child runs, with Python's own modules before all others (-I -S). nca3d is the one that runs here, wherever it lies.
START = """
import json, sys
from importlib import util
task = json.loads(sys.argv[1])
sys.path += [path for path in task["paths"] if path not in sys.path]
spec = util.spec_from_file_location("nca3d", task["nca3d"])
sys.modules["nca3d"] = package = util.module_from_spec(spec)
spec.loader.exec_module(package)
from nca3d.targets.readers import child
child.answer(task)
"""


@contextlib.contextmanager
def parsing(where: object, allowed: str, *loggers: str) -> Iterator[None]:
    """Turns whatever a parser raises into an `InputError`, and keeps its warnings and its log to itself.

    Args:
        where: The file.
        allowed: What would be readable, as in "a whole NIfTI file".
        *loggers: The names of the loggers that the parser writes to.

    Raises:
        InputError: If the parser raises anything; an `InputError` goes through as it is.
    """
    logs = [logging.getLogger(name) for name in loggers]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:  # parsers of broken files raise anything
        text = " ".join(str(error).split())[:200]
        raise InputError(where, "file", f"unreadable ({type(error).__name__}: {text})", allowed) from error
    finally:
        for log, level in zip(logs, before, strict=True):
            log.setLevel(level)


def in_child(
    read: Callable[..., Mapping[str, Any]],
    where: object,
    allowed: str,
    *arguments: object,
    promised: int = 0,
    seconds: float = SECONDS,
) -> dict[str, Any]:
    """Runs a reader in a process of its own, which has little memory and time, prints nowhere and can't write a file.

    The answer comes back through a pipe, as JSON and the bytes of its arrays: nothing is unpickled, nothing is left behind. No
    signal handler and no fork is needed, so that it works in a notebook, in a thread and beside CUDA.

    Args:
        read: A function at the top level of a module. It is imported by name in the child and called with the arguments.
        where: The file, for errors.
        allowed: What would be readable, as in "a whole .vti file".
        *arguments: What `read` is called with: paths, which arrive as strings, and whatever JSON can say.
        promised: The bytes that the file's header speaks of.
        seconds: The time that it has.

    Returns:
        What `read` returned: a dict of arrays of numbers, and of values that JSON can say (tuples become lists).

    Raises:
        InputError: If the reader raises anything, crashes, ends, needs more memory or doesn't end in time. An `InputError`
            that it raises comes through as it is.
    """
    task = {
        "nca3d": str(Path(__file__).parents[2] / "__init__.py"),
        "paths": _module_paths(),
        "read": [read.__module__, read.__qualname__],
        "arguments": arguments,
        "where": where,
        "allowed": allowed,
        "memory": ROOM + 2 * promised,
        "seconds": math.ceil(seconds),
    }
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    process = _started(task, where)
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    assert process.stdout is not None
    try:
        timer.start()
        answer = _received(process.stdout, where, allowed)
        code = process.wait() if answer is None else 0
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    if answer is None:
        how = f"no end after {seconds:g} s" if late.is_set() or code == -getattr(signal, "SIGXCPU", 0) else _ending(code)
        raise InputError(where, "file", f"unreadable ({how})", allowed)
    if "error" in answer:
        raise InputError(*answer["error"])
    return answer


def _started(task: Mapping[str, Any], where: object) -> subprocess.Popen[bytes]:
    """Starts a child with its task."""
    command = [sys.executable, "-I", "-S", "-B", "-X", "utf8", "-c", START, json.dumps(task, default=os.fspath)]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "MALLOC_ARENA_MAX": "1", **{f"{name}_THREADS": "1" for name in THREADS}},
            start_new_session=True,  # a Ctrl-C in the terminal is for this process, which then ends the child
        )
    except OSError as error:
        raise InputError(where, "file", f"no process to read it in ({error.strerror})", "more room for processes") from error


def _module_paths() -> list[str]:
    """Returns where a child looks for modules: where this process does, but not beside the user's notebook or script.

    What is installed comes first, then what $PYTHONPATH names, or an editable installation.
    """
    beside = {Path(), Path.cwd()} - {Path(__file__).parents[3]}
    paths = [path for path in sys.path if Path(path) not in beside]
    return sorted(paths, key=lambda path: Path(path).name not in ("site-packages", "dist-packages"))


def _ending(code: int) -> str:
    """Returns how a child ended that didn't answer."""
    if code >= 0:
        return f"its reader ended with exit code {code}"
    try:
        return f"its reader crashed: {signal.Signals(-code).name}"
    except ValueError:
        return f"its reader crashed: signal {-code}"


def _received(pipe: IO[bytes], where: object, allowed: str) -> dict[str, Any] | None:
    """Reads what `child` sends; returns None if the child ends before all of it has come.

    Raises:
        InputError: If it is more than has room.
    """
    count = int.from_bytes(pipe.read(8), "little")
    if count > HEAD:
        raise InputError(where, "file", f"{count:,} bytes of names", f"at most {HEAD:,}; {allowed}")
    text = pipe.read(count)
    if not text or len(text) < count:
        return None
    head = json.loads(text)
    answer: dict[str, Any] = head["values"]
    for name, dtype, shape in head["arrays"]:
        array = np.empty(math.prod(shape), dtype)
        room = memoryview(array.view(np.uint8).data)
        while room and (got := pipe.readinto(room)):  # type: ignore[attr-defined]
            room = room[got:]
        if room:
            return None
        answer[name] = array.reshape(shape)
    return answer
