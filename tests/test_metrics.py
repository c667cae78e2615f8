"""`iou` and `to_rgba` on states with a known answer."""

import numpy as np
import pytest
import torch
from two_by_two import cube, state_of

import nca3d
from nca3d.rules import ConvRule
from nca3d.targets.target import Target


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


def test_a_metric_has_no_gradient():
    """Law 12."""
    target = cube("rgb")
    assert not nca3d.iou(state_of(target).requires_grad_(), target).requires_grad
