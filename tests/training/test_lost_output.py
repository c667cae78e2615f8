"""Ways to lose stdout, stderr, the shell or the disk in the middle of a run, each in a real process.

What must be left is the whole run and exit code 0, or a checkpoint of the last iteration and another exit code.
"""

import json
import os
import pty
import resource
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nca3d import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="signals, terminals and mounts of Linux")]

ROOT = Path(__file__).parents[2]
ITERATIONS = 200
FLAGS = "--target sphere --size 7 7 7 --channels 8 --hidden 8 --batch 2 --pool-size 4 --damage-count 0 --steps 2 3 --ageing 0"
TRAIN = [sys.executable, "-m", "nca3d", "train", *FLAGS.split(), "--log-every", "1", "--save-every", "100", "--no-report"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


class Training:
    """A training that runs in a process of its own, in a session of its own."""

    def __init__(self, folder: Path, *flags: str, shell: str = "", iterations: int = ITERATIONS, **options: object) -> None:
        self.folder, self.iterations = folder, iterations
        command = [*TRAIN, "--iterations", str(iterations), "--out", str(folder), *flags]
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True, "env": ENVIRONMENT}
        whole = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *command] if shell else command
        self.process = subprocess.Popen(whole, **{**streams, **options})  # type: ignore[call-overload]

    def reach(self, iteration: int) -> None:
        """Waits until some iterations are done."""
        patience = time.monotonic() + 60
        while time.monotonic() < patience and self.process.poll() is None:
            if (done := logged(self.folder)) and done[-1] >= iteration:
                return
            time.sleep(0.01)
        raise AssertionError(f"it never reached iteration {iteration}, exit code {self.process.poll()}")

    def end(self, timeout: float = 60) -> int:
        """Waits for the end and returns the exit code; whoever hangs is killed, and the test fails."""
        try:
            return self.process.wait(timeout)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


def logged(folder: Path) -> list[int]:
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["iteration"] for line in lines if line.endswith("}")]
    except (OSError, ValueError):
        return []


def check(training: Training, code: int, *, whole: bool | None = None) -> None:
    """Checks the promise: all done and 0, or the last iteration saved and not 0."""
    newest, last = checkpoint.load(training.folder).step, logged(training.folder)[-1]
    assert newest == last, f"exit code {code}: iteration {last} was done, {newest} is saved"
    assert (code == 0) == (last == training.iterations)
    assert whole is None or whole == (code == 0)


# Output ---------------------------------------------------------------------------------------------------------------

SHELL = {
    "a reader of stderr goes away": "2>&1 >/dev/null | head -c 100 >/dev/null",
    "a reader of both goes away": "2>&1 | head -n 1",
    "a reader of stdout goes away": "2>/dev/null | true",
    "a reader stops reading": "2>&1 | (sleep 4)",
    "stderr is full": "2>/dev/full",
    "stdout is full": ">/dev/full",
    "both are full": ">/dev/full 2>&1",
    "stderr is closed": "2>&-",
    "stdout is closed": ">&-",
    "all are closed": "<&- >&- 2>&-",
    "a pipe named by a file": "2> >(head -c 50 >/dev/null)",
}


# Every night all of them; in between those that differ most.
OFTEN = ("a reader of both goes away", "a reader stops reading", "all are closed")


def sometimes(case: tuple[object, ...], rare: bool) -> object:
    return pytest.param(*case, marks=pytest.mark.nightly if rare else ())


@pytest.mark.parametrize("way", [sometimes((way,), way not in OFTEN) for way in SHELL])
def test_a_lost_output_ends_no_run(way: str, tmp_path: Path) -> None:
    training = Training(tmp_path / "run", shell=SHELL[way])
    check(training, training.end(), whole=True)


@pytest.mark.nightly
def test_what_is_said_stays_out_of_our_files(tmp_path: Path) -> None:
    """A file that is opened while stderr is closed gets its number, and with it all that is printed."""
    training = Training(tmp_path / "run", shell="2>&- >&-")
    assert training.end() == 0
    assert len(logged(tmp_path / "run")) == len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == ITERATIONS


