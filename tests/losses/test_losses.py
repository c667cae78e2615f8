"""Loss terms on states with a known answer; law 12: each has a gradient, and what has none is no loss."""

import pytest
import torch
from two_by_two import cube, state_of

import nca3d
from nca3d.losses import LOSSES, terms_of
from nca3d.rules import ConvRule


def assert_has_a_gradient(name: str) -> None:
    """Law 12, of a loss that fits bodies: each of three random states, after a grown body, is charged and told the way."""
    target = cube("rgb" if name in LOSSES.fitting("rgb") else "classes")
    rule = ConvRule(channels=target.visible + 5, visible=target.visible, visible_kind=target.kind)
    moments = 4 * torch.rand(2, 3, rule.channels, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    moments[0, :, rule.alpha] *= target.occupied  # a grown body, whatever it does next
    moments[0, :, 0] = 0.0  # and no cell of class 0
    moments[1, :, rule.alpha, 1, 1, 1] = 0.0  # a cell is missing
    moments.requires_grad_()
    loss = LOSSES[name](moments, target, rule)
    assert loss.shape == (3,)
    assert (loss > 0).all()
    assert loss.requires_grad, f"{name} has no gradient: a metric is not a loss"
    (gradient,) = torch.autograd.grad(loss.sum(), moments)
    assert (gradient.abs().amax(dim=(0, 2, 3, 4, 5)) > 0).all(), f"{name} has a gradient of zero: a metric is not a loss"


# What asks the rule itself and not its states: the law is tested where the term is, below.
OF_THE_RULE = {"first_cell"}


# All but those of wings, which fit neither kind of body and are tested with their wing.
@pytest.mark.parametrize("name", sorted({*LOSSES.fitting("rgb"), *LOSSES.fitting("classes")} - OF_THE_RULE))
def test_a_loss_has_a_gradient(name):
    assert_has_a_gradient(name)


def share_of_cells(moments, target, rule):
    """IoU, asked of a state and not detached: the comparison alone takes the gradient away."""
    grown = moments[-1][:, rule.alpha] > 0.1
    return 1.5 - (grown & target.occupied).sum(dim=(1, 2, 3)) / (grown | target.occupied).sum(dim=(1, 2, 3))


def rounded(moments, target, rule):
    """It hangs on the state, but is flat nearly everywhere."""
    return (4 * moments[-1]).round().abs().mean(dim=(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (lambda moments, target, rule: 1.5 - nca3d.iou(moments[-1], target), "no gradient"),
        (share_of_cells, "no gradient"),
        (rounded, "a gradient of zero"),
    ],
)
def test_a_metric_that_is_registered_as_a_loss_would_not_pass(metric, words, registries):
    LOSSES.register("metric", kinds=("rgb", "classes"))(metric)
    with pytest.raises(AssertionError, match=f"metric has {words}"):
        assert_has_a_gradient("metric")


@pytest.mark.parametrize(("name", "kind"), [("rgba", "rgb"), ("classes", "classes")])
def test_the_target_itself_costs_nothing_much(name, kind):
    target = cube(kind)
    rule = ConvRule(channels=target.visible + 5, visible=target.visible, visible_kind=target.kind)
    perfect = state_of(target)
    perfect[:, : target.visible] *= 50.0 if kind == "classes" else 1.0  # logits: as sure as can be
    assert LOSSES[name](perfect[None], target, rule).item() == pytest.approx(0.0, abs=1e-5)
    assert LOSSES[name](0 * perfect[None], target, rule).item() > 0.1


def test_overflow_charges_hidden_values_only():
    target, rule = cube("rgb"), ConvRule(channels=8)
    state = 3.0 * torch.ones(1, 1, 8, 4, 4, 4)
    assert LOSSES["overflow"](state, target, rule).item() == 0.0
    state[0, 0, 0] = 100.0
    assert LOSSES["overflow"](state, target, rule).item() == 0.0
    state[0, 0, 5] = -4.0
    assert LOSSES["overflow"](state, target, rule).item() == pytest.approx(64 / (8 * 4))


def test_occupancy_charges_the_wrong_side_of_the_threshold():
    target, rule = cube("rgb"), ConvRule(channels=8)
    state = state_of(target)[None]
    assert LOSSES["occupancy"](state, target, rule).item() == 0.0
    state[0, 0, 3, 0, 0, 0] = 0.15
    state[0, 0, 3, 1, 1, 1] = 0.1
    assert LOSSES["occupancy"](state, target, rule).item() == pytest.approx((0.1 + 0.2) / 8)


def test_rest_is_the_change_between_moments():
    target, rule = cube("rgb"), ConvRule(channels=8)
    still = torch.rand(1, 1, 8, 4, 4, 4)
    assert LOSSES["rest"](torch.cat([still, still]), target, rule).item() == 0.0
    assert LOSSES["rest"](torch.cat([still, still + 1]), target, rule).item() == pytest.approx(64 / 8)


def test_still_charges_what_grown_bodies_do_unseen():
    target, rule = cube("rgb"), ConvRule(channels=8)
    grown = state_of(target)[None]
    moved = grown.clone()
    moved[0, 0, 7, 1, 1, 1] += 2.0  # a hidden channel of one cell
    assert LOSSES["still"](torch.cat([grown, grown]), target, rule).item() == 0.0
    assert LOSSES["still"](torch.cat([grown, moved]), target, rule).item() == pytest.approx(4 / (8 * 8))
    assert LOSSES["still"](torch.cat([0 * grown, moved]), target, rule).item() == 0.0  # it grows: it has to move


def first_cells(kind: str) -> tuple[nca3d.Rule, nca3d.ConvRule]:
    """A rule whose first update takes 0.95 from alpha, and the part of it that has the network."""
    drawn = {"hidden": (8,), "generator": torch.Generator().manual_seed(3)}
    classes = {"visible": 3, "visible_kind": "classes"}
    rules = {
        "conv": lambda: ConvRule(channels=8, perception="gradient+laplacian/4", **drawn),
        "coded": lambda: nca3d.CodedRule(channels=10, code=4, **classes, **drawn),
        "input": lambda: nca3d.ConditionalRule(("a", "b"), condition="input", channels=8, visible=3, **drawn),
        "seed": lambda: nca3d.ConditionalRule(("a", "b"), condition="seed", channels=8, visible=3, **drawn),
    }
    rule = rules[kind]()
    core = rule.core or rule
    with torch.no_grad():
        core.network[-1].weight[core.alpha] = 1.0
        one = rule.tied("a") if kind in ("input", "seed") else rule
        state = nca3d.seed_state(one, (5, 5, 5))
        seen = (one.core or one).perceive(one.to_core(state))[0, :, 2, 2, 2]
        core.network[-1].weight[core.alpha] *= -0.95 / float((one.core or one).update(seen)[core.alpha])
    return rule, core


@pytest.mark.parametrize("kind", ["conv", "coded", "input", "seed"])
def test_a_first_cell_that_would_die_is_charged_and_its_rule_told_the_way(kind):
    """Law 12, of a term that asks the rule; and what it asks is what a step does when the first cell alone fires."""
    rule, core = first_cells(kind)
    one = rule.tied("a") if kind in ("input", "seed") else rule
    seed = nca3d.seed_state(one, (5, 5, 5))
    alone = torch.zeros(1, 1, 5, 5, 5, dtype=torch.bool)
    alone[..., 2, 2, 2] = True
    assert not rule.alive_mask(one(seed, alone)).any()
    target, moments = cube("rgb" if rule.visible_kind == "rgb" else "classes"), torch.zeros(1, 3, rule.channels, 4, 4, 4)
    term = LOSSES["first_cell"]
    assert term(moments, target, rule).shape == (3,) and float(term(moments, target, rule)[0].detach()) > 0.1
    optimizer = torch.optim.SGD(core.network.parameters(), lr=0.02)
    for _ in range(200):
        optimizer.zero_grad()
        loss = term(moments, target, rule).mean()
        if not loss:
            break
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) == 0.0
    for name in rule.conditions or (None,):
        one = rule.tied(name) if name else rule
        after = one(nca3d.seed_state(one, (5, 5, 5)), alone)
        assert float(after[0, rule.alpha, 2, 2, 2].detach()) >= 0.3 - 1e-6


