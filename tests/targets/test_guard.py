"""Parsers that misbehave end in one line, and leave nothing behind; so do broken files of every format."""

import builtins
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import bad_readers
import numpy as np
import pytest
from bad_readers import (
    asleep,
    crashed,
    endless,
    good,
    hungry,
    large,
    left,
    modules,
    noisy,
    quits,
    raises,
    refuses,
    texts,
    writes,
)
from file_samples import OPTIONS, SAMPLES, SIZE, SLOW, broken
from target_laws import one_line

from nca3d import targets
from nca3d.errors import InputError
from nca3d.targets.doors import READERS
from nca3d.targets.readers.guard import in_child, parsing

ROOT = Path(__file__).parents[2]
ALLOWED = "a whole .abc file"


def children() -> list[str]:
    """The processes that this one has, zombies included."""
    return Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text().split()


def test_arrays_and_what_json_says_come_back_as_they_were(tmp_path: Path) -> None:
    answer = in_child(good, tmp_path / "own.abc", ALLOWED, tmp_path / "own.abc", 1.5, None, "ä\udcff")
    assert answer["path"] == str(tmp_path / "own.abc") and answer["rest"] == [1.5, None, "ä\udcff"]
    expected = good("")
    for name in ("none", "bools", "turned"):
        assert answer[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(answer[name], expected[name])
    answer["turned"][0] = 1  # its own memory


def test_a_child_imports_little_and_nothing_from_beside_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("numpy", "json", "nca3d", "bad_readers", "signal"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = in_child(modules, "own.abc", ALLOWED)
    assert not {"torch", "pyvista", "PIL", "trimesh", "pytest"} & set(answer["modules"])
    assert "" not in answer["path"] and str(tmp_path) not in answer["path"]
    assert Path(answer["nca3d"]).samefile(ROOT / "nca3d" / "__init__.py")


@pytest.mark.parametrize(
    ("read", "arguments", "words"),
    [
        (hungry, (), ("asks for more than", "MiB of memory")),
        (crashed, (), ("crashed", "SIGSEGV")),
        (left, (0,), ("exit code 0",)),
        (left, (7,), ("exit code 7",)),
        (quits, (), ("exit code 3",)),
        (endless, (), ("no end after 1 s",)),
        (asleep, (), ("no end after 1 s",)),
        (raises, ("ValueError", "one\ntwo"), ("ValueError: one two",)),
        (raises, ("KeyboardInterrupt", ""), ("crashed", "SIGINT")),
        (writes, ("written",), ("OSError", "too large")),
        (large, (), ("more numbers than there is room for",)),
        (texts, (), ("bytes of names",)),
    ],
)
def test_however_a_reader_ends_it_is_one_line(
    read: Callable[..., dict], arguments: tuple, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # A child that ends by itself has time enough to start on a busy machine.
    seconds = 1 if read in (endless, asleep) else 20
    before = time.monotonic()
    one_line(lambda: in_child(read, "own.abc", ALLOWED, *arguments, seconds=seconds), "own.abc: file: ", ALLOWED, *words)
    assert time.monotonic() - before < seconds + 10
    assert not children()
    # Neither its core nor what it wrote; the name of a file may be left, since a limit speaks of bytes.
    assert not [path for path in tmp_path.iterdir() if path.stat().st_size]


def test_what_a_reader_refuses_keeps_its_words() -> None:
    one_line(lambda: in_child(refuses, "own.abc", ALLOWED, "own.abc"), "own.abc[inner]: key: found 7, allowed 1..3")


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert in_child(noisy, "own.abc", ALLOWED) == {"said": True}
    assert capfd.readouterr() == ("", "")


def test_children_of_threads_are_children_too() -> None:
    found: list[dict] = []
    threads = [threading.Thread(target=lambda: found.append(in_child(good, "own.abc", ALLOWED, "own.abc"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer["path"] for answer in found] == ["own.abc"] * 3


def test_closed_streams_of_the_parent_do_not_matter() -> None:
    code = (
        "import os\nos.close(0); os.close(1)\nimport bad_readers\nfrom nca3d.targets.readers.guard import in_child\n"
        "assert in_child(bad_readers.noisy, 'own.abc', 'a file') == {'said': True}\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(bad_readers.__file__).parent)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_ends_the_child_too() -> None:
    alarm = threading.Timer(0.5, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    alarm.start()
    with pytest.raises(KeyboardInterrupt):
        in_child(asleep, "own.abc", ALLOWED)
    assert not children()


@pytest.mark.parametrize("error", ["TypeError", "KeyError", "MemoryError", "RecursionError", "UserWarning", "OSError"])
def test_parsing_makes_one_line_of_any_error(error: str) -> None:
    def parse() -> None:
        with parsing("own.abc", ALLOWED):
            raise getattr(builtins, error)("one\ntwo")

    one_line(parse, "own.abc: file: found unreadable", error, ALLOWED)


def test_parsing_keeps_warnings_and_logs_to_itself(caplog: pytest.LogCaptureFixture) -> None:
    import logging

    log = logging.getLogger("abc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with parsing("own.abc", ALLOWED, "abc"):
            warnings.warn("old", stacklevel=1)
            log.error("broken")
    assert not caplog.records and log.isEnabledFor(logging.ERROR)


def test_every_format_has_a_sample() -> None:
    """Else its reader would never see a broken file here."""
    assert not set(READERS) - set(SAMPLES)


@pytest.mark.parametrize("suffix", sorted(READERS))
def test_broken_files_are_read_or_refused_in_one_line(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A few of those that `make nightly` tries by the thousand; a readable one first, else refusals would say nothing."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"body{suffix}"
    for write in SAMPLES[suffix]:
        write(path)
        data, options = path.read_bytes(), OPTIONS.get(write, {})
        assert targets.load(path, SIZE, **options).occupied.any()
        before = sorted(tmp_path.iterdir())
        for number in range(1 if suffix in SLOW else 20):
            path.write_bytes(broken(data, suffix, number))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a broken mesh has holes, and says so
                try:
                    targets.load(path, SIZE, **options)
                except InputError as error:
                    line = str(error)
                    assert "\n" not in line and line.isprintable() and str(path) in line and ": found " in line, (number, line)
        assert sorted(tmp_path.iterdir()) == before
        path.unlink()
    assert capfd.readouterr() == ("", "")
