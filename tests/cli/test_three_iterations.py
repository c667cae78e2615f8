"""A true run of three iterations for each regime of a body, through the shell: trained, loaded, gone on with, reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nca3d

pytestmark = pytest.mark.slow
SMALL = "--target cross --size 8 9 8 --steps 6 10 --channels 10 --hidden 16 --batch 4 --pool-size 8 --log-every 1"


def shell(folder: Path, *words: object) -> str:
    """Standard output of `nca3d`, in a process of its own."""
    command = [sys.executable, "-m", "nca3d", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(nca3d.__file__).parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def iterations(run: Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("regime", ["growing", "persistent", "regenerating"])
def test_a_body_trains_and_goes_on(regime, tmp_path):
    run = tmp_path / "run"
    printed = shell(tmp_path, "train", *SMALL.split(), "--regime", regime, "--iterations", 3, "--no-report", "--out", "run")
    assert printed.split() == ["run"]
    assert iterations(run) == [1, 2, 3]
    assert nca3d.Config.load(run / "config.toml").regime == regime
    rule = nca3d.load(run)
    assert rule.card["regime"] == regime and rule.card["size"] == [8, 9, 8]
    assert any(parameter.any() for parameter in list(rule.parameters())[-1:]), "three iterations moved the last layer from zero"
    shell(tmp_path, "train", "--resume", "run", "--iterations", 5)
    assert iterations(run) == [1, 2, 3, 4, 5]
    assert (run / "checkpoints" / "step-000005").is_dir()


def test_a_run_ends_with_a_report_that_can_be_compared(tmp_path):
    printed = shell(tmp_path, "train", *SMALL.split(), "--iterations", 3, "--damage-from", 0, "--out", "run")
    names = {Path(line).name for line in printed.splitlines()}
    assert {"report.html", "creature.html", "run"} <= names
    assert any(name.endswith(".png") for name in names), "pictures stand beside the page"
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert 0 <= report["grow_iou"] <= 1 and report["iterations"] == 3
    assert "grow_iou" in shell(tmp_path, "compare", "run")
