"""A rule that reads classes from a code: what a state holds, what it costs, and that a plain rule can do the same."""

import pytest
import torch

from nca3d import rollout, seed_state
from nca3d.errors import ArgumentError
from nca3d.rules import CodedRule, ConvRule
from nca3d.sparse import compact, dense

SIZE = (9, 8, 10)


def grown(perception: str = "gradient", **options: object) -> CodedRule:
    generator = torch.Generator().manual_seed(1)
    rule = CodedRule(20, (32, 16), perception, visible=7, code=4, generator=generator, **options)
    last = rule.cell.network[-1].weight
    with torch.no_grad():
        last.copy_(0.1 * torch.randn(last.shape, generator=generator))
        last[rule.cell.alpha].abs_()
    return rule


def test_every_state_shows_what_its_code_says() -> None:
    rule = grown()
    states = rollout(rule, seed_state(rule, SIZE, 2), 10, record_every=3).states
    for state in states:
        logits = torch.einsum("kn,bndhw->bkdhw", rule.readout.weight, state[:, 8:12])
        torch.testing.assert_close(state[:, :7], logits)
    assert len(states[-1][:, :7].argmax(1).unique()) > 1, "several classes are shown"


def test_a_seed_shows_nothing_and_a_fresh_rule_leaves_it_so() -> None:
    rule = CodedRule()
    seed = seed_state(rule, SIZE)
    start = (seed[0, :, 4, 4, 5] != 0).tolist()
    assert start == [False] * 16 + [True] + [False] * 8 + [True] * 15
    assert torch.equal(rollout(rule, seed, 5), seed)


@pytest.mark.parametrize("perception", ["gradient", "gradient+laplacian", "learned"])
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_a_plain_rule_can_be_written_out(perception: str, padding: str) -> None:
    rule = grown(perception, padding=padding)
    plain = rule.written_out()
    assert type(plain) is ConvRule and plain.channels == rule.channels
    seed = seed_state(rule, SIZE, 2)
    wanted = rollout(rule, seed, 8)
    torch.testing.assert_close(rollout(plain, seed, 8), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()))


def test_a_change_of_the_rule_is_one_of_its_core() -> None:
    rule = grown()
    rule.fire_rate, rule.alive_threshold = 1.0, 0.3
    seed = seed_state(rule, SIZE)
    wanted = seed
    for _ in range(3):
        wanted = rule(wanted, torch.ones(1, 1, *SIZE, dtype=torch.bool))
    torch.testing.assert_close(rollout(rule, seed, 3), wanted)


def test_gradients_reach_read_out_and_network() -> None:
    rule = grown()
    rollout(rule, seed_state(rule, SIZE), 6)[:, 1].square().sum().backward()
    assert all(float(parameter.grad.norm()) > 0 for parameter in rule.parameters())
    # In compact form, too, and by the same numbers.
    dense_grad = rule.readout.weight.grad.clone()
    rule.zero_grad()
    dense(rollout(rule, compact(seed_state(rule, SIZE)), 6))[:, 1].square().sum().backward()
    torch.testing.assert_close(rule.readout.weight.grad, dense_grad)


def test_it_costs_what_its_core_costs() -> None:
    many = CodedRule(61, (256,), visible=37, code=8)
    assert many.multiply_adds() == ConvRule(24, (256,)).multiply_adds() == 24 * 4 * 256 + 256 * 24


@pytest.mark.parametrize(
    ("options", "field"),
    [({"visible_kind": "rgb", "visible": 3}, "visible_kind"), ({"code": 24}, "code"), ({"code": 0}, "code")],
)
def test_what_it_refuses(options: dict, field: str) -> None:
    with pytest.raises(ArgumentError, match=field):
        CodedRule(**options)
