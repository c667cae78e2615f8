"""Every shipped rule loads, says what it is, and does what its card says."""

from importlib import resources

import pytest
import torch

import nca3d
from nca3d.errors import InputError
from nca3d.fire import evaluation_seed


def test_the_zoo_is_every_file_of_its_folder():
    files = [file.name for file in (resources.files("nca3d") / "zoo").iterdir()]
    assert set(nca3d.zoo()) == {name.removesuffix(".safetensors") for name in files if name.endswith(".safetensors")}
    assert {"axolotl", "axolotl-growing", "cross", "frog"} <= set(nca3d.zoo())


@pytest.mark.slow
@pytest.mark.parametrize("name", nca3d.zoo())
def test_a_zoo_rule_grows_its_body(name):
    whole = nca3d.load(f"zoo:{name}")
    for rule in [whole.bound(body) for body in whole.conditions] or [whole]:
        card = rule.card
        target = nca3d.targets.load(card["target"], size=card["size"], **card["target_options"])
        with torch.no_grad():
            seeds = nca3d.seed_state(rule, card["size"], batch=2)
            grown = nca3d.rollout(rule, seeds, card["horizon"], random_seed=evaluation_seed(99, 0))
        assert nca3d.iou(grown, target).min() > card["figures"]["grow_iou"] - 0.05
        assert torch.equal(rule.target().values, target.values)
        assert card["regime"] in ("growing", "persistent", "regenerating")


@pytest.mark.parametrize("name", nca3d.zoo())
def test_a_zoo_rule_is_small(name):
    """200 KB; bodies of more than 5,000 cells, and many large ones, may have a megabyte."""
    rule = nca3d.load(f"zoo:{name}")
    large = sum(rule.target(body).cells for body in rule.conditions) if rule.conditions else rule.target().cells
    large = large > 5000
    assert len((resources.files("nca3d") / "zoo" / f"{name}.safetensors").read_bytes()) < (1_000_000 if large else 200_000)


@pytest.mark.parametrize("name", nca3d.zoo())
def test_a_card_says_how_the_rule_came_about(name):
    card = nca3d.load(f"zoo:{name}").card
    if not card["training"]["config"]:
        # What it started from is no longer shipped; the card has every field, and a note says how it was.
        assert "config of this name" in card["training"]["note"] and card["config"]["iterations"]
        return
    config = nca3d.Config.load(card["training"]["config"])
    config = config.kind.sized(config)[0]
    targets = tuple(one["target"] for one in card["targets"]) if "targets" in card else card["target"]
    assert (config.target, list(config.size), config.regime) == (targets, list(card["size"]), card["regime"])
    assert config.horizon == card["horizon"]
    assert len(card["training"]["commit"]) == 40 and card["training"]["seconds"] > 0
    # At most: a run ends when its body has been whole for a while.
    asked = card["config"]["iterations"]
    ended = card["training"]["iterations"]
    assert asked == config.iterations and (ended == asked or (card["config"].get("stop_when_whole") and ended < asked))
    assert not [value for value in card["config"].values() if isinstance(value, str) and value.startswith("/")]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cross", "axolotl-growing"])
def test_evaluate_reproduces_the_card(name):
    """Within what another processor's rounding may do to a body."""
    rule = nca3d.load(f"zoo:{name}")
    target = nca3d.targets.load(rule.card["target"], size=rule.card["size"], **rule.card["target_options"])
    report = nca3d.evaluate(rule, target)
    figures = rule.card["figures"]
    assert report["grow_iou"] == pytest.approx(figures["grow_iou"], abs=0.02)
    assert report["hold_iou_1000"] == pytest.approx(figures["hold_iou_1000"], abs=0.1)
    if rule.card["regime"] == "growing":
        assert report["steps_held"] < 300, "the tool must be able to say no"
        assert report["recovered.half_space"] < 0.5
    else:
        assert report["steps_held"] == 1000
        assert min(report["recovered"].values()) >= 0.875


@pytest.mark.slow
def test_a_rule_of_the_zoo_can_be_trained_again(tmp_path):
    """The committed config of the smallest one, half as long: trained quality, from nothing."""
    config = nca3d.Config.load("cross").replace(iterations=1500, out=str(tmp_path / "run"), report=False)
    rule = nca3d.train(config, progress=False).rule
    target = nca3d.targets.load(config.target, size=config.size)
    with torch.no_grad():
        grown = nca3d.rollout(rule, nca3d.seed_state(rule, config.size, 4), config.horizon, random_seed=evaluation_seed(5, 0))
        later = nca3d.rollout(rule, grown, 500, random_seed=evaluation_seed(5, 1))
    assert nca3d.iou(grown, target).mean() > 0.95
    assert nca3d.iou(later, target).mean() > 0.93


def test_an_unknown_zoo_rule_is_told_with_the_nearest():
    assert "axolotl" in nca3d.zoo()
    with pytest.raises(InputError, match="did you mean 'axolotl'"):
        nca3d.load("zoo:axolot")
