"""`nca3d evaluate` and `nca3d compare`: figures printed and written; the laws of any module."""

import json
from pathlib import Path

import pytest
from complaint import complaint

from nca3d.cli import main

TINY_RULE = """
import torch
from nca3d.rules import ConvRule
from torch import nn

rule = ConvRule(hidden=(16,))

class Normed(nn.Module):
    channels = 8
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv3d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.Conv3d(16, 8, 1))
    def forward(self, state):
        return state + 0.1 * self.net(state)
"""


@pytest.mark.slow
def test_evaluate_prints_and_writes_its_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY_RULE)
    mine = f"{tmp_path / 'mine.py'}:rule"
    argv = ["evaluate", mine, "--target", "sphere", "--size", "7", "7", "7", "--horizon", "3", "--samples", "2"]
    assert main([*argv, "--no-pictures", "--out", str(tmp_path / "out"), "--json", str(tmp_path / "f.json")]) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
    assert float(rows["grow_iou"]) < 0.1 and rows["samples"] == "2"
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["steps_tried"] == 1000 and len(found["spread"]["grow_iou"]) == 2
    assert {"report.html", "report.json", "report.md", "persistence.png"} <= {p.name for p in (tmp_path / "out").iterdir()}
    assert main(["compare", str(tmp_path / "out"), "zoo:axolotl", "--out", str(tmp_path / "both")]) == 0
    table = capsys.readouterr().out
    assert f"| measure | {tmp_path / 'out'} | zoo:axolotl |" in table and "| steps_held |" in table
    assert (tmp_path / "both" / "compare.png").stat().st_size > 1000
    assert "FILE" not in complaint(capsys, "evaluate", mine) and "--target" in complaint(capsys, "evaluate", mine)


@pytest.mark.slow
def test_json_stands_alone_on_stdout(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY_RULE)
    argv = ["evaluate", f"{tmp_path / 'mine.py'}:rule", "--target", "sphere", "--size", "7", "7", "7", "--horizon", "3"]
    assert main([*argv, "--samples", "2", "--no-pictures", "--out", str(tmp_path / "out"), "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["steps_tried"] == 1000
    assert shown.err.splitlines()[-1] == str(tmp_path / "out" / "report.html")


@pytest.mark.slow
def test_laws_of_any_module(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TINY_RULE)
    assert main(["evaluate", f"{tmp_path / 'mine.py'}:rule", "--laws"]) == 0
    assert "locality     holds" in capsys.readouterr().out
    assert main(["evaluate", f"{tmp_path / 'mine.py'}:Normed", "--laws"]) == 1
    assert "locality     broken" in capsys.readouterr().out
    assert "allowed rule, Normed" in complaint(capsys, "evaluate", f"{tmp_path / 'mine.py'}:Normd", "--laws")


def test_a_preset_is_checked_before_torch_loads(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from nca3d.cli import evaluate
    from nca3d.evaluation import PRESETS

    assert tuple(PRESETS) == evaluate.PRESETS
    monkeypatch.setattr(evaluate, "rule_of", lambda *_: pytest.fail("the rule was looked for"))
    line = complaint(capsys, "evaluate", "zoo:axolotl", "--preset", "quik")
    assert line == "--preset: preset: found 'quik', allowed quick, standard, full; did you mean 'quick'?"


def test_numbers_that_no_evaluation_would_reach(capsys: pytest.CaptureFixture[str]) -> None:
    lines = complaint(capsys, "evaluate", "zoo:axolotl", "--horizon", str(10**15), "--random-seed", str(2**32)).splitlines()
    assert lines[0].endswith(f"found {10**15}, allowed 1 .. 1000000") and lines[1].endswith("allowed 0 .. 2**32 - 1")


@pytest.mark.parametrize("text", ["{}", '{"name": "package", "version": "1.0"}', '{"grow_iou": "high"}'])
def test_a_table_without_a_figure_is_no_report(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "report.json").write_text(text)
    assert "report: found no figure in it, allowed" in complaint(capsys, "compare", str(tmp_path / "report.json"))
