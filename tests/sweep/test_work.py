"""The loop of a sweep: with a stand-in for the runs where their ends are what matters, and with real runs that are killed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nca3d.cli import main
from nca3d.files import refuse_locked
from nca3d.sweep import attempt
from nca3d.sweep.board import Board, require_optuna
from nca3d.sweep.plan import Plan

pytest.importorskip("optuna")

# A run that trains nothing: how it ends is decided by its fire rate. What it says goes into its log.
STAND_IN = """
import json, pathlib, signal, sys, time, tomllib
parent, folder, config, preset, *flags = sys.argv[1:]
config = tomllib.loads(pathlib.Path(config).read_text())
folder, rate = pathlib.Path(folder), config["fire_rate"]
folder.mkdir(exist_ok=True)
(folder / "begun").open("a").write("x")
print("flags", *flags, flush=True)
if rate == 0.1:
    sys.exit("RUN: iteration 3: all bodies died out")
if rate == 0.2 and len((folder / "begun").read_text()) == 1:
    signal.raise_signal(signal.SIGKILL)
signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
for iteration in range(1, config["iterations"] + 1):
    line = {"iteration": iteration, "loss": 1.0, "iou": rate * iteration / 40 + config["random_seed"] / 100}
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\\n")
    if rate == 0.3:
        time.sleep(0.2)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(attempt, "PROGRAM", "stand_in")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.chdir(tmp_path)


def states(folder: str) -> list[str]:
    require_optuna()
    return [trial.state.name for trial in Board(Plan.load(Path(folder)), Path(folder)).trials()]


def rows(folder: str) -> list[dict[str, str]]:
    return list(csv.DictReader(Path(folder, "table.csv").read_text().splitlines()))


