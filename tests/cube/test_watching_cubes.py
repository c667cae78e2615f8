"""A cube's training is profiled and watched as a body's is, and leaves nothing behind either."""

import json

import pytest
from leaking import LONG, leaves_nothing_behind
from tiny_runs import CELL, tiny_cube

import nca3d


@pytest.fixture
def questions(tmp_path):
    pairs = [{"question": f"is {n} odd", "answer": "yes" if n % 2 else "no", "split": "train"} for n in range(8)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    return tmp_path / "questions.jsonl"


@pytest.mark.slow
def test_a_profile_and_what_it_cost(questions, tmp_path):
    changes = {"batch": 4, "pool_size": 8, "iterations": 8, "steps": (2, 3), "out": str(tmp_path / "run")}
    run = nca3d.train(tiny_cube(questions, profile=True, **changes), progress=False)
    page = (tmp_path / "run" / "profile.html").read_text()
    assert "the backward pass" in page and "aged states" not in page, "a cube's states don't age"
    for line in run.metrics:
        assert line["cells_per_second"] > 0 and line["floor_share"] > 0 and line["seconds_per_epoch"] > 0


@pytest.mark.nightly
def test_five_thousand_iterations_leave_nothing_behind(questions, tmp_path, monkeypatch, record_property):
    smallest = {"size": (2, 2, 2), "rule_options": {**CELL, "mixed": False}, "batch": 2, "pool_size": 4, "steps": (2, 2)}
    config = tiny_cube(questions, out=str(tmp_path / "run"), **{**smallest, **LONG})
    record_property("bytes an iteration", leaves_nothing_behind(config, monkeypatch))
