"""Law 8, to the bit: a batch has one gradient, however it is split; compiled code sums it sample by sample."""

import pytest
import torch

from nca3d.config import Config
from nca3d.executors import native_code
from nca3d.training.trainer import Trainer

CONFIGS = {
    "plain": {"target": "cross"},
    "classes from a code": {"target": "castle", "size": (18, 16, 16), "code": 4, "iterations": 4},
    "several bodies, told": {"target": ("cross", "jack"), "condition": "input", "condition_codes": "learned"},
    "several bodies, by their seeds": {"target": ("cross", "jack"), "condition": "seed"},
    "learned kernels": {"target": "cross", "perception": "learned"},
    "learned balance": {"target": "cross", "balance": "learned"},
    "no pool": {"target": "cross", "regime": "growing"},
}


def trained(accumulate, iterations=6, **changes):
    base = {"size": (9, 9, 9), "hidden": (16,), "batch": 4, "pool_size": 8, "iterations": 50, "steps": (8, 12), "report": False}
    config = Config(**{**base, "accumulate": accumulate, **changes})
    trainer = Trainer.begin(config)
    for _ in range(min(iterations, config.iterations)):
        trainer.step()
    return trainer


@pytest.mark.skipif(not native_code.available(torch.zeros(1)), reason="no compiled code on this machine")
@pytest.mark.parametrize("changes", CONFIGS.values(), ids=CONFIGS)
def test_parts_of_a_batch_give_the_very_gradient_of_the_whole(changes):
    whole, parts = trained(1, **changes), trained(2, **changes)
    for name, tensor in whole.rule.state_dict().items():
        assert torch.equal(tensor, parts.rule.state_dict()[name]), name
    assert torch.equal(whole.pool.states, parts.pool.states)
    fresh = Trainer.begin(whole.config).rule.state_dict()
    assert any(not torch.equal(tensor, fresh[name]) for name, tensor in whole.rule.state_dict().items()), "it has learnt"


def test_other_executors_differ_by_rounding_alone():
    whole, parts = (trained(accumulate, 1, target="cross", executor="dense") for accumulate in (1, 2))
    for name, parameter in whole.rule.named_parameters():
        other = dict(parts.rule.named_parameters())[name]
        assert parameter.grad is not None and other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, rtol=0, atol=1e-5 * float(parameter.grad.abs().max()))
