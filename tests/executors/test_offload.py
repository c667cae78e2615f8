"""What is kept for a backward pass is counted, and comes back from host memory as it went."""

import gc

import pytest
import torch
from torch import Tensor

import nca3d
from nca3d.errors import ArgumentError
from nca3d.executors import offload
from nca3d.executors.offload import Kept
from nca3d.rules import ConvRule
from nca3d.rules.cell import Rule


class Plain(ConvRule):
    """Its step is its own, so that autograd keeps the activations."""

    def forward(self, state: Tensor, fire_mask: Tensor) -> Tensor:
        return super().forward(state, fire_mask)


def trained(kind: type[ConvRule], kept: Kept | None, rule: Rule | None = None, **options) -> list[Tensor]:
    rule = rule or fresh(kind)
    generator = torch.Generator().manual_seed(1)
    state = torch.rand(2, 8, 9, 9, 9, generator=generator)
    if kept:
        with kept.keeping():
            last = nca3d.rollout(rule, state, 6, **options)
    else:
        last = nca3d.rollout(rule, state, 6, **options)
    gc.collect()
    last.square().sum().backward()
    return [p.grad for p in rule.parameters()]


def fresh(kind: type[ConvRule]) -> ConvRule:
    rule = kind(channels=8, hidden=(16,), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in rule.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    return rule


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(offload, "SMALL", 256)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("memory", ["keep", "recompute", 2])
@pytest.mark.parametrize(("kind", "executor"), [(ConvRule, "dense"), (ConvRule, "event"), (Plain, "dense")])
def test_gradients_are_the_same_and_little_stays(kind, executor, memory):
    """Law 8. On a CPU what would move is counted and stays; `copy` makes it really go and come back."""
    plain = trained(kind, None, executor=executor, memory=memory)
    rule = fresh(kind)
    counted = Kept(rule)
    trained(kind, counted, rule, executor=executor, memory=memory)
    rule = fresh(kind)
    moved = Kept(rule, host=True, copy=True)
    found = trained(kind, moved, rule, executor=executor, memory=memory)
    assert all(torch.equal(a, b) for a, b in zip(plain, found, strict=True))
    assert counted.moved == 0 < counted.kept
    assert moved.kept <= 0.3 * counted.kept and moved.moved > 0


def test_a_copy_takes_the_place_of_what_was_kept(monkeypatch):
    """The originals are gone once they wait elsewhere: nothing else holds them."""
    monkeypatch.setattr(offload, "SMALL", 0)
    rule = fresh(ConvRule)
    kept = Kept(rule, host=True, copy=True)
    x = torch.ones(1000, requires_grad=True)
    with kept.keeping():
        y = (x * 2).exp()
        z = y.sin()
    # Behind autograd's back: whoever still looks at the original finds zeros, and another gradient.
    y.data.zero_()
    z.sum().backward()
    expected = 2 * torch.exp(torch.tensor(2.0)) * torch.cos(torch.exp(torch.tensor(2.0)))
    torch.testing.assert_close(x.grad, expected.expand(1000))
    assert kept.moved >= 4000


def test_small_tensors_and_weights_stay():
    rule = fresh(ConvRule)
    kept = Kept(rule, host=True, copy=True)
    x = torch.ones(10, requires_grad=True)
    with kept.keeping():
        (x.exp() @ torch.ones(10)).backward()
        (rule.network[0].weight.exp()).sum().backward()
    assert kept.moved == 0


def test_rollout_takes_the_option_and_knows_no_other():
    rule = fresh(ConvRule)
    state = torch.rand(1, 8, 5, 5, 5)
    one, other = (nca3d.rollout(rule, state, 3, offload=name) for name in ("none", "host"))
    assert torch.equal(one, other)
    with pytest.raises(ArgumentError, match="offload: found 'disk', allowed 'none' or 'host'"):
        nca3d.rollout(rule, state, 3, offload="disk")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_on_a_device_it_waits_in_pinned_memory(memory):
    grads = {}
    for name in ("none", "host"):
        rule = fresh(ConvRule).cuda()
        state = torch.rand(4, 8, 32, 32, 32, generator=torch.Generator().manual_seed(1)).cuda()
        torch.cuda.reset_peak_memory_stats()
        nca3d.rollout(rule, state, 8, executor="dense", memory=memory, offload=name).square().sum().backward()
        grads[name] = [p.grad for p in rule.parameters()], torch.cuda.max_memory_allocated()
    assert all(torch.equal(a, b) for a, b in zip(grads["none"][0], grads["host"][0], strict=True))
    assert grads["host"][1] < grads["none"][1]
