"""Every shipped rule loads, says what it is, and does what its card says."""

from __future__ import annotations

from importlib import resources

import pytest
import torch

import nca3d
from nca3d.errors import InputError
from nca3d.fire import evaluation_seed


@pytest.mark.parametrize("name", nca3d.zoo())
def test_a_zoo_rule_grows_its_body(name):
    rule = nca3d.load(f"zoo:{name}")
    card = rule.card
    target = nca3d.targets.load(card["target"], size=card["size"], **card["target_options"])
    with torch.no_grad():
        seeds = nca3d.seed_state(rule, card["size"], batch=2)
        grown = nca3d.rollout(rule, seeds, card["horizon"], random_seed=evaluation_seed(99, 0))
    assert nca3d.iou(grown, target).min() > card["figures"]["grow_iou"] - 0.05
    assert card["regime"] in ("growing", "persistent", "regenerating")


@pytest.mark.parametrize("name", nca3d.zoo())
def test_a_zoo_rule_is_small(name):
    assert len((resources.files("nca3d") / "zoo" / f"{name}.safetensors").read_bytes()) < 200_000


def test_an_unknown_zoo_rule_is_told_with_the_nearest():
    assert "axolotl" in nca3d.zoo()
    with pytest.raises(InputError, match="did you mean 'axolotl'"):
        nca3d.load("zoo:axolot")
