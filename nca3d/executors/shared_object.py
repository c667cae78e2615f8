"""Loads a library from bytes, so that what is loaded is what was checked.

The bytes become a file in memory. A path might lead to another file a moment later, a file that is cut short while it is in use
ends the process (SIGBUS), and on some disks nothing may be executed.
"""

import contextlib
import ctypes
import errno
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from nca3d.executors.child import run_limited, signal_name
from nca3d.executors.compiler import NotBuiltError, one_line
from nca3d.executors.library_cache import libraries_folder

# Seconds that a trial may take; a tenth of one is usual.
PATIENCE = 60.0
# An argument of a call that is tried: the address of 8192 zeros.
ZEROS = "zeros"
# A function's name and its arguments: `ZEROS`, integers (int64_t) and floats (double).
Call = tuple[str | int | float, ...]

_TRIAL = """
import ctypes, json, sys
print("trying", file=sys.stderr, flush=True)
path, (name, *words) = sys.argv[1], json.loads(sys.argv[2])
# Each its own: loops over numbers that overlap have no vectors.
kinds = {str: lambda word: (ctypes.c_double * 8192)(), int: ctypes.c_int64, float: ctypes.c_double}
try:
    getattr(ctypes.CDLL(path), name)(*(kinds[type(word)](word) for word in words))
except (OSError, AttributeError) as error:
    sys.exit(str(error))
print("good", file=sys.stderr, flush=True)
"""

_Library = TypeVar("_Library", bound=ctypes.CDLL)
_numbers = itertools.count()


def open_bytes(kind: type[_Library], data: bytes) -> _Library:
    """Returns the library that some bytes are.

    Args:
        kind: The class of the result, `ctypes.CDLL` or one that inherits from it.
        data: The library.

    Raises:
        OSError: They are no library that this machine can load.
    """
    why = ""
    for way in _WAYS:
        with contextlib.suppress(OSError), way(data) as (path, _):
            try:
                return kind(path)
            except OSError as error:
                why = why or _without(path, str(error))
    raise OSError(errno.ENOEXEC, why or "there is neither memory nor a folder to load it from")


def refuse_what_crashes(data: bytes, call: Call) -> None:
    """Loads a library and calls a function of it in another process, so that a crash does no harm here.

    Args:
        data: The library.
        call: The function, and what it is called with.

    Raises:
        NotBuiltError: It can't be loaded, has no such function, hangs, or ends the process.
    """
    # Where Python is a part of another program, there is none to try it with.
    if not sys.executable or getattr(sys, "frozen", False):
        return
    why = ""
    for way in _WAYS:
        try:
            with way(data) as (path, descriptors):
                # Isolated: it must not import what lies in the current folder.
                command = [sys.executable, "-I", "-S", "-c", _TRIAL, path, json.dumps(call)]
                ended = run_limited(command, PATIENCE, descriptors=descriptors)
        except OSError:
            continue
        said = ended.text.splitlines()
        # Without "trying", Python itself did not start, which says nothing of the library.
        if said[-1:] == ["good"] or "trying" not in said:
            return
        if ended.code is None or ended.code < 0:
            raise NotBuiltError("it hangs" if ended.code is None else f"it crashes ({signal_name(ended.code)})")
        why = why or ("it ends the process" if said[-1] == "trying" else one_line(_without(path, said[-1])))
    if why:
        raise NotBuiltError(why)


@contextlib.contextmanager
def _in_memory(data: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A context with a file in memory that nobody can change: its path, and the descriptors that a child needs for it.

    Raises:
        OSError: This system has no such files, or refuses them.
    """
    if not hasattr(os, "memfd_create"):
        raise OSError(errno.ENOSYS, "no files in memory")
    # Imported here: it is POSIX only, and importing nca3d must work elsewhere.
    import fcntl

    descriptor = os.memfd_create("nca3d", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
        # The system knows libraries by their paths, and would give back an older one that was loaded when this number belonged
        # to another file. So the path is spelled in another way each time: neither / nor ./ leads anywhere else.
        spelling = f"{next(_numbers):b}".replace("0", "/").replace("1", "./")
        yield f"/proc/self/fd/{spelling}{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _beside(place: Callable[[], str | Path], data: bytes) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A context with a file in a folder of its own that no one else can enter: its path, and no descriptors.

    Raises:
        OSError: The file can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="nca3d-", dir=place(), ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "library.so"
        path.write_bytes(data)
        # A loaded library stays when its file is removed.
        yield str(path), ()


def _without(path: str, text: str) -> str:
    """Returns an error's text without the path, which is another one each time: a warning that stays the same is shown once."""
    text = text.removeprefix(f"{path}: ").replace(path, "the library")
    # So says glibc of a file that is there, too, if it is for another kind of processor.
    missing = text == "cannot open shared object file: No such file or directory"
    return "it is for another kind of machine" if missing else text


# The second and third are for systems without files in memory, and for those that don't execute them.
_WAYS: tuple[Callable[[bytes], contextlib.AbstractContextManager[tuple[str, tuple[int, ...]]]], ...] = (
    _in_memory,
    lambda data: _beside(tempfile.gettempdir, data),
    lambda data: _beside(libraries_folder, data),
)
