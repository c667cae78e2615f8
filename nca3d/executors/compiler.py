"""Finds a C compiler and has it make a library: it gets a time limit, and what it makes is only looked at, not yet loaded."""

import contextlib
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nca3d.executors.child import run_limited, signal_name
from nca3d.executors.library_cache import libraries_folder, read_own

# Seconds. Two are enough here; a compiler that hangs must not take nca3d along.
PATIENCE = 120.0
# Bytes that a build needs at most, with the files in between.
ROOM = 16_000_000
# How to get what is missing.
PACKAGES = "On Debian: apt-get install gcc libc6-dev"
# Compilers that ran out of time in this process: once is enough.
_hung: set[tuple[str, ...]] = set()


class NotBuiltError(Exception):
    """Says why there is no library, in one line."""


def compiler_found() -> list[str] | None:
    """Returns the C compiler's path, and the arguments that $CC has after it; None where there is no compiler."""
    for text in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        # First as it stands: a path may have spaces, and then is no program with arguments.
        for words in ([text], _words(text)):
            found = shutil.which(words[0]) if words and words[0] else None
            if found:
                return [os.path.abspath(found), *words[1:]]
    return None


def identity(compiler: Sequence[str]) -> list[str]:
    """Returns what tells one compiler from another: its words, and the age of each program among them.

    Raises:
        OSError: The compiler has vanished.
    """
    programs = filter(None, map(shutil.which, compiler))
    return [*compiler, *(str(os.stat(program).st_mtime_ns) for program in programs)]


def compiled(compiler: Sequence[str], arguments: Callable[[Path], list[str]]) -> bytes:
    """Returns the library that a compiler makes.

    Args:
        compiler: The program, and its own arguments; see `compiler_found`.
        arguments: Returns the other arguments, for the file that is to be made.

    Raises:
        NotBuiltError: It failed, ran out of time, or made nothing; or there is no place to build in.
        OSError: It can't be started.
    """
    name = " ".join(compiler)
    if tuple(compiler) in _hung:
        raise NotBuiltError(f"{name} did not end within {PATIENCE:.0f} s")
    with _workshop() as folder:
        output = folder / "built.so"
        # TMPDIR: its own files lie where there is room, too. LC_ALL: its message becomes part of ours.
        environment = {**os.environ, "TMPDIR": str(folder), "LC_ALL": "C"}
        ended = run_limited([*compiler, *arguments(output)], PATIENCE, environment)
        if ended.code is None:
            _hung.add(tuple(compiler))
            raise NotBuiltError(f"{name} did not end within {PATIENCE:.0f} s")
        if ended.code:
            raise NotBuiltError(f"{name} failed: {_cause(ended.code, ended.text, folder)}")
        data = read_own(output)
    if not data:
        raise NotBuiltError(f"{name} made {'no library' if data is None else 'an empty file'}")
    return data


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    # A quotation mark is missing.
    except ValueError:
        return []


@contextlib.contextmanager
def _workshop() -> Iterator[Path]:
    """A context with an empty folder to build in, which no one else can enter; it is removed at the end."""
    troubles = []
    for place in (tempfile.gettempdir, libraries_folder, lambda: "/dev/shm"):
        try:
            parent = place()
            free = shutil.disk_usage(parent).free
            if free < ROOM:
                troubles.append(f"{parent} has {free / 1e6:.1f} MB free, and {ROOM / 1e6:.0f} are needed")
                continue
            folder = tempfile.TemporaryDirectory(prefix="nca3d-", dir=parent, ignore_cleanup_errors=True)
        except OSError as error:
            troubles.append(reason(error))
            continue
        with folder as name:
            yield Path(name)
        return
    raise NotBuiltError(f"there is no place to build in: {troubles[0]}")


def _cause(code: int, text: str, folder: Path) -> str:
    """Returns the line of a compiler's many that says what is wrong."""
    lines = [line.replace(f"{folder}/", "") for line in map(one_line, text.splitlines()) if line]
    # Before an error stands in which function it is; after one, the driver says that its linker failed.
    errors = [line for line in lines if "error" in line.lower() and "returned" not in line]
    line = (errors or lines or [signal_name(code) if code < 0 else f"exit code {code}, no message"])[0]
    return f"{line}. {PACKAGES}" if "No such file" in line else line


def one_line(text: str) -> str:
    """Returns text without what could disturb a line or a terminal, and not too long."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:300]


def reason(error: OSError) -> str:
    """Returns what went wrong, and where, in one line."""
    return ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
