"""The yardstick, on rules whose answer is known."""

from __future__ import annotations

import json

import pytest
import torch

import nca3d
from nca3d.errors import InputError
from nca3d.rules import ConvRule, Rule

SIZE = (7, 7, 7)


class Instant(Rule):
    """A rule that knows: hidden channel 4 holds, in the seed, nothing; alpha grows by 1 a step into every seen neighbour."""

    def kernels(self):
        return [None, torch.ones(1, 3, 3, 3)]

    def update(self, perception):
        own, around = perception[..., : self.channels], perception[..., self.channels :]
        change = torch.zeros_like(own)
        change[..., self.alpha] = (around[..., self.alpha] > 0.5).float() * self.rate - own[..., self.alpha] * self.rate
        return change

    def spec(self):
        return {}

    rate = 1.0


def filled() -> nca3d.Target:
    """The whole lattice as a body: what `Instant` grows into."""
    values = torch.cat([torch.zeros(3, *SIZE), torch.ones(1, *SIZE)])
    return nca3d.Target(values, torch.ones(SIZE, dtype=torch.bool), "rgb")


def test_a_rule_that_grows_and_heals_scores_one():
    report = nca3d.evaluate(Instant(6, fire_rate=1.0), filled(), horizon=4)
    assert report["grow_iou"] == report["hold_iou_1000"] == 1.0
    assert report["heal_iou"] == {"half_space": 1.0, "sphere": 1.0, "random_cells": 1.0}
    assert report["hurt_iou"]["half_space"] == pytest.approx(0.5, abs=0.01)
    assert report["hurt_iou"]["sphere"] == pytest.approx(0.8, abs=0.01)
    assert report["steps_held"] == 1000
    assert report["heal_iou.sphere"] == 1.0
    with pytest.raises(KeyError, match=r"heal_iou\.sfere"):
        report["heal_iou.sfere"]


def test_a_fresh_rule_grows_nothing_and_the_tool_says_no():
    target = nca3d.targets.load("sphere", SIZE)
    report = nca3d.evaluate(ConvRule(), target, horizon=4)
    assert report["grow_iou"] == pytest.approx(1 / int(target.occupied.sum()))
    assert max(report["heal_iou"].values()) < 0.1


class Fading(Instant):
    """Grows, and loses everything after 250 steps: its hidden clock counts them."""

    def update(self, perception):
        change = super().update(perception)
        change[..., self.alpha + 1] = 1.0
        change[..., self.alpha] -= 100.0 * (perception[..., self.alpha + 1] > 250)
        return change


def test_steps_held_finds_the_step_of_extinction():
    report = nca3d.evaluate(Fading(6, fire_rate=1.0), filled(), horizon=4)
    assert report["grow_iou"] == 1.0
    assert report["hold_iou_1000"] == 0.0
    assert report["steps_held"] == 200


def test_reports_can_be_read_back(tmp_path):
    report = nca3d.evaluate(Instant(6, fire_rate=1.0), filled(), horizon=4)
    assert json.loads(report.to_json(tmp_path / "r.json")) == json.loads((tmp_path / "r.json").read_text())
    assert "| heal_iou.sphere | 1.000 | 1.000 – 1.000 |" in report.to_markdown()
    assert "<td>grow_iou</td><td>1.000</td>" in report.to_html()


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'quick'"):
        nca3d.evaluate(ConvRule(), filled(), preset="quik")
