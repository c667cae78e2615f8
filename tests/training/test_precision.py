"""fp16 scales its loss, skips what overflows, and stops where the scale was not to blame; the state stays float32."""

import pytest
import torch
from resuming import cut_short, everything
from tiny_runs import tiny_body

import nca3d
from nca3d import checkpoint
from nca3d.training.precision import FIRST, LEAST
from nca3d.training.recovery import BAD_GRADIENT
from nca3d.training.trainer import Trainer


def overflowing(trainer: Trainer, below: float) -> None:
    """Makes the gradients infinite as long as the loss is scaled by `below` or more."""
    weight = next(trainer.rule.parameters())
    weight.register_hook(lambda grad: grad * (torch.inf if trainer.learner.scale.value >= below else 1.0))


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [*(p.detach().clone() for p in trainer.rule.parameters()), *(t.clone() for t in trainer.average.values())]


@pytest.mark.parametrize("executor", ["auto", "dense"])
def test_fp16_learns_as_fp32_does(executor):
    losses = {}
    for precision in ("fp32", "fp16"):
        trainer = Trainer.begin(tiny_body(precision=precision, executor=executor, iterations=20))
        outcomes = [trainer.step() for _ in range(20)]
        losses[precision] = outcomes[-1].metrics["loss"]
        assert outcomes[-1].states.dtype == torch.float32
    assert losses["fp16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["fp16"] != losses["fp32"], "it really computes in fewer bits"


def test_an_overflow_is_counted_and_leaves_every_weight():
    trainer = Trainer.begin(tiny_body(precision="fp16", iterations=20))
    overflowing(trainer, below=FIRST / 2)
    for number, scale in enumerate((FIRST / 2, FIRST / 4), 1):
        before = weights(trainer)
        outcome = trainer.step()
        assert outcome.fault == "" and outcome.metrics["overflowed"] == 1.0
        assert outcome.metrics["loss_scale"] == scale
        assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))
        assert (trainer.learner.overflows, trainer.bad_steps) == (number, 0)
    outcome = trainer.step()
    assert outcome.metrics["overflowed"] == 0.0
    assert not all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


def test_where_the_scale_is_not_to_blame_it_is_a_fault():
    """The scale falls to its least, and from there on each iteration counts as a bad one: the run stops."""
    trainer = Trainer.begin(tiny_body(precision="fp16", iterations=30))
    overflowing(trainer, below=0.0)
    before = weights(trainer)
    outcomes = [trainer.step() for _ in range(14)]
    assert [outcome.fault for outcome in outcomes] == [""] * 12 + [BAD_GRADIENT] * 2
    assert trainer.learner.scale.value == LEAST and trainer.bad_steps == 2
    assert all(torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


def test_other_precisions_have_no_scale():
    for precision in ("fp32", "bf16"):
        trainer = Trainer.begin(tiny_body(precision=precision, iterations=2))
        outcome = trainer.step()
        assert "loss_scale" not in outcome.metrics and trainer.learner.scale.value == 1.0
        assert trainer.learner.scale.plain() == {}


@pytest.mark.slow
def test_a_resumed_run_in_fp16_is_the_same_run(tmp_path):
    """Law 11: the scale and its counters are saved."""
    config = tiny_body(precision="fp16", iterations=6, save_every=3, out=str(tmp_path / "straight"))
    straight = nca3d.train(config, progress=False)
    half = config.replace(out=str(tmp_path / "half"))
    cut_short(half, 3)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)
    one, two = everything(straight), everything(resumed)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    saved = checkpoint.load(straight.folder).scalars
    assert saved["scale"]["scale"] == FIRST and saved["scale"]["_growth_tracker"] == 6 and saved["overflows"] == 0
