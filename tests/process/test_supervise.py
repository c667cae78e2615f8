"""A user's code may end as it likes: the command says so, and it is no success."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nca3d.process import supervise

RUN = """
import sys
from pathlib import Path
from nca3d.process import supervise
file = sys.argv[1]
try:
    with supervise.tried_first():
        supervise.execute(file, Path(file).read_bytes(), "plugin")
except ValueError as error:
    sys.exit(str(error))  # as the shell command does it
print("ran")
"""

ENDS = {
    "import os; os.execv('/bin/true', ['true'])": "it ended the whole process (exit code 0)",
    "import os; os.execlp('true', 'true')": "it ended the whole process (exit code 0)",
    "import posix; posix._exit(0)": "it ended the whole process (exit code 0)",
    "import ctypes; ctypes.CDLL(None).exit(0)": "it ended the whole process (exit code 0)",
    "import os; os.abort()": "it ended the whole process (SIGABRT)",
    "import os; os.kill(os.getpid(), 9)": "it ended the whole process (SIGKILL)",
    "import ctypes; ctypes.string_at(0)": "it ended the whole process (SIGSEGV)",
    "import itertools; sum(itertools.repeat(1))": "no end after 1 s",
    "import signal, time; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(99)": "no end after 1 s",
    "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); time.sleep(99)": "no end after 1 s",
    "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)": "no end after 1 s",
    "import threading; threading.Lock().acquire(); a = threading.Lock(); a.acquire(); a.acquire()": "no end after 1 s",
    "while True:\n    try: __import__('time').sleep(9)\n    except BaseException: pass": "no end after 1 s",
    "class E(Exception):\n    def __str__(self): __import__('posix')._exit(0)\nraise E": "E: an error that can't be printed",
}


def ran(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "own.py"
    file.write_text(code)
    environment = {**os.environ, "NCA3D_PLUGIN_SECONDS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", RUN, file], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize("code", ENDS)
def test_however_it_ends_it_is_told(code: str, tmp_path: Path) -> None:
    done = ran(code, tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert f"own.py: plugin: found {ENDS[code]}" in last, done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import os\nif os.fork(): os.wait()",
        "import os; os.chdir('/')",
        "import threading; threading.Thread(target=print).start()",
        "import subprocess; subprocess.run(['true'], check=True)",
    ],
)
def test_what_does_no_harm_runs_once(code: str, tmp_path: Path) -> None:
    done = ran(f"{code}\nprint('here')", tmp_path)
    assert done.returncode == 0 and done.stdout.split().count("ran") == 1, done.stderr


def test_relative_paths_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert supervise.execute("own.py", b"import os; os.chdir('/'); a = 3", "file")["a"] == 3
    assert Path.cwd() == tmp_path


def test_a_thread_that_ends_the_process_is_no_success(tmp_path: Path) -> None:
    done = ran("import os, threading, time\nthreading.Thread(target=lambda: os._exit(0)).start()\ntime.sleep(9)", tmp_path)
    assert done.returncode == 1 and "ran" not in done.stdout


def test_all_is_as_it_was() -> None:
    before = [getattr(os, name) for name in ("_exit", "execv", "execve")]
    with supervise.no_way_out(), supervise.no_way_out(), pytest.raises(SystemExit):
        os.execv("/bin/true", ["true"])
    assert [getattr(os, name) for name in ("_exit", "execv", "execve")] == before


def test_children_may_leave_and_other_threads_work(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("import os\nchild = os.fork() or os._exit(7)\ncode = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n")
    assert supervise.execute(str(file), file.read_bytes(), "file")["code"] == 7
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(supervise.execute("own.py", b"a = 1", "file")["a"]))
    thread.start()
    thread.join()
    assert seen == [1]
