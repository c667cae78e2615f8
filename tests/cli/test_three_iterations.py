"""A true run of three iterations for each regime of a body, through the shell: trained, loaded, gone on with, reported."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nca3d
from nca3d.cli import main
from nca3d.evaluation import Preset
from nca3d.evaluation.presets import grid

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


def test_a_picture_alone_is_a_command_and_its_flat_body_has_all_that_others_have(tmp_path, monkeypatch):
    """Trained at its own size, which the run knows in numbers; studied, filmed and exported without a number that is none."""
    pixels = np.zeros((7, 9, 4), np.uint8)
    pixels[1:6, 2:4] = pixels[1, 2:8] = (200, 30, 40, 255)
    Image.fromarray(pixels).save(tmp_path / "l.png")
    monkeypatch.chdir(tmp_path)
    small = ["--steps", "6", "9", "--channels", "8", "--hidden", "16", "--pool-size", "4", "--no-report", "--out", "run"]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert main(["train", "--target", "l.png", "--iterations", "3", *small]) == 0
    assert "size = 1 × 7 × 8: the 1 × 5 × 6 cells of l.png and a margin of 1" in said.getvalue().splitlines()
    config = nca3d.Config.load("run/config.toml")
    assert config.given_size == (1, 7, 8) and nca3d.load("run").card["size"] == [1, 7, 8]
    preset = Preset(2, 6, late_steps=4, wounds=grid((0.25,)), injuries=1, studies=("regeneration", "robustness", "emergence"))
    report = nca3d.evaluate(nca3d.load("run"), None, preset, horizon=6)
    assert "nan" not in report.to_json().lower() and "one layer" in report.about["left out"]
    assert not [name for name in report["regeneration"]["recovered_each"] if " +z" in name or " -z" in name]
    assert not [name for name in report["robustness"] if "padding" in name]
    life = ["--steps", "8", "--every", "4"]
    assert main(["render", "run", "--out", "life.gif", "--pixels", "64", "--damage", "4:half_space:0.5:+y", *life]) == 0
    assert main(["render", "run", "--out", "life.gif", "--damage", "4:half_space:0.5:-z", *life]) == 2
    assert (
        main(["export", "run", "b.vti", "b.glb", "b.vox", "b.npz", "b.nbt", "--live", "live.html", "--movie", "m.html", *life])
        == 0
    )
    assert main(["train", "--resume", "run", "--iterations", "4"]) == 0
    assert nca3d.Config.load("run/config.toml").size == (1, 7, 8)