def test_a_pipe_that_nobody_empties_ends_no_run(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    training = Training(tmp_path / "run", stdout=writer, stderr=writer)
    check(training, training.end(), whole=True)
    os.close(reader)


@pytest.mark.nightly
def test_a_socket_that_is_closed_ends_no_run(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    training = Training(tmp_path / "run", stdout=theirs, stderr=theirs)
    training.reach(50)
    ours.close()
    check(training, training.end(), whole=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_log_on_a_full_disk_ends_no_run(tmp_path: Path, disk: Path) -> None:
    log = (disk / "log").open("w")
    (disk / "other").write_bytes(bytes(900_000))
    fill(disk)
    training = Training(tmp_path / "run", stdout=log, stderr=log)
    check(training, training.end(), whole=True)


# The shell ------------------------------------------------------------------------------------------------------------


def on_a_terminal(folder: Path, before: Callable[[], object] = lambda: None) -> tuple[Training, int]:
    """Starts a training as the leader of a terminal, and returns it with the other end of the terminal."""
    ours, theirs = pty.openpty()

    def login() -> None:
        os.setsid()
        import fcntl

        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        before()

    options = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": False, "preexec_fn": login}
    training = Training(folder, **options)
    os.close(theirs)
    return training, ours


def read(terminal: int, training: Training, iteration: int) -> None:
    """Reads a terminal until an iteration is done, as a window does."""
    os.set_blocking(terminal, False)
    while not (done := logged(training.folder)) or done[-1] < iteration:
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.01)
        assert training.process.poll() is None


def test_a_terminal_that_is_closed_saves(tmp_path: Path) -> None:
    training, terminal = on_a_terminal(tmp_path / "run")
    read(terminal, training, 120)
    os.close(terminal)
    check(training, code := training.end(), whole=False)
    assert code == 129


def test_nohup_goes_on_without_its_terminal(tmp_path: Path) -> None:
    training, terminal = on_a_terminal(tmp_path / "run", lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    read(terminal, training, 120)
    os.close(terminal)
    check(training, training.end(), whole=True)


@pytest.mark.nightly
def test_a_terminal_that_is_held_ends_no_run(tmp_path: Path) -> None:
    training, terminal = on_a_terminal(tmp_path / "run")
    read(terminal, training, 50)
    termios.tcflow(terminal, termios.TCOOFF)
    check(training, training.end(), whole=True)
    os.close(terminal)


HUP, TERM, INT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


SIGNALS = [((HUP,), 129), ((HUP, HUP), 129), ((TERM,), 143), ((INT,), 130), ((TERM, HUP), 143), ((HUP, TERM), 143)]
RARELY = [(HUP,), (TERM,), (INT,), (HUP, TERM)]


@pytest.mark.parametrize(("numbers", "code"), [sometimes(case, case[0] in RARELY) for case in SIGNALS])
def test_signals_save(numbers: tuple[signal.Signals, ...], code: int, tmp_path: Path) -> None:
    training = Training(tmp_path / "run", iterations=100_000)
    training.reach(120)
    for number in numbers:
        training.process.send_signal(number)
    start = time.monotonic()
    assert training.end() == code
    assert time.monotonic() - start < 10
    check(training, code, whole=False)


# The disk -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk: Path) -> Path:
    """Fills a disk up to its last byte; returns the file that does it."""
    with (disk / "filler").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                return disk / "filler"


needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@needs_mount
def test_a_disk_that_fills_up(tmp_path: Path, disk: Path) -> None:
    """Metrics can't be written any more: there is room for a last checkpoint, once the older ones go."""
    training = Training(disk / "run", iterations=100_000)
    training.reach(320)
    fill(disk)
    code = training.end()
    assert code == 1
    newest = checkpoint.load(disk / "run").step
    assert newest >= logged(disk / "run")[-1]


@needs_mount
@pytest.mark.nightly
def test_a_disk_that_has_room_again(tmp_path: Path, disk: Path) -> None:
    with (tmp_path / "errors").open("w") as errors:
        training = Training(disk / "run", "--log-every", "200", stderr=errors)
    # A run that can't save its first checkpoint does not begin; this one has.
    while not (disk / "run" / "checkpoints" / "step-000000" / "manifest.json").exists():
        time.sleep(0.01)
    filler = fill(disk)
    time.sleep(1)
    filler.unlink()
    assert training.end() == 0, (tmp_path / "errors").read_text()
    assert checkpoint.load(disk / "run").step == ITERATIONS


@needs_mount
def test_a_disk_that_becomes_read_only(tmp_path: Path) -> None:
    checkpoints = tmp_path / "run" / "checkpoints"
    with (tmp_path / "errors").open("w") as errors:
        training = Training(tmp_path / "run", iterations=300, stderr=errors)
        training.reach(120)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", checkpoints], check=True)
        assert training.end() == 1
    subprocess.run(["umount", "-l", checkpoints], check=True)
    told = (tmp_path / "errors").read_text()
    assert "Read-only file system" in told and "training goes on" in told and "Traceback" not in told
    assert checkpoint.load(tmp_path / "run").step == 100


def test_metrics_that_can_not_be_written(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w") as errors:
        training = Training(tmp_path / "run", "--pool-size", "2", iterations=100_000, stderr=errors)
        training.reach(120)
        limit = (tmp_path / "run" / "metrics.jsonl").stat().st_size + 3000
        resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        code = training.end()
    assert code == 1 and checkpoint.load(tmp_path / "run").step >= logged(tmp_path / "run")[-1]
    assert "metrics.jsonl: not written: File too large" in (tmp_path / "errors").read_text()


@pytest.mark.parametrize("how", [sometimes((how,), how == "moved") for how in ("deleted", "moved", "replaced")])
def test_a_run_folder_that_is_gone(how: str, tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w") as errors:
        training = Training(tmp_path / "run", iterations=100_000, stderr=errors)
        training.reach(120)
        (tmp_path / "run").rename(tmp_path / "moved")
        if how != "moved":
            shutil.rmtree(tmp_path / "moved", ignore_errors=True)
        if how == "replaced":
            (tmp_path / "run").mkdir()
        assert training.end() == 1
    told = (tmp_path / "errors").read_text()
    assert f"{tmp_path / 'run'}: not saved: the run folder is gone" in told and "Traceback" not in told
    assert (tmp_path / "run").exists() == (how == "replaced")
    assert how != "replaced" or not list((tmp_path / "run").iterdir())


def test_files_that_are_removed_from_the_run_are_written_again(tmp_path: Path) -> None:
    with (tmp_path / "errors").open("w") as errors:
        training = Training(tmp_path / "run", iterations=300, stderr=errors)
        training.reach(120)
        for name in ("metrics.jsonl", "config.toml"):
            (tmp_path / "run" / name).unlink()
        assert training.end() == 0
    assert (tmp_path / "errors").read_text().count("was removed while the run was going on") == 2
    assert logged(tmp_path / "run")[-1] == 300 and (tmp_path / "run" / "config.toml").exists()


# The run itself -------------------------------------------------------------------------------------------------------

FAULTY = """
import os, sys
from nca3d.losses import LOSSES
calls = [0]
@LOSSES.register("faulty")
def faulty(moments, target, rule):
    calls[0] += 1
    if calls[0] > {first}:
        {what}
    return (moments[-1] ** 2).mean(dim=(1, 2, 3, 4))
"""


FAILURES = [
    ("sys.exit(0)", "something called sys.exit(0)", 1),
    ("os._exit(0)", "something called os._exit(0)", 1),
    ("os.execv('/bin/true', ['true'])", "something called os.execv", 1),
    ("raise OSError(5, 'no such luck')", "no such luck", 1),
    ("raise MemoryError('too much')", "too much", 1),
    ("raise KeyError('a bug')", "a bug", 1),
    ("raise KeyboardInterrupt", "saved at iteration 40", 130),
    ("from nca3d.process.stop import Overdue; raise Overdue", "saved at iteration 40", 1),
    ("return (moments[-1] * float('nan')).mean(dim=(1, 2, 3, 4))", "non-finite loss, 5 iterations in a row", 1),
]
LIKE_OTHERS = ("os.execv", "raise MemoryError", "raise KeyE", "raise OSError", "from nca3d")


@pytest.mark.parametrize(("what", "told", "code"), [sometimes(case, case[0].startswith(LIKE_OTHERS)) for case in FAILURES])
def test_what_fails_in_the_run_saves_and_is_no_success(what: str, told: str, code: int, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(FAULTY.format(first=40, what=what))  # twice an iteration: for the pool, and to learn
    with (tmp_path / "errors").open("w") as errors:
        training = Training(
            tmp_path / "run", "--regime", "growing", "--plugins", str(file), "--losses", "rgba=1", "faulty=0.1",
            iterations=50, stderr=errors,
        )  # fmt: skip
        assert training.end() == code
    assert told in (tmp_path / "errors").read_text()
    if "nan" in what:
        # Its retries failed too: the last good state is left, and the lines of the last attempt.
        assert checkpoint.load(tmp_path / "run").step == 0 and logged(tmp_path / "run")[-1] > 0
    else:
        assert checkpoint.load(tmp_path / "run").step == logged(tmp_path / "run")[-1] == 40
