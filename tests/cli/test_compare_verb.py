"""`nca3d compare`: which reports a run stands for."""

from pathlib import Path

import pytest
from complaint import complaint

from nca3d.cli import main
from nca3d.config import Config
from nca3d.reports.report import Report


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs: `a` was reported and evaluated, `b` evaluated alone, of `c` nothing was measured."""
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate("abc"):
        (tmp_path / name).mkdir()
        Config(random_seed=seed).save(tmp_path / name / "config.toml")
    for iou, place in enumerate(["a", "a/evaluate-quick", "a/step-000012-evaluate-quick", "b/evaluate-quick"]):
        Path(place).mkdir(exist_ok=True)
        Report({"grow_iou": iou / 10}).to_json(f"{place}/report.json")
    Path("a/checkpoints/step-000012").mkdir(parents=True)


def table(capsys: pytest.CaptureFixture[str], *names: str) -> tuple[list[str], str]:
    """The lines of a comparison, and what is said beside it."""
    assert main(["compare", *names]) == 0
    shown = capsys.readouterr()
    return [line for line in shown.out.splitlines() if line.startswith(("| measure", "| grow_iou"))], shown.err


def test_a_run_alone_is_its_report_and_its_evaluations(runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    (head, figures), said = table(capsys, "a")
    names = head.strip("| ").split(" | ")[1:]
    assert names[0] == "a" and {*names} == {"a", "a/evaluate-quick", "a/step-000012-evaluate-quick"} and said == ""
    assert {*figures.strip("| ").split(" | ")[1:]} == {"0.000", "0.100", "0.200"}
    assert "one report alone" in table(capsys, "b")[1]
    assert table(capsys, "a/checkpoints/step-000012")[0][0] == "| measure | a/step-000012-evaluate-quick |"


def test_several_runs_have_a_column_each(runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    (head, figures), said = table(capsys, "a", "b")
    assert head == "| measure | a | b/evaluate-quick |" and figures == "| grow_iou | 0.000 | 0.300 |"
    assert said.count("\n") == 1 and said.startswith("a: a is shown; measured too: a/")
    assert table(capsys, "a/evaluate-quick", "b/evaluate-quick/report.json")[0][1] == "| grow_iou | 0.100 | 0.300 |"


def test_a_run_without_a_report_says_what_makes_one(runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "compare", "a", "c")
    assert line.endswith(
        "c: report: found none of its training, and no evaluation, allowed a report: nca3d evaluate c makes one"
    )


def test_runs_with_the_same_values_share_a_row(runs: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for number, (rate, iou) in enumerate([(0.5, 0.2), (0.5, 0.4), (1.0, 0.9)]):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        Config(fire_rate=rate, random_seed=number, losses={"rgba": 2.0}).save(folder / "config.toml")
        Report({"grow_iou": iou, "heal_iou": {"sphere": iou / 2}, "params": 7}).to_json(folder / "report.json")
    names = ["run-0", "run-1/report.json", "run-2"]
    assert (
        main(["compare", *names, "--group-by", "fire_rate,losses.rgba", "--figures", "heal_iou.*", "params", "--out", "o"]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| fire_rate | losses.rgba | n | heal_iou.sphere | params |"
    assert lines[2] == "| 0.5 | 2.0 | 2 | 0.150 ± 0.071 (0.100 – 0.200) | 7.000 ± 0.000 (7.000 – 7.000) |"
    assert lines[3] == "| 1.0 | 2.0 | 1 | 0.450 | 7.000 |"
    assert {file.name for file in Path("o").iterdir()} == {f"compare.{ending}" for ending in ("md", "csv", "tex", "png")}
    assert main(["compare", *names, "--group-by", "regime"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "| regime | n | grow_iou | heal_iou.sphere |"


def test_groups_that_cannot_be_made_are_one_line(runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'fire_rate'" in complaint(capsys, "compare", "a", "--group-by", "fire_rat")
    assert "zoo:frog: run folder: found" in complaint(capsys, "compare", "a", "zoo:frog", "--group-by", "regime")
    assert "--figures: figure: found 'iou', allowed one of " in complaint(
        capsys, "compare", "a", "b", "--group-by", "regime", "--figures", "iou"
    )
    assert "--group-by FIELD" in complaint(capsys, "compare", "a", "b", "--figures", "iou")
