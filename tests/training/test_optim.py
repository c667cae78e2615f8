"""Optimizers for many weights: one pass over them, and 8-bit state without work space for the largest."""

import pytest
import torch
from torch import nn

from nca3d.config import Config
from nca3d.training import eight_bit, optim


def trained(make, steps=6):
    generator = torch.Generator().manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in [(300, 170), (50, 3), (12_345,)]]
    optimizer = make(weights)
    for _ in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
    return weights, optimizer


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_many_weights_are_moved_in_one_pass(name, monkeypatch):
    config = Config(optimizer=name, weight_decay=0.01)
    plain, optimizer = trained(lambda weights: optim.build_optimizer(config, weights))
    assert not optimizer.param_groups[0]["fused"]
    monkeypatch.setattr(optim, "MANY_WEIGHTS", 1000)
    once, optimizer = trained(lambda weights: optim.build_optimizer(config, weights))
    assert optimizer.param_groups[0]["fused"]
    for one, other in zip(once, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_slices_change_no_bit(monkeypatch):
    kind = pytest.importorskip("bitsandbytes").optim.AdamW8bit
    monkeypatch.setattr(eight_bit, "SLICE", 1 << 10)
    sliced, ours = trained(lambda weights: optim.build_optimizer(Config(optimizer="adamw8bit"), weights))
    options = {name: ours.defaults[name] for name in ("lr", "betas", "eps", "weight_decay")}
    plain, theirs = trained(lambda weights: kind(weights, **options))
    assert type(ours) is not kind, "in slices"
    assert len(ours.state) == len(theirs.state) == 3
    for one, other in zip(sliced, plain, strict=True):
        assert torch.equal(one, other)
        for name, value in theirs.state[other].items():
            found = ours.state[one][name]
            assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value
