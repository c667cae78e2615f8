"""The textbook step computes what the rule computes: otherwise comparing with it would mean nothing."""

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import body

from nca3d.bench.textbook import Textbook
from nca3d.fire import fire_mask
from nca3d.rules import ConvRule

RULES = {
    "default": lambda: ConvRule(),
    "small": lambda: ConvRule(channels=8, hidden=(24,), fire_rate=0.8, alive_threshold=0.2),
    "deep": lambda: ConvRule(channels=8, hidden=(24, 16)),
    "classes": lambda: ConvRule(channels=9, hidden=(24,), visible=5, visible_kind="classes"),
}


def lively(name: str) -> ConvRule:
    torch.manual_seed(0)
    rule = RULES[name]()
    torch.nn.init.normal_(rule.network[-1].weight, std=0.1)
    return rule


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
@settings(max_examples=examples(5))
@given(random_seed=st.integers(0, 1000))
def test_same_masks_same_states_and_gradients(name, random_seed):
    rule = lively(name)
    textbook = Textbook(rule)
    state = start = body(rule, size=(6, 5, 7), random_seed=random_seed)
    for step in range(4):
        fire = fire_mask(random_seed, step, range(len(state)), (6, 5, 7), rule.fire_rate)
        state, start = textbook(state, fire), rule(start, fire)
    torch.testing.assert_close(state, start, rtol=0, atol=1e-5)

    into, wanted = (
        torch.autograd.grad(last.square().sum(), [p for p in module.parameters() if p.requires_grad])
        for last, module in ((state, textbook), (start, rule))
    )
    for found, expected in zip(into[1:], wanted[1:], strict=True):  # the first layer's inputs have another order
        torch.testing.assert_close(found.flatten(), expected.flatten(), rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_it_draws_fresh_masks_at_the_rules_rate():
    rule = lively("small")
    textbook = Textbook(rule)
    state = torch.rand(2, 8, 12, 12, 12)
    shares = [float(((textbook(state) != state).any(1)).float().mean()) for _ in range(2)]
    assert shares[0] != shares[1]
    assert all(abs(share - 0.8) < 0.05 for share in shares)
    assert textbook.rollout(state, 3).shape == state.shape


def test_as_many_parameters_are_trained():
    rule = ConvRule()
    assert sum(p.numel() for p in Textbook(rule).parameters() if p.requires_grad) == sum(p.numel() for p in rule.parameters())


@pytest.mark.parametrize(
    "other", [{"perception": "isotropic"}, {"padding": "circular"}, {"step_size": 0.5}], ids=lambda other: next(iter(other))
)
def test_rules_that_textbooks_have_no_word_for_are_refused(other):
    with pytest.raises(ValueError, match=r"rule: found .*, allowed perception 'gradient'"):
        Textbook(ConvRule(channels=8, hidden=(8,), **other))
