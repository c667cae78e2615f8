"""`nca3d sweep`: what it refuses before anything runs."""

import sys
from pathlib import Path

import pytest
from complaint import complaint

from nca3d.cli import main

pytest.importorskip("optuna")


def test_bad_input_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    lines = complaint(capsys, "sweep", "tiny", "--vary", "fire_rate=0.5,7", "batch=8,99", "--out", "s").splitlines()
    assert [line.split(": ")[1] for line in lines] == ["batch", "fire_rate"]
    wrong = "sweep tiny --search tp --trials 0 --measure quik --jobs -1 --maximise iou --minimise loss"
    lines = complaint(capsys, *wrong.split()).splitlines()
    assert len(lines) == 6 and "did you mean 'tpe'" in "".join(lines)
    assert "--resume: --seeds: found 3" in complaint(capsys, "sweep", "--resume", "s", "--seeds", "3")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("years")
    assert "found a folder with mine.txt in it" in complaint(capsys, "sweep", "tiny", "--out", "full")
    (tmp_path / "link").symlink_to("elsewhere")
    assert "found " in complaint(capsys, "sweep", "tiny", "--out", "link")
    (tmp_path / "link").unlink()
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "full", tmp_path / "full" / "mine.txt"]


def test_without_optuna_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    line = complaint(capsys, "sweep", "tiny")
    assert line == "nca3d sweep: optuna: found not installed, allowed pip install 'nca3d[sweep]'"


def test_a_sweep_can_be_made_for_others_to_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert main(["sweep", "tiny", "--vary", "fire_rate=0.5,1", "--seeds", "2", "--jobs", "0"]) == 0
        assert capsys.readouterr().out == f"sweeps/heart-{number}\n"
    names = {entry.name for entry in (tmp_path / "sweeps" / "heart-1").iterdir()}
    assert names == {"sweep.toml", "base.toml", "journal.log", "trials"}
