"""Processes to hurt: a copy of this one that does one thing, and is killed, starved of disk or traced while it does it.

A copy (fork) has imported everything already, so that a trial takes milliseconds. Nothing is pretended: kills are signals, full
disks are small file systems, failing calls are made to fail by strace.
"""

import ctypes
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What a row says where it can't be run here.
SKIPPED = "skipped"


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code, minus the signal that ended it; None = it hung, and was killed.
        value: what it returned, as JSON can hold it.
        error: "Type: text" of what it raised; "" if nothing.
        said: what it wrote to stdout and stderr.
        seconds: how long it took.
        peak: the most memory that it held, in bytes.
    """

    code: int | None
    value: Any
    error: str
    said: str
    seconds: float
    peak: int


class Child:
    """A copy of this process that waits for `go`, calls a function, and sends back what it returns.

    Args:
        function: what it does.
        silent: whether it ends without a word when it is done, so that no write but the function's own is counted.
    """

    def __init__(self, function: Callable[[], Any], silent: bool = False) -> None:
        self._read, write = os.pipe()
        gate, self._gate = os.pipe()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        self.pid = os.fork()
        if not self.pid:
            os.close(self._gate)
            _child(function, gate, write, self._said.fileno(), silent)
        os.close(write)
        os.close(gate)

    def go(self) -> float:
        """Lets it begin; returns when that was."""
        os.write(self._gate, b"g")
        return time.monotonic()

    def wait(self, timeout: float = 60.0, begun: float | None = None) -> Ended:
        """Returns how it ended; after `timeout` seconds it is killed."""
        begun, code = time.monotonic() if begun is None else begun, None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                break
            time.sleep(0.001)
        else:
            os.kill(self.pid, signal.SIGKILL)
            _, _, used = os.wait4(self.pid, 0)
        seconds = time.monotonic() - begun
        with os.fdopen(self._read, "rb") as file:
            os.set_blocking(file.fileno(), False)
            sent = file.read() or b""
        os.close(self._gate)
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")
        self._said.close()
        told = json.loads(sent) if sent else {}
        return Ended(code, told.get("value"), told.get("error", ""), said, seconds, used.ru_maxrss << 10)


def _child(function: Callable[[], Any], gate: int, write: int, said: int, silent: bool) -> None:
    """What the copy does; never returns."""
    code, told = 0, {}
    try:
        os.dup2(said, 1)
        os.dup2(said, 2)
        # Without Yama's leave, only an ancestor may trace a process: PR_SET_PTRACER, any.
        ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)
        os.read(gate, 1)
        told = {"value": function()}
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        # What a shell sees of a Python that Ctrl-C has ended.
        code = 128 + signal.SIGINT
    except BaseException as error:
        code, told = 1, {"error": f"{type(error).__name__}: {error}"}
    with suppress(BaseException):
        if not silent:
            os.write(write, json.dumps(told).encode())
    os._exit(code)


def run(function: Callable[[], Any], timeout: float = 60.0) -> Ended:
    """Runs a function in a copy of this process."""
    child = Child(function)
    return child.wait(timeout, child.go())


def killed_after(function: Callable[[], Any], seconds: float) -> Ended:
    """Runs a function in a copy that is killed (SIGKILL) after so many seconds."""
    child = Child(function, silent=True)
    begun = child.go()
    time.sleep(max(0.0, seconds))
    with suppress(ProcessLookupError):
        os.kill(child.pid, signal.SIGKILL)
    return child.wait(begun=begun)


def has_strace() -> bool:
    return shutil.which("strace") is not None


def traced(function: Callable[[], Any], calls: str, injection: str, timeout: float = 60.0) -> tuple[Ended, int]:
    """Runs a function in a copy whose system calls are tampered with.

    Args:
        function: what it does.
        calls: names of system calls, separated by commas.
        injection: what happens to them, as strace's `-e inject=CALLS:…` has it.
        timeout: seconds.

    Returns:
        How it ended, and how many of these calls it made.
    """
    child = Child(function, silent=True)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        words = ["strace", "-f", "-p", str(child.pid), "-o", str(log), "-e", f"trace={calls}"]
        tracer = subprocess.Popen([*words, "-e", f"inject={calls}:{injection}"], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            raise RuntimeError(f"strace: {line.strip()}")
        ended = child.wait(timeout, child.go())
        tracer.wait(10)
        tracer.stderr.close()
        count = sum(name in line for line in log.read_text().splitlines() for name in [f"{c}(" for c in calls.split(",")])
    return ended, count


@functools.cache
def _own_mounts() -> None:
    """Gives this process a list of mounts of its own (CLONE_NEWNS): small disks are gone with it, however it ends."""
    if ctypes.CDLL(None).unshare(0x00020000) == 0:
        subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[bool]:
    """A context in which a folder is a file system of its own of so many bytes; False where only root may do that."""
    folder.mkdir(parents=True, exist_ok=True)
    _own_mounts()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    try:
        yield done.returncode == 0
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def make_read_only(folder: Path) -> bool:
    """Makes a small disk read-only; root may write to any folder, but not to such a disk."""
    return subprocess.run(["mount", "-o", "remount,ro", str(folder)], capture_output=True, check=False).returncode == 0


def limited(what: int, size: int, function: Callable[[], Any]) -> Callable[[], Any]:
    """Returns the function under a limit of the system, `resource.RLIMIT_…`."""

    def inside() -> Any:
        resource.setrlimit(what, (size, size))
        return function()

    return inside
