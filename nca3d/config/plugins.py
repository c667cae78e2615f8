"""Plug-ins: Python files that register a user's own rules, losses, targets and damages, and who may run which.

A folder is data: a config that lies in a file can't run code. A plug-in runs if the caller names it (`--plugins mine.py`,
`plugins=["mine.py"]`), or if exactly these bytes were confirmed before (`nca3d trust mine.py`). What is run are the bytes whose
digest was looked at. No torch here.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

from nca3d.errors import ErrorCollector, InputError
from nca3d.files import private_folder, read_file, sha256, state_folder, write_atomic

# How a file is called while it runs, as `runpy` calls it; its classes and functions know it by this name.
RUN_NAME = "<run_path>"
# Seconds that a plug-in may take: it registers things, and imports what it needs for them.
SECONDS = 30.0

# Digests of what the caller has named in this process: what ran once may run again.
_named: set[str] = set()


def check(files: Iterable[str], source: str | None) -> dict[str, bytes]:
    """Returns the content of plug-ins that may be run, by path; runs nothing.

    Args:
        files: their paths.
        source: the file that names them; None = the caller does.

    Raises:
        InputErrors: files are missing, or named by a file and not confirmed; there is one line for each.
    """
    contents: dict[str, bytes] = {}
    with ErrorCollector() as errors:
        for file in files:
            if not Path(file).is_file():
                errors.append(InputError(source or "config", "plugins", repr(file), "Python files that exist"))
            elif (data := errors.of(read_file, Path(file))) is not None:
                contents[file] = data
        allowed = _named | confirmed().keys() if source is not None else set()
        for file, data in contents.items():
            if source is not None and sha256(data) not in allowed:
                found = f"code that this file wants to run, sha256 {sha256(data)}: {file}"
                way = "name it in this command (--plugins FILE; plugins=[…] in Python) or, after reading it, nca3d trust FILE; "
                errors.append(InputError(source, "plugins", found, f"only what you ask for: {way}--plugins alone runs none"))
    return contents


def run(files: Iterable[str], source: str | None = None) -> None:
    """Runs plug-ins, one after the other.

    Args:
        files: their paths.
        source: the file that names them; None = the caller does.

    Raises:
        InputError: a plug-in may not be run, is missing, fails, exits or doesn't end; the message has its error.
    """
    for file, data in check(files, source).items():
        if source is None:
            _named.add(sha256(data))
        execute(file, data, "plugin")


def execute(file: str, data: bytes, field: str) -> dict[str, Any]:
    """Runs Python source and returns what it defines.

    Args:
        file: its path, for errors and as its `__file__`.
        data: the source.
        field: what is run, for errors.

    Raises:
        InputError: it fails, exits or doesn't end.
    """
    module = ModuleType(RUN_NAME)
    module.__file__ = file
    # Dataclasses look their module up by its name.
    before = sys.modules.get(RUN_NAME)
    sys.modules[RUN_NAME] = module
    try:
        with supervised(file, field, "a Python file that runs to its end"):
            exec(compile(data, file, "exec"), module.__dict__)
    finally:
        if before is None:
            del sys.modules[RUN_NAME]
        else:
            sys.modules[RUN_NAME] = before
    return dict(module.__dict__)


@contextlib.contextmanager
def supervised(file: str, field: str, allowed: str) -> Iterator[None]:
    """A context that runs a user's code: however that ends but well, it is an InputError, and no success.

    Args:
        file: the code's file.
        field: what is run.
        allowed: what it should do.

    Raises:
        InputError: the code failed, called sys.exit or os._exit, or didn't end in time ($NCA3D_PLUGIN_SECONDS, else 30 s).
    """
    try:
        with _in_time(file), _no_way_out():
            yield
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        # A signal that ends the command raises it too.
        if error.code in (128 + signal.SIGTERM, 129):
            raise
        raise InputError(file, field, f"it called sys.exit({error.code!r})", allowed) from error
    # A user's code can fail in any way; its error becomes a line of ours.
    except BaseException as error:
        raise InputError(file, field, f"{type(error).__name__}: {error}", allowed) from error


class _NoEndError(BaseException):
    """Stops code that takes too long; no Exception, which the code might catch and go on."""


@contextlib.contextmanager
def _in_time(file: str) -> Iterator[None]:
    """A context that tells of code that takes long, and stops it; only in the main thread, where signals can be handled."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    limit, leave = _seconds(), os._exit
    alarms = 0

    def received(number: int, frame: FrameType | None) -> None:
        nonlocal alarms
        alarms += 1
        if alarms == 1:
            way = "$NCA3D_PLUGIN_SECONDS gives it longer"
            print(f"{file}: still running after {limit / 3:g} s; it is stopped after {limit:g} s ({way})", file=sys.stderr)
            return
        if alarms > 2:
            # It has caught what should have stopped it.
            print(f"{file}: does not end", file=sys.stderr, flush=True)
            leave(2)
        raise _NoEndError(f"no end after {limit:g} s")

    handler = signal.signal(signal.SIGALRM, received)
    left, every = signal.setitimer(signal.ITIMER_REAL, limit / 3, 2 * limit / 3)
    try:
        yield
    finally:
        # A timer that was set before goes on, a little later.
        signal.setitimer(signal.ITIMER_REAL, left, every)
        signal.signal(signal.SIGALRM, handler)


