"""What 0.1.0 left on disk is loaded: rules, cards, configs, reports, and a cube that answers as it did."""

import pytest
from contract_tools import OLD, RUNS, dotted, main, old_files, table

import nca3d


@pytest.fixture(autouse=True)
def old(tmp_path, monkeypatch):
    return old_files(tmp_path, monkeypatch)


@pytest.mark.parametrize("name", RUNS)
def test_a_rule_and_its_card(name, old):
    (newest,) = sorted((OLD / name / "checkpoints").iterdir())[-1:]
    card = table(newest / "scalars.json")["card"]
    for source in (name, old / name, old / name / "checkpoints" / newest.name):
        rule = nca3d.load(source)
        assert {key: rule.card[key] for key in card} == card
    assert type(rule).__name__ == ("GMLPRule" if name == "cube" else "ConvRule")


@pytest.mark.parametrize("name", RUNS)
def test_a_config(name, old):
    config = nca3d.Config.load(old / name / "config.toml")
    config.save(old / "again.toml")
    assert nca3d.Config.load(old / "again.toml") == config


def test_a_damaged_checkpoint_is_skipped_for_the_one_before(old, capsys):
    weights = old / "body" / "checkpoints" / "step-000012" / "rule.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert nca3d.load("body").card["target"] == "sphere"
    assert "step-000012" in capsys.readouterr().err
    with pytest.raises(nca3d.InputError, match="sha256"):
        nca3d.load(weights.parent)


@pytest.mark.slow
def test_reports_are_compared(old, capsys):
    """Of a finished run, of evaluations, of a cube; all that a table of 0.1.0 had is in the table."""
    assert main("compare", "evaluate-body.json", "body", "--out", "both") == 0
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    figures = table(OLD / "evaluate-body.json")
    kept = {"grow_iou", "hold_iou_1000", "steps_held", *dotted({"heal_iou": figures["heal_iou"]})}
    assert kept <= set(rows) and (old / "both" / "compare.png").stat().st_size > 1000
    assert main("compare", "evaluate-cube.json", "cube") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in dotted({"split": table(OLD / "evaluate-cube.json")["split"]}))


@pytest.mark.slow
def test_a_body_is_evaluated(old, capsys):
    """Every figure of 0.1.0 under its name, on screen and in the file."""
    assert main("evaluate", "body", "--preset", "quick", "--no-pictures", "--json", "again.json") == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    before, now = table(OLD / "evaluate-body.json"), table(old / "again.json")
    same_keys(before, now, shown)
    assert now["steps_tried"] == before["steps_tried"] and now["params"] == before["params"]
    assert now["grow_iou"] == pytest.approx(before["grow_iou"], rel=1e-4)
    assert {"report.html", "report.json", "report.md"} <= {file.name for file in (old / "body" / "evaluate-quick").iterdir()}
    assert set(before) <= set(table(old / "body" / "evaluate-quick" / "report.json"))


@pytest.mark.slow
def test_a_cube_is_evaluated(old, capsys):
    assert main("evaluate", "cube", "--preset", "quick", "--no-pictures", "--json", "again.json") == 0
    shown = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    before, now = table(OLD / "evaluate-cube.json"), table(old / "again.json")
    same_keys(before, now, shown)
    assert now["chance"] == before["chance"] and now["params"] == before["params"]


def same_keys(before, now, shown):
    extra = ("spread", "intervals", "series", "about")
    figures = set(dotted({name: value for name, value in before.items() if name not in extra}))
    assert figures <= set(dotted(now))
    assert figures <= shown
    for name in extra:
        assert set(before[name]) <= set(now[name]), name


def test_a_cube_answers_as_it_did(old):
    before = table(OLD / "answers.json")
    questions = [row["question"] for row in before["questions"]]
    assert main("answer", "cube", *questions, "--best", 3, "--json", "again.json") == 0
    now = table(old / "again.json")
    assert set(before) <= set(now) and (now["model"], now["teacher"]) == (before["model"], before["teacher"])
    for mine, theirs in zip(now["questions"], before["questions"], strict=True):
        assert [row["answer"] for row in mine["answers"]] == [row["answer"] for row in theirs["answers"]]
        assert [row["score"] for row in mine["answers"]] == pytest.approx([row["score"] for row in theirs["answers"]], abs=1e-4)


def test_a_cube_is_asked_from_python():
    cube = nca3d.Cube.load("cube")
    (replies,) = cube.ask(["what is front of the stone"], best=2)
    assert [reply.answer for reply in replies] == ["the front one", "the right one"]
    assert {"model", "size", "cells", "weights", "horizon", "teacher", "answers", "runtime"} <= cube.about().keys()


def test_an_answer_by_the_shell_is_readable(capsys):
    assert main("answer", "cube", "what is left of the house", "--best", 1) == 0
    shown = capsys.readouterr().out
    assert "what is left of the house" in shown and "the left one" in shown
