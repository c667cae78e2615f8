"""`nca3d sweep`: what it refuses before anything runs."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from complaint import complaint

from nca3d.cli import main

pytest.importorskip("optuna")


def test_bad_input_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    lines = complaint(capsys, "sweep", "tiny", "--vary", "fire_rate=0.5,7", "batch=8,0", "--out", "s").splitlines()
    assert [line.split(": ")[1] for line in lines] == ["batch", "fire_rate"]
    wrong = "sweep tiny --search tp --trials 0 --measure quik --jobs -1 --maximise iou --minimise loss"
    lines = complaint(capsys, *wrong.split()).splitlines()
    assert len(lines) == 6 and "did you mean 'tpe'" in "".join(lines)
    twice = complaint(capsys, "sweep", "tiny", "--vary", "fire_rate=0.5,1", "--fire-rate", "0.3", "--out", "s")
    assert twice.startswith("--fire-rate: fire_rate: found a value beside --vary")
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("vary", "words"),
    [
        ("rule_options.x=1,2", "rule_options: found 'x', allowed "),
        pytest.param(
            "device=cpu,cuda",
            "device: found 'cuda', and torch sees no CUDA device, allowed another one, or --jobs 0",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
        pytest.param(
            "tracker=none,trackio",
            "tracker: found 'trackio', which is not installed, allowed pip install trackio",
            marks=pytest.mark.skipif(find_spec("trackio") is not None, reason="trackio is installed"),
        ),
    ],
)
def test_what_this_machine_or_rule_has_not_is_refused_before_anything_runs(vary, words, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in complaint(capsys, "sweep", "tiny", "--vary", vary, "--out", "s")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_unknown_figure_is_refused_and_no_table_is_touched(tmp_path, monkeypatch, capsys) -> None:
    """Of a search after its first run, which knows what figures there are; of a sweep that goes on before it does."""
    monkeypatch.chdir(tmp_path)
    small = ["--iterations", "2", "--measure", "none", "--jobs", "1"]
    words = [
        "sweep",
        "tiny",
        *small,
        "--vary",
        "fire_rate=0.4..0.6",
        "--search",
        "random",
        "--trials",
        "3",
        "--maximise",
        "nosuch",
    ]
    assert "--maximise: figure: found 'nosuch', allowed " in complaint(capsys, *words, "--out", "s")
    assert main(["sweep", "tiny", *small, "--seeds", "1", "--out", "t"]) == 0
    assert "nothing was asked to vary" in capsys.readouterr().err
    before = {file.name: file.read_bytes() for file in (tmp_path / "t").glob("table.*")}
    assert "--figures: figure: found 'nosuch', allowed " in complaint(capsys, "sweep", "--resume", "t", "--figures", "nosuch")
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "t").glob("table.*")}
