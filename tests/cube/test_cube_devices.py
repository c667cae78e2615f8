"""Training a cube on a GPU that is pretended here: questions, adapters and goals are where its cells are."""

import json

import pytest
from pretend_cuda import pretended
from tiny_runs import CELL, tiny_cube

from nca3d.training.trainer import Trainer


@pytest.fixture
def config(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    splits = ["validation" if n in (3, 9) else "train" for n in range(12)]
    pairs = [{"question": f"who is number {n}", "answer": f"it is {n % 4}", "split": s} for n, s in enumerate(splits)]
    (tmp_path / "set.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    shared = {"batch": 4, "pool_size": 4, "steps": (3, 4), "damage_count": 1, "iterations": 6, "executor": "dense"}
    return tiny_cube(tmp_path / "set.jsonl", teacher_width=8, **shared)


COARSE = {"rule_options": {**CELL, "weights": "low_rank", "periods": [1, 2], "coarse": 2}, "accumulate": 2}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"rule_options": {**CELL, "dropout": 0.1}}, marks=pytest.mark.slow),
        pytest.param({**COARSE, "pool_device": "host"}, marks=pytest.mark.nightly),
    ],
)
def test_a_cube_trains_on_its_device(config, changes):
    config = config.replace(**changes)
    plain = Trainer.begin(config.replace(device="cpu"))
    wanted = [plain.step().metrics["loss"] for _ in range(2)]
    with pretended() as record:
        trainer = Trainer.begin(config.replace(device="cuda"))
        found = [trainer.step().metrics["loss"] for _ in range(2)]
        outcome = trainer.step()
        assert outcome.states.device.type == "cuda"
        trainer.task.pattern(trainer.rule, outcome.states)
        assert trainer.task.fault(trainer.trained_rule()) == ""
    assert found == pytest.approx(wanted, rel=1e-6)
    # Not one question for each of the many weights.
    assert max(record.waits.values()) < 40, record.waits.most_common(3)