@pytest.mark.slow
def test_failed_trials_are_named_and_the_others_go_on(stand_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    """One setting fails, one is killed and goes on when the sweep does; the table says so and counts neither."""
    words = [
        "sweep",
        "tiny",
        "--vary",
        "fire_rate=0.1,0.2,0.8",
        "--seeds",
        "2",
        "--iterations",
        "40",
        "--out",
        "s",
        "--jobs",
        "3",
    ]
    assert main(words) == 1
    said = capsys.readouterr()
    assert (
        "trial 0 (fire_rate = 0.1, random_seed = 0): failed: RUN: iteration 3: all bodies died out (s/trials/0000.log)"
        in said.err
    )
    assert "ended by SIGKILL; it goes on with --resume s" in said.err and "go on with: nca3d sweep --resume s" in said.err
    assert states("s") == ["FAIL", "RUNNING", "COMPLETE"] * 2
    assert [(row["fire_rate"], row["runs"], row["notes"]) for row in rows("s")] == [
        ("0.1", "0", "2 failed"),
        ("0.2", "0", "2 not done"),
        ("0.8", "2", ""),
    ]
    assert main(["sweep", "--resume", "s"]) == 0
    assert states("s") == ["FAIL", "COMPLETE", "COMPLETE"] * 2
    begun = [len(Path(f"s/trials/{number:04d}/begun").read_text()) for number in range(6)]
    assert begun == [1, 2, 1] * 2, "none is run again but those that were killed"
    iou = [(row["fire_rate"], row["iou.n"], row["iou.mean"], row["iou.sd"][:6]) for row in rows("s")]
    assert iou == [("0.1", "0", "", ""), ("0.2", "2", "0.205", "0.0070"), ("0.8", "2", "0.805", "0.0070")]
    assert {file.name for file in Path("s").iterdir()} >= {"table.md", "table.csv", "table.tex", "sweep.png"}
    assert not list(Path("s/trials").glob("*.lock"))


@pytest.mark.slow
def test_a_sweep_whose_trials_all_fail_has_failed(stand_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("")
    assert main(["sweep", "tiny", "--fire-rate", "0.1", "--seeds", "1", "--out", "s", "--plugins", "mine.py"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "s: all 1 trials failed; the log of each is in s/trials"
    assert Path("s/trials/0000.log").read_text().startswith(f"flags --plugins {Path('mine.py').absolute()}\n")


@pytest.mark.slow
def test_trials_that_fall_behind_end_early_and_are_no_figure(
    stand_in: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nca3d.sweep.work.LOOK", 0.2)
    words = [
        "sweep",
        "tiny",
        "--vary",
        "fire_rate=0.9,0.8,0.7,0.85,0.75,0.3",
        "--seeds",
        "1",
        "--iterations",
        "40",
        "--jobs",
        "1",
    ]
    assert main([*words, "--out", "s", "--prune"]) == 0
    assert "trial 5 (fire_rate = 0.3, random_seed = 0): ended early" in capsys.readouterr().err
    assert states("s") == ["COMPLETE"] * 5 + ["PRUNED"]
    last = rows("s")[-1]
    assert last["notes"] == "1 ended early" and last["iou.mean"] == ""
    assert len(Path("s/trials/0005/metrics.jsonl").read_text().splitlines()) < 40


@pytest.mark.slow
def test_two_processes_share_a_sweep_and_no_trial_is_run_twice(stand_in: None, capsys: pytest.CaptureFixture[str]) -> None:
    vary = "fire_rate=" + ",".join(f"0.{number}" for number in range(50, 58))
    first = [sys.executable, "-c", LATER, "sweep", "tiny", "--vary", vary, "--seeds", "1", "--iterations", "40", "--out", "s"]
    with subprocess.Popen([*first, "--jobs", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until(Path("s").is_dir)
        assert main(["sweep", "--resume", "s", "--jobs", "1"]) == 0
        assert process.wait(60) == 0
    assert states("s") == ["COMPLETE"] * 8
    assert {len(Path(f"s/trials/{number:04d}/begun").read_text()) for number in range(8)} == {1}
    assert [row["runs"] for row in rows("s")] == ["1"] * 8


# The command, with the stand-in in place of real runs.
LATER = (
    "import sys; from nca3d.sweep import attempt; attempt.PROGRAM = 'stand_in'; from nca3d.cli import main; sys.exit(main())"
)


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_free(folder: Path) -> bool:
    try:
        refuse_locked(folder / "run.lock")
    except ValueError:
        return False
    return True


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_nothing_that_was_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real runs: the sweep is killed, its trials save and end with it, and go on from there when it is resumed."""
    monkeypatch.chdir(tmp_path)
    words = [
        "tiny",
        "--seeds",
        "2",
        "--iterations",
        "60",
        "--save-every",
        "10",
        "--log-every",
        "1",
        "--batch",
        "3",
        "--ageing",
        "0",
    ]
    command = [sys.executable, "-m", "nca3d", "sweep", *words, "--measure", "none", "--jobs", "2", "--out", "s"]
    places = [Path("s/trials/0000"), Path("s/trials/0001")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: all((place / "checkpoints" / "step-000010").is_dir() for place in places))
        process.kill()
        process.wait()
    until(lambda: all(map(is_free, places)), seconds=20)
    before = [(place / "metrics.jsonl").read_bytes().splitlines() for place in places]
    saved = [max(int(step.name[5:]) for step in (place / "checkpoints").glob("step-*[0-9]")) for place in places]
    assert states("s") == ["RUNNING"] * 2 and min(saved) >= 10
    assert main(["sweep", "--resume", "s", "--jobs", "2"]) == 0
    assert states("s") == ["COMPLETE"] * 2
    for place, lines, step in zip(places, before, saved, strict=True):
        after = (place / "metrics.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["iteration"] for line in after] == list(range(1, 61))
        assert after[:step] == lines[:step], "what was saved was not trained again"
    assert rows("s")[0]["iou.n"] == "2"


@pytest.mark.slow
def test_a_stop_saves_and_says_how_to_go_on(stand_in: None) -> None:
    words = ["sweep", "tiny", "--fire-rate", "0.3", "--seeds", "2", "--iterations", "200", "--out", "s", "--jobs", "1"]
    with subprocess.Popen([sys.executable, "-c", LATER, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        until(Path("s/trials/0000/metrics.jsonl").exists)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 143 and process.stderr is not None
        said = process.stderr.read().decode().splitlines()
    assert said[-1] == "stopped: 0 of 2 trials are done; go on with: nca3d sweep --resume s"
    assert states("s") == ["RUNNING", "WAITING"]
