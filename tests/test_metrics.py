"""`iou` and `to_rgba` on states with a known answer; law 12."""

import numpy as np
import pytest
import torch

import nca3d
from nca3d.losses import LOSSES, terms_of
from nca3d.rules import ConvRule
from nca3d.targets.target import Target


def cube(kind: str) -> Target:
    """A 2×2×2 body in a 4×4×4 lattice."""
    occupied = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupied[1:3, 1:3, 1:3] = True
    if kind == "rgb":
        values = torch.stack([0.5 * occupied, 0.25 * occupied, 0.0 * occupied, 1.0 * occupied])
        return Target(values, occupied, "rgb")
    one_hot = torch.stack([~occupied, occupied & False, occupied, occupied]).float()
    return Target(one_hot, occupied, "classes", ("empty", "bone", "skin"), np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0]]))


def state_of(target: Target, hidden: int = 4) -> torch.Tensor:
    return torch.cat([target.values, torch.zeros(hidden, *target.size)])[None]


@pytest.mark.parametrize("kind", ["rgb", "classes"])
def test_iou_of_the_target_itself_is_one_and_of_nothing_zero(kind):
    target = cube(kind)
    state = state_of(target)
    assert nca3d.iou(torch.cat([state, 0 * state]), target).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("kind", ["rgb", "classes"])
def test_iou_counts_cells(kind):
    target = cube(kind)
    state = state_of(target)
    state[:, target.visible, 2:] = 0.1  # not above the threshold: half of the body is gone
    assert nca3d.iou(state, target).item() == pytest.approx(0.5)
    state[:, :, 0] = state[:, :, 1]  # and as many cells too many
    assert nca3d.iou(state, target).item() == pytest.approx(4 / 12)


def test_a_cell_of_class_empty_is_not_there():
    target = cube("classes")
    state = state_of(target)
    state[:, 0, 1] = 5.0
    assert nca3d.iou(state, target).item() == pytest.approx(0.5)


def test_iou_of_pictures_equals_that_of_states():
    rule = ConvRule(channels=8)
    target = cube("rgb")
    state = state_of(target)
    state[:, 3, 2, 2] = 0.05
    assert nca3d.iou(nca3d.to_rgba(state, rule), target).item() == nca3d.iou(state, target).item() == pytest.approx(6 / 8)


def test_iou_refuses_another_lattice():
    with pytest.raises(ValueError, match=r"found lattice \(5, 4, 4\), allowed the target's \(4, 4, 4\)"):
        nca3d.iou(torch.zeros(1, 8, 5, 4, 4), cube("rgb"))


def test_to_rgba_gives_straight_alpha_in_range():
    rule = ConvRule(channels=8)
    state = state_of(cube("rgb"))
    state[:, :4] *= 0.5  # premultiplied: half as dense, the same colour
    state[0, :, 1, 1, 1] = float("nan")
    state[0, 3, 1, 1, 2] = 7.0
    picture = nca3d.to_rgba(state, rule)
    assert picture.shape == (1, 4, 4, 4, 4)
    assert picture.dtype == np.float32
    assert picture[0, 2, 2, 2].tolist() == pytest.approx([0.5, 0.25, 0.0, 0.5])
    assert not picture[0, 1, 1, 1].any()
    assert not picture[0, 0].any()
    assert 0 <= picture.min() <= picture.max() <= 1


def test_a_cube_has_no_body():
    target = cube("rgb")
    with pytest.raises(ValueError, match=r"visible_kind: found 'signal', allowed 'rgb', 'classes'"):
        nca3d.iou(torch.zeros(1, 48, 4, 4, 4), Target(target.values, target.occupied, "signal"))


def test_to_rgba_of_classes_uses_the_palette():
    target = cube("classes")
    rule = ConvRule(channels=8, visible=3, visible_kind="classes")
    picture = nca3d.to_rgba(state_of(target), rule, target.palette)
    assert picture[0, 1, 1, 1].tolist() == [1, 0, 0, 1]
    assert nca3d.to_rgba(state_of(target), rule)[0, 1, 1, 1, 3] == 1


@pytest.mark.parametrize("name", sorted({*LOSSES.fitting("rgb"), *LOSSES.fitting("classes")}))
def test_a_loss_has_a_gradient_and_a_metric_has_none(name):
    """Law 12."""
    target = cube("classes" if name == "classes" else "rgb")
    rule = ConvRule(channels=target.visible + 5, visible=target.visible, visible_kind=target.kind)
    moments = 4 * torch.rand(2, 3, rule.channels, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    moments[0, :, rule.alpha] *= target.occupied  # a grown body, whatever it does next
    moments[0, :, 0] = 0.0  # and no cell of class 0
    moments.requires_grad_()
    loss = LOSSES[name](moments, target, rule)
    assert loss.shape == (3,)
    assert (loss > 0).all()
    (gradient,) = torch.autograd.grad(loss.sum(), moments)
    assert gradient.abs().max() > 0
    assert not nca3d.iou(moments[-1], target).requires_grad


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


def test_terms_must_fit_the_kind_of_target():
    assert terms_of({}, "rgb") == {"rgba": 1.0, "occupancy": 0.2, "overflow": 0.1}
    assert terms_of({"rgba": 1.0, "rest": 0.0}, "rgb") == {"rgba": 1.0}
    with pytest.raises(ValueError, match="kind 'rgb'"):
        terms_of({"classes": 1.0}, "rgb")
