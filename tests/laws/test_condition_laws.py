"""Law 16: a condition is an argument. Over both ways to bring it to the cells, with colours and with kinds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import executors

import nca3d
from nca3d.rules import CodedRule, ConditionalRule
from nca3d.training.build import rule_record

SIZE = (6, 7, 8)
NAMES = ("first", "second", "third")
KINDS = {
    "colours": {"channels": 10},
    "kinds": {"channels": 18, "visible": 6, "visible_kind": "classes", "code": 3},
    "learned kernels": {"channels": 10, "perception": "learned"},
}


def lively(kind: str = "colours", condition: str = "input", **options) -> ConditionalRule:
    """A rule of three bodies that grows, each in another way."""
    generator = torch.Generator().manual_seed(0)
    rule = ConditionalRule(NAMES, condition, hidden=(24,), generator=generator, **KINDS[kind], **options)
    last = rule.network[-1].weight
    with torch.no_grad():
        last.copy_(0.15 * torch.randn(last.shape, generator=generator))
        last[rule.core.alpha].abs_()
        if rule.told:
            rule.shift.weight.mul_(5)
    return rule


def grown(rule: ConditionalRule, condition, steps: int = 6, batch: int = 3, **options) -> torch.Tensor:
    """What first cells become under a condition, on one executor."""
    told = {"condition": condition} if rule.told else {}
    return nca3d.rollout(rule, nca3d.seed_state(rule, SIZE, batch, condition=condition), steps, **told, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("condition", ["input", "seed"])
def test_bodies_differ_by_their_condition_alone(kind, condition):
    rule = lively(kind, condition)
    alike, other = grown(rule, "first", batch=1), grown(rule, "second", batch=1)
    assert not torch.equal(alike, other)
    torch.testing.assert_close(grown(rule, 0, batch=1), alike, rtol=0, atol=0)


@executors
@pytest.mark.parametrize("kind", KINDS)
def test_executors_agree_with_the_bound_rule_as_it_is_written(kind, executor):
    """States and gradients of a batch under three conditions: those of `Rule.forward` of each bound rule, sample by sample."""
    rule = lively(kind)
    state = nca3d.seed_state(rule, SIZE, 3, condition=list(NAMES))
    masks = torch.stack([nca3d.fire_mask(5, step, range(3), SIZE, rule.fire_rate) for step in range(5)])
    found = nca3d.rollout(rule, state, 5, random_seed=5, condition=torch.tensor([0, 1, 2]), executor=executor)
    found.square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in rule.named_parameters()}
    rule.zero_grad()
    whole = []
    for sample, name in enumerate(NAMES):
        one, bound = state[sample : sample + 1], rule.tied(name)
        for mask in masks:
            one = bound(one, mask[sample : sample + 1])
        whole.append(one)
    wanted = torch.cat(whole)
    wanted.square().sum().backward()
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * float(wanted.detach().abs().max()))
    for name, parameter in rule.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=0, atol=1e-5 * float(parameter.grad.abs().max()))
    assert gradients["shift.weight"].abs().sum() > 0


@settings(max_examples=25, deadline=None)
@given(labels=st.lists(st.integers(0, 2), min_size=1, max_size=5), other=st.integers(0, 2), compact=st.booleans())
def test_the_condition_of_one_sample_touches_no_other(labels, other, compact):
    rule = lively()
    state = nca3d.seed_state(rule, SIZE, len(labels))
    form = nca3d.compact if compact else (lambda state: state)

    def run(labels):
        end = nca3d.rollout(rule, form(state), 4, condition=torch.tensor(labels))
        return (nca3d.dense(end) if compact else end).detach()

    before, after = run(labels), run([other, *labels[1:]])
    assert torch.equal(before[1:], after[1:])
    assert torch.equal(before[:1], after[:1]) == (labels[0] == other)


def test_a_condition_may_change_in_mid_life_and_a_cut_rollout_is_the_same_life():
    rule = lively()
    start = nca3d.seed_state(rule, SIZE, 2, condition=["first", "second"])
    whole = nca3d.rollout(rule, start, 6, condition=["first"] * 4 + ["third"] * 2, record_every=3)
    half = nca3d.rollout(rule, start, 4, condition="first")
    torch.testing.assert_close(nca3d.rollout(rule, half, 2, first_step=4, condition=2), whole.states[-1], rtol=0, atol=0)
    assert whole.steps.tolist() == [0, 3, 6]
    codes = rule.codes.detach()
    told = torch.stack([codes[[0, 0]]] * 4 + [codes[[2, 2]]] * 2)
    torch.testing.assert_close(nca3d.rollout(rule, start, 6, condition=told), whole.states[-1], rtol=0, atol=0)


def test_a_code_may_lie_between_two_bodies_and_gets_a_gradient():
    rule = lively()
    middle = ((rule.codes[0] + rule.codes[1]) / 2).requires_grad_()
    end = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 6, condition=middle)
    end.sum().backward()
    assert middle.grad is not None and middle.grad.abs().sum() > 0
    assert not torch.equal(end.detach(), grown(rule, "first", batch=1))


def test_learned_codes_are_weights_of_the_rule():
    rule = lively(codes="learned", code_size=4)
    grown(rule, ["first", "second", "first"]).square().sum().backward()
    assert rule.codes.grad[:2].abs().sum(1).min() > 0 and rule.codes.grad[2].abs().sum() == 0


def test_a_code_of_ones_own_calls_the_body_that_it_is_most_like():
    rule = lively(codes="given", code_size=4)
    with torch.no_grad():
        rule.codes.copy_(torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]))
    assert rule.nearest(torch.tensor([0.1, 0.9, 0.3, 0.2])) == "second"
    assert rule.nearest(100 * rule.codes[2]) == "third"
    with pytest.raises(ValueError, match="a finite code of 4 floats"):
        rule.nearest(torch.zeros(3))


@pytest.mark.parametrize("kind", ["colours", "kinds"])
def test_a_fresh_rule_does_nothing_under_any_condition(kind):
    """Law 1: it is the last layer that is zero, whatever the first one is told."""
    rule = ConditionalRule(NAMES, hidden=(24,), **KINDS[kind])
    start = nca3d.seed_state(rule, SIZE, 3)
    assert torch.equal(nca3d.rollout(rule, start, 8, condition=[*NAMES]), start)


@pytest.mark.parametrize("condition", ["input", "seed"])
def test_a_rule_is_built_anew_from_its_spec(condition):
    rule = lively("kinds", condition)
    again = nca3d.RULES[rule_record(rule, "")["name"]](**rule.spec())
    again.load_state_dict(rule.state_dict())
    torch.testing.assert_close(grown(again, "third"), grown(rule, "third"), rtol=0, atol=0)
    assert isinstance(rule.bound("third"), CodedRule)


def test_the_bound_rule_costs_what_a_rule_of_one_body_costs():
    rule = lively()
    bound, plain = rule.bound("first"), nca3d.ConvRule(10, (24,))
    assert bound.multiply_adds() == plain.multiply_adds() and type(bound) is nca3d.ConvRule


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("frist", r"condition: found 'frist', allowed first, second, third.*did you mean"),
        (3, r"condition: found 3, allowed first, second, third, or 0\.\.2"),
        (True, r"condition: found True"),
        (None, r"condition: found None, allowed the body to grow: first, second, third"),
        (["first"], r"a list of 1, allowed one for each of the 4 steps, or of the 2 samples"),
        (torch.tensor([0, 1, 2]), r"int64 \(3,\), allowed int \(2,\), or codes \(2, 3\) or \(steps, 2, 3\)"),
        (torch.tensor([True, False]), r"bool \(2,\), allowed int \(2,\)"),
        (torch.zeros(5), r"float32 \(5,\), allowed a name, or a finite code of 3 floats"),
        (torch.full((3,), torch.nan), r"finite code"),
    ],
)
def test_a_condition_that_is_no_body_is_refused_in_one_line(condition, line):
    rule = lively()
    with pytest.raises(ValueError, match=line):
        nca3d.rollout(rule, nca3d.seed_state(rule, SIZE, 2), 4, condition=condition)


def test_rules_that_are_told_nothing_take_no_condition():
    carried, plain = lively(condition="seed"), nca3d.ConvRule(10, (24,))
    start = nca3d.seed_state(carried, SIZE, condition="first")
    with pytest.raises(ValueError, match="its first cell carries the condition"):
        nca3d.rollout(carried, start, 2, condition="first")
    with pytest.raises(ValueError, match="None for this ConvRule: it grows one body"):
        nca3d.rollout(plain, nca3d.seed_state(plain, SIZE), 2, condition="first")
    with pytest.raises(ValueError, match="the body to grow: first, second, third"):
        nca3d.seed_state(carried, SIZE)
    with pytest.raises(ValueError, match="ConvRule grows one body"):
        nca3d.seed_state(plain, SIZE, condition="first")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"conditions": ("a", "a")}, "conditions"),
        ({"conditions": ()}, "conditions"),
        ({"condition": "both"}, "condition: found 'both'"),
        ({"condition": "seed", "codes": "learned"}, "codes: found 'learned'"),
        ({"condition": "seed", "code_size": 90, "codes": "given"}, "at most the 12 hidden channels"),
        ({"code_size": 5}, "code_size"),
    ],
)
def test_a_rule_that_can_not_be_is_refused_by_its_argument(options, line):
    with pytest.raises(ValueError, match=line):
        ConditionalRule(**options)