def _seconds() -> float:
    text = os.environ.get("NCA3D_PLUGIN_SECONDS", "")
    with contextlib.suppress(ValueError):
        if text and 0 < float(text) < 1e6:
            return float(text)
    if text:
        raise InputError("$NCA3D_PLUGIN_SECONDS", "seconds", repr(text), "a number above 0")
    return SECONDS


@contextlib.contextmanager
def _no_way_out() -> Iterator[None]:
    """A context in which os._exit raises SystemExit: else a plug-in could end the command with 0, without a word."""
    leave, place = os._exit, (os.getpid(), threading.get_ident())

    def raised(status: int) -> NoReturn:
        # A child that the code has forked may leave as it likes, and so may whoever watches over it in another thread.
        if (os.getpid(), threading.get_ident()) != place:
            leave(status)
        raise SystemExit(status)

    os._exit = raised
    try:
        yield
    finally:
        os._exit = leave


# What was confirmed ---------------------------------------------------------------------------------------------------


def confirmed() -> Mapping[str, str]:
    """Returns the digests that were confirmed, each with the path of the file at that time."""
    place = _store()
    # A list that others could have written confirms nothing.
    with contextlib.suppress(OSError, InputError):
        private_folder(place.parent)
        found = place.lstat()
        if not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022):
            lines = read_file(place).decode(errors="replace").splitlines()
            return {digest: path for digest, _, path in (line.partition("  ") for line in lines) if len(digest) == 64}
    return {}


def confirm(files: Iterable[str]) -> dict[str, str]:
    """Confirms plug-ins for good, by their digests; returns these, each with the path of its file.

    Raises:
        InputErrors: a file is missing.
        OSError: the list can't be kept: its folder can't be written to, or others can write to it.
    """
    new = {sha256(data): str(Path(file).absolute()) for file, data in check(files, None).items()}
    _write({**confirmed(), **new})
    return new


def forget(digests: Iterable[str]) -> None:
    """Takes confirmations back.

    Raises:
        OSError: the list can't be written.
    """
    gone = set(digests)
    _write({digest: path for digest, path in confirmed().items() if digest not in gone})


def _store() -> Path:
    return state_folder() / "trusted-plugins"


def _write(entries: Mapping[str, str]) -> None:
    private_folder(_store().parent)
    # As `sha256sum` prints it. A name with a line break in it would be two lines.
    lines = (f"{digest}  {path if path.isprintable() else ascii(path)}\n" for digest, path in entries.items())
    write_atomic(_store(), "".join(lines).encode(errors="replace"))