@pytest.mark.parametrize("kind", ["rgb", "classes"])
def test_the_front_is_what_is_missing_beside_living_cells(kind):
    """A whole body is charged nothing, one that lacks cells their mean, a dead one nothing."""
    target = cube(kind)
    rule = ConvRule(channels=target.visible + 5, visible=target.visible, visible_kind=kind)
    whole = state_of(target, hidden=4)[None]
    term = LOSSES["front"]
    assert term(whole, target, rule).tolist() == [0.0]
    some = whole.clone()
    some[..., rule.alpha, 2, 2, 2] = 0.0
    some[..., : rule.visible, 2, 2, 2] = 0.0
    one = float(term(some, target, rule))
    assert one > 1.0  # alpha is at 0, and its class isn't known
    more = some.clone()
    more[..., : rule.alpha + 1, 2, 2, 1] = 0.0
    assert float(term(more, target, rule)) == pytest.approx(one, rel=0.5)  # a mean, not a sum
    assert term(0 * whole, target, rule).tolist() == [0.0]  # nothing lives, so nothing can be reached


def test_where_nothing_dies_no_first_cell_is_charged():
    rule, _ = first_cells("conv")
    rule.alive_threshold = None
    assert LOSSES["first_cell"](torch.zeros(1, 2, 8, 4, 4, 4), cube("rgb"), rule).tolist() == [0.0, 0.0]


def test_terms_must_fit_the_kind_of_target():
    assert terms_of({}, "rgb") == {"rgba": 1.0, "occupancy": 0.2, "overflow": 0.1}
    assert terms_of({"rgba": 1.0, "rest": 0.0}, "rgb") == {"rgba": 1.0}
    with pytest.raises(ValueError, match="kind 'rgb'"):
        terms_of({"classes": 1.0}, "rgb")


def test_cells_outside_count_no_more_than_those_within():
    """Of a ragged body's first cells nearly all lie outside: if each counted, all would learn to be empty."""
    target = nca3d.targets.from_array(torch.tensor([[[0, 1, 1, 0, 0, 0, 0, 0, 0, 0]]], dtype=torch.uint8), (1, 1, 10), margin=0)
    rule = nca3d.ConvRule(channels=8, hidden=(8,), visible=2, visible_kind="classes")

    def loss(outside: int, certainty: float) -> float:
        state = torch.zeros(1, 8, 1, 1, 10)
        state[:, rule.alpha, ..., 1] = 1.0
        state[:, rule.alpha, ..., 3 : 3 + outside] = 1.0
        state[:, 1, ..., 3:] = certainty
        return float(LOSSES["classes_even"](state[None], target, rule))

    # One cell lives within: one, two or seven outside it that are wrong count as one, but for the bounded other parts.
    charges = [loss(outside, 1000.0) for outside in (1, 2, 7)]
    assert min(charges) > 400 and max(charges) - min(charges) < 5
