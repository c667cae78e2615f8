"""TensorBoard, trackio and wandb: by one line of the config, and no failure of theirs ends a run."""

import builtins
import importlib.util
import json
import os
import sqlite3
import sys
import types

import pytest
from tiny_runs import tiny_body

import nca3d
from nca3d.errors import InputError
from nca3d.training.trackers import KINDS, Trackers


def short(folder, **changes):
    shared = {"iterations": 4, "steps": (4, 6), "log_every": 2, "schedule": "constant", "out": str(folder)}
    return tiny_body(**{**shared, **changes})


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_missing_package_is_one_line_before_anything_is_written(name, tmp_path, monkeypatch):
    if importlib.util.find_spec(name) is not None:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as caught:
        nca3d.train(short(tmp_path / "run", tracker=name), progress=False)
    assert str(caught.value) == f"config: tracker: found no {name}, allowed tracker = none; or first: pip install {name}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    """Wandb makes a folder called wandb in the working directory, and Python imports any folder."""
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))
    with pytest.raises(InputError, match="no wandb"):
        nca3d.train(short(tmp_path / "run", tracker="wandb"), progress=False)


def test_tensorboard_that_is_missing_is_told_as_early(tmp_path, monkeypatch):
    found = builtins.__import__

    def without(name, *rest, **options):
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return found(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="no tensorboard, allowed tensorboard = false; or first: pip install"):
        nca3d.train(short(tmp_path / "run", tensorboard=True), progress=False)
    assert list(tmp_path.iterdir()) == []


class Watching:
    """A tracker that keeps what it is given, and fails at a call."""

    name = "watching"

    def __init__(self, package, folder, config):
        self.lines, self.fails_at = package.lines, package.fails_at
        if self.fails_at == 0:
            raise OSError("no way  to\nthe network")

    def write(self, values, iteration):
        self.lines.append((iteration, dict(values)))
        if len(self.lines) == self.fails_at:
            raise OSError("no way to the network")

    def close(self):
        self.lines.append("closed")


@pytest.fixture
def watching(monkeypatch):
    package = types.ModuleType("watching")
    package.lines, package.fails_at = [], None
    monkeypatch.setitem(sys.modules, "watching", package)
    monkeypatch.setitem(KINDS, "wandb", (Watching, "watching", "lines", "pip install watching"))
    return package


def test_all_numbers_of_a_line_go_there(tmp_path, watching):
    lines = nca3d.train(short(tmp_path / "run", tracker="wandb"), progress=False).metrics
    assert watching.lines.pop() == "closed" and [iteration for iteration, _ in watching.lines] == [2, 4]
    for line, (_, values) in zip(lines, watching.lines, strict=True):
        assert values == {name: value for name, value in line.items() if name not in ("iteration", "seconds", "skipped")}
        assert values["cells_per_second"] > 0


def test_one_that_fails_in_the_middle_is_told_once_and_training_goes_on(tmp_path, watching, capsys):
    watching.fails_at = 1
    run = nca3d.train(short(tmp_path / "run", tracker="wandb"), progress=False)
    assert len(run.metrics) == 2 and len(watching.lines) == 1
    told = capsys.readouterr().err
    assert told.count("watching failed at iteration 2 (no way to the network); training goes on without it") == 1


def test_one_that_can_not_begin_is_one_line_and_leaves_nothing(tmp_path, watching):
    watching.fails_at = 0
    with pytest.raises(InputError) as caught:
        nca3d.train(short(tmp_path / "run", tracker="wandb"), progress=False)
    assert "found wandb, which can't begin (no way to the network), allowed WANDB_MODE=offline" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    nca3d.train(short(tmp_path / "run", tracker="wandb"), progress=False)
    (written,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    assert b"cells_per_second" in written.read_bytes()
    resumed = nca3d.train(short(tmp_path / "run", tracker="wandb", iterations=6), resume=tmp_path / "run", progress=False)
    assert len(resumed.metrics) == 3 and len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 2


def test_trackio(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    nca3d.train(short(tmp_path / "run", tracker="trackio"), progress=False)
    (kept,) = (tmp_path / "trackio").glob("*.db")
    with sqlite3.connect(kept) as database:
        rows = database.execute("select step, metrics from metrics order by step").fetchall()
    assert [step for step, _ in rows] == [2, 4] and json.loads(rows[-1][1])["cells_per_second"] > 0


def test_none_is_nothing(tmp_path):
    before = set(os.listdir(tmp_path))
    trackers = Trackers(tmp_path, short(tmp_path))
    trackers.write({"loss": 1.0}, 1)
    trackers.close()
    assert set(os.listdir(tmp_path)) == before
