"""Runs a user's Python file, such as a plug-in: however that ends but well, it is told, and is no success."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn

from nca3d.errors import InputError

# How a file is called while it runs, as `runpy` calls it; its classes and functions know it by this name.
RUN_NAME = "<run_path>"
# Seconds that it may take: a plug-in registers things, and imports what it needs for them.
SECONDS = 30.0
LONGER = "$NCA3D_PLUGIN_SECONDS gives it longer"


def execute(file: str, data: bytes, field: str) -> dict[str, Any]:
    """Runs Python source and returns what it defines.

    Args:
        file: its path, for errors and as its `__file__`.
        data: the source.
        field: what is run, for errors.

    Raises:
        InputError: it fails, exits or doesn't end.
    """
    module, process, home = ModuleType(RUN_NAME), os.getpid(), Path.cwd()
    module.__file__ = file
    allowed = "a Python file that runs to its end"
    # Once: later this process may have threads, which a copy would wait for.
    if _tries_first and (file, data) not in _tried:
        _try(file, data, field, allowed)
        _tried.add((file, data))
    # Dataclasses look their module up by its name.
    before = sys.modules.get(RUN_NAME)
    sys.modules[RUN_NAME] = module
    try:
        with supervised(file, field, allowed):
            exec(compile(data, file, "exec"), module.__dict__)
    finally:
        # A child that it has forked is not this command.
        if os.getpid() != process:
            os._exit(0)
        # Where the caller's relative paths begin is not for a plug-in to change.
        os.chdir(home)
        if before is None:
            del sys.modules[RUN_NAME]
        else:
            sys.modules[RUN_NAME] = before
    return dict(module.__dict__)


def running() -> str | None:
    """Returns the path of the user's file that is being run at the moment; None = there is none."""
    file: str | None = getattr(sys.modules.get(RUN_NAME), "__file__", None)
    return file


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
    with _in_time(file), no_way_out():
        try:
            yield
        except KeyboardInterrupt:
            raise
        except SystemExit as error:
            # A signal that ends the command raises it too.
            if error.code in (128 + signal.SIGTERM, 129):
                raise
            raise InputError(file, field, f"it called {called(error)}", allowed) from error
        # A user's code can fail in any way; its error becomes a line of ours.
        except BaseException as error:
            raise InputError(file, field, _said(error), allowed) from error


def _said(error: BaseException) -> str:
    """Returns an error's name and text; the text is user's code, too, and may fail."""
    try:
        text = str(error)
    except BaseException:
        text = "an error that can't be printed"
    return f"{type(error).__name__}: {text}"


# Trying first ---------------------------------------------------------------------------------------------------------

_tries_first = False
_tried: set[tuple[str, bytes]] = set()


@contextlib.contextmanager
def tried_first() -> Iterator[None]:
    """A context in which each file is first run in a copy of this process, as the shell command does.

    A copy can be killed, whatever it is doing, and its end is not that of the command: code that never returns, that ends its
    process in a way of its own or crashes it is told. Not for notebooks and scripts: a process with threads or a GPU can't be
    copied.
    """
    global _tries_first
    before, _tries_first = _tries_first, hasattr(os, "fork") and threading.active_count() == 1
    try:
        yield
    finally:
        _tries_first = before


def _try(file: str, data: bytes, field: str, allowed: str) -> None:
    """Runs a file in a copy of this process.

    Raises:
        InputError: the copy ended in the middle of it, or not in time. How the file fails otherwise is seen when it is run.
    """
    reader, writer = os.pipe()
    leave, limit = os._exit, _seconds()
    copy = os.fork()
    if copy == 0:
        # Nothing of the parent must be done twice: neither its output nor its way out.
        try:
            os.close(reader)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(nowhere, number)
            os.setpgid(0, 0)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            sys.modules[RUN_NAME] = module = ModuleType(RUN_NAME)
            module.__file__ = file
            process = os.getpid()
            with contextlib.suppress(BaseException):
                exec(compile(data, file, "exec"), module.__dict__)
            if os.getpid() == process:
                os.write(writer, b"!")
        finally:
            leave(0)
    os.close(writer)
    try:
        waited = 0.0
        while not select.select([reader], [], [], limit / 3)[0]:
            waited += limit / 3
            if waited > limit * 0.99:
                raise InputError(file, field, f"no end after {limit:g} s", allowed)
            print(f"{file}: still running; it is stopped after {limit:g} s ({LONGER})", file=sys.stderr)
        # sys.exit is told below, where it is seen for what it is.
        if os.read(reader, 1) != b"!":
            code = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
            how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
            raise InputError(file, field, f"it ended the whole process ({how})", allowed)
    finally:
        os.close(reader)
        # With whatever it has started.
        for kill in (os.killpg, os.kill):
            with contextlib.suppress(OSError):
                kill(copy, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(copy, 0)


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
            print(f"{file}: still running after {limit / 3:g} s; it is stopped after {limit:g} s ({LONGER})", file=sys.stderr)
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


class WayOut(SystemExit):
    """Code called os._exit or os.exec… where `no_way_out` is.

    Args:
        name: What it called.
        status: The exit code that it asked for.
    """

    def __init__(self, name: str, status: object) -> None:
        super().__init__(status)
        self.name = name


def called(leaving: SystemExit) -> str:
    """Returns what code has called to end its process, such as "sys.exit(0)" or "os._exit(7)"."""
    if isinstance(leaving, WayOut):
        return f"os.{leaving.name}({leaving.code!r})" if leaving.name == "_exit" else f"os.{leaving.name}"
    return f"sys.exit({leaving.code!r})"


@contextlib.contextmanager
def no_way_out() -> Iterator[None]:
    """A context in which os._exit and os.exec… raise SystemExit: else a user's code could end a command with 0, without a word.

    Only in the thread that opens the context; another one that calls them ends the command, but not with 0.
    """
    place, modules = (os.getpid(), threading.get_ident()), [os, sys.modules[os.name]]
    real = {name: getattr(os, name) for name in ("_exit", "execv", "execve")}
    if vars(os)["_exit"].__module__ == __name__:
        # Inside another one.
        yield
        return

    def guarded(name: str) -> Callable[..., NoReturn]:
        def call(*arguments: Any) -> NoReturn:
            # A child that the code has forked may do as it likes.
            if os.getpid() != place[0]:
                real[name](*arguments)
            status = arguments[0] if name == "_exit" and arguments else 0
            if threading.get_ident() != place[1]:
                print(f"something called os.{name} in a thread of its own", file=sys.stderr, flush=True)
                real["_exit"](status or 1)
            raise WayOut(name, status)

        return call

    for name in real:
        call = guarded(name)
        for module in modules:
            setattr(module, name, call)
    try:
        yield
    finally:
        for name, function in real.items():
            for module in modules:
                setattr(module, name, function)
