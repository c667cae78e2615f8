"""Numbers that go wrong, of bodies and of cubes: nothing is spoilt, and what happened is told."""

import itertools
import json

import pytest
import torch
from tiny_runs import tiny_body, tiny_cube

import nca3d
from nca3d import checkpoint
from nca3d.config import Config
from nca3d.losses import LOSSES
from nca3d.training.optim import treat_gradients


@pytest.fixture
def questions(tmp_path):
    lines = [
        {"question": f"what is {a} of {b}", "answer": a + b, "split": split}
        for split, a, b in itertools.product(("train", "validation", "test"), "abcd", "efgh")
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "q.jsonl"


def poisoned(value: float, at: int):
    """A loss of nothing, which spoils two states of the iteration that is asked for."""
    calls = []

    def loss(moments, target, rule):
        # Those that the pool is ranked by are not learnt from.
        if torch.is_grad_enabled():
            calls.append(0)
            if len(calls) == at:
                with torch.no_grad():
                    moments[-1][:2] = value
        return 0 * moments[-1].mean(dim=(1, 2, 3, 4))

    return loss


@pytest.mark.slow
def test_a_cube_that_is_lost_is_counted(tmp_path, questions, registries):
    """N4: a cube of NaN goes back to rest, and the line of the iteration says how many did."""
    LOSSES.register("poison", kinds=("signal",))(poisoned(float("nan"), at=3))
    losses = {"poison": 1.0, "surface": 1.0}
    config = tiny_cube(questions, out=str(tmp_path / "run"), batch=4, pool_size=8, iterations=6, losses=losses)
    run = nca3d.train(config, progress=False)
    (line,) = [line for line in run.metrics if "fault" in line]
    assert line["fault"] == "non-finite loss" and line["reseeded_non_finite"] == 2
    assert run.pool.reseeded["non_finite"] == 2 and run.pool.states.isfinite().all()
    assert checkpoint.load(run.folder).groups["pool"]["reseeded_non_finite"] == 2


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 3e38])
def test_states_that_overflow_are_told_and_nothing_is_spoilt(value, tmp_path, registries):
    """N6."""
    LOSSES.register("poison")(poisoned(value, at=5))
    config = tiny_body(out=str(tmp_path / "run"), iterations=10, log_every=1, losses={"rgba": 1.0, "poison": 1.0}, retries=0)
    run = nca3d.train(config.replace(max_bad_steps=5), progress=False)
    assert [line["fault"] for line in run.metrics if "fault" in line] in (["non-finite loss"], ["non-finite gradient"])
    assert all(weight.isfinite().all() for weight in run.rule.state_dict().values()) and run.pool.states.isfinite().all()


@pytest.mark.parametrize("treatment", ["normalise", "clip", "none"])
def test_a_gradient_of_zero_stays_zero(treatment):
    """N8: it is divided by its length."""
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.zeros(3)
    treat_gradients(Config(gradient=treatment), [weight])
    assert weight.grad.tolist() == [0, 0, 0]
