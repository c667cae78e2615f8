"""The zoo: its names, cards and figures, and what each rule makes of its first cell."""

import pytest
import torch
from contract_tools import RENEWED, frozen, main

import nca3d

ZOO = frozen("zoo")


def test_the_names():
    assert set(ZOO) <= set(nca3d.zoo())
    with pytest.raises(nca3d.InputError, match=r"axolotl, axolotl-growing, .*cross, .*did you mean 'frog'"):
        nca3d.load("zoo:frogg")


@pytest.mark.parametrize("name", ZOO)
def test_a_card_says_what_it_said(name):
    card = nca3d.load(f"zoo:{name}").card
    assert set(ZOO[name]["keys"]) <= card.keys()
    for key, value in ZOO[name]["card"].items():
        found = card[key]
        if name in RENEWED and key not in ("size", "regime", "target", "target_options"):
            assert type(found) is type(value), key
        else:
            assert (list(found) if key == "size" else found) == value, key
    if name in RENEWED:
        assert card["figures"]["grow_iou"] >= ZOO[name]["card"]["figures"]["grow_iou"] - 0.001


@pytest.mark.parametrize("name", sorted(set(ZOO) - RENEWED))
def test_a_rule_grows_as_it_did(name):
    rule = nca3d.load(f"zoo:{name}")
    assert isinstance(rule, nca3d.ConvRule) and not rule.training
    with torch.no_grad():
        grown = nca3d.rollout(rule, nca3d.seed_state(rule, tuple(rule.card["size"])), 12, random_seed=5)
    assert int((grown[:, rule.alpha] > 0.1).sum()) == ZOO[name]["after_12_steps"]["living"]
    assert float(grown.double().sum()) == pytest.approx(ZOO[name]["after_12_steps"]["sum"], rel=1e-4)


@pytest.mark.slow
def test_cards_are_compared_by_the_shell(capsys, tmp_path):
    assert main("compare", "zoo:cross", "zoo:axolotl-growing", "--out", tmp_path / "both") == 0
    rows = {line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")}
    assert {"measure", "grow_iou", "hold_iou_1000", "steps_held", "heal_iou.half_space", "params"} <= rows
    assert {"compare.md", "compare.png"} <= {file.name for file in (tmp_path / "both").iterdir()}


def test_a_life_is_told():
    rule = nca3d.load("zoo:cross")
    target = nca3d.targets.load("cross", size=tuple(rule.card["size"]))
    story = nca3d.tell(rule, target, 12, [nca3d.Cut(6, "sphere", 0.3)], every=3)
    assert story.frames.shape[1:] == (*rule.card["size"], 4) and len(story.frames) == len(story.steps)
    assert story.steps[0] == 0 and story.steps[-1] == 12
