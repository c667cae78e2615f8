"""`nca3d tune`: real points of the smallest config, its files, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import nca3d
from nca3d.cli import main
from nca3d.config import Config

BAD = {
    "words for batches": (["--batches", "4,many"], ["--batches", "4,many", "4,8,16"]),
    "a batch that damage does not leave": (["--batches", "2"], ["--batches", "batch 2", "damage_count"]),
    "a batch beyond all": (["--batches", "8,100000"], ["--batches", "batch 100000", "4_096"]),
    "no memory": (["--memory-limit", "0"], ["--memory-limit", "found 0"]),
    "no time": (["--seconds", "-1"], ["--seconds", "-1"]),
    "no end": (["--seconds", "inf"], ["--seconds", "inf"]),
    "a folder that is a file": (["--out", "file"], ["--out", "file"]),
    "numbers into nowhere": (["--json", "nowhere/x.json"], ["--json", "nowhere"]),
    "a field of the config": (["--fire-rate", "2"], ["--fire-rate", "found 2"]),
    "resuming": (["--resume", "run"], ["--resume", "unknown flag"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, words = BAD[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("years")
    assert main(["tune", "tiny", *argv]) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert shown.out == "" and ": found " in line and ", allowed " in line
    assert all(word in line for word in words), line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_two_batches_are_measured_and_the_choice_can_be_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, numbers = tmp_path / "new", tmp_path / "all.json"
    argv = ["tune", "tiny", "--batches", "16,4", "--memory", "keep", "--pool-size", "8", "--seconds", "0.1"]
    assert main([*argv, "--out", str(folder), "--json", str(numbers)]) == 0
    shown = capsys.readouterr()
    assert "whole iterations of 11 steps" in shown.out and "| samples/s |" in shown.out and "Traceback" not in shown.err
    content = json.loads(numbers.read_text())
    assert content == json.loads((folder / "tune.json").read_text())
    assert [(p["batch"], p["pool_size"], p["memory"]) for p in content["points"]] == [(4, 8, "keep"), (16, 16, "keep")]
    for point in content["points"]:
        assert point["samples_per_second"] == pytest.approx(point["batch"] / point["seconds"])
        assert point["trouble"] == "" and point["segment"] == 0 and point["aged_steps"] > 0
        if sys.platform == "linux":
            assert 20 << 20 < point["peak"] < 400 << 20
    with Image.open(folder / "tune.png") as image:
        assert image.size[0] > 800
    text = (folder / "chosen.toml").read_text()
    assert "learning rate" in text and "measured on" in text
    chosen = Config.load(folder / "chosen.toml")
    batch = content["chosen"]["point"]["batch"]
    tiny = Config.load("tiny")
    assert chosen == tiny.kind.sized(tiny)[0].replace(batch=batch, pool_size=max(8, batch), memory="keep")
    run = nca3d.train(chosen.replace(iterations=1, log_every=1, report=False, out=str(tmp_path / "run")), progress=False)
    assert run.metrics[-1]["iteration"] == 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for memory")
def test_a_limit_below_everything_says_what_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["tune", "tiny", "--batches", "4", "--memory-limit", "1", "--seconds", "0.1", "--out", str(tmp_path / "new")]
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert "over the limit" in shown.out
    assert "--memory-limit: memory: found 1 MiB, allowed at least" in shown.err and "for batch 4" in shown.err
    assert not (tmp_path / "new").exists()


def processes_of(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in children.read_text().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def begun(folder: Path) -> tuple["subprocess.Popen[str]", int]:
    """A search in a process of its own, and the process of its first point."""
    command = [sys.executable, "-m", "nca3d", "tune", "tiny", "--batches", "4,8,16", "--out", str(folder)]
    search = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (found := processes_of(search.pid)) and search.poll() is None:
        time.sleep(0.05)
    return search, found[0]


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for children")
def test_ctrl_c_ends_with_what_was_measured(tmp_path: Path) -> None:
    search, first = begun(tmp_path / "new")
    while first in (children := processes_of(search.pid)) or not children:
        time.sleep(0.05)
    os.kill(search.pid, signal.SIGINT)
    out, err = search.communicate(timeout=120)
    assert search.returncode == 130, err
    assert "| chosen |" in out and "stopped" in err and "Traceback" not in err
    assert json.loads((tmp_path / "new" / "tune.json").read_text())["stopped"] is True
    assert not is_running(children[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for children")
def test_the_process_of_a_point_ends_with_its_parent(tmp_path: Path) -> None:
    search, first = begun(tmp_path)
    search.kill()
    search.communicate(timeout=60)
    ends = time.monotonic() + 60
    while is_running(first) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not is_running(first)
