"""A rule made wider does what it did, and learns with its new units, too."""

import pytest
import torch

import nca3d
from nca3d import CodedRule, ConditionalRule, Config, ConvRule
from nca3d.rules.widen import only_wider, widen
from nca3d.training.trainer import Trainer

KINDS = {
    "plain": lambda hidden, **options: ConvRule(8, hidden, **options),
    "learned kernels": lambda hidden, **options: ConvRule(8, hidden, "learned", **options),
    "coded": lambda hidden, **options: CodedRule(14, hidden, visible=4, code=3, **options),
    "told": lambda hidden, **options: ConditionalRule(("a", "b"), channels=8, hidden=hidden, **options),
}


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def trained(kind, hidden):
    """Returns a rule with no weight at zero."""
    rule = KINDS[kind](hidden, generator=drawn(1))
    with torch.no_grad():
        for tensor in rule.parameters():
            tensor += 0.05 * torch.randn(tensor.shape, generator=drawn(2))
    return rule


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("narrow", "wide"), [((8,), (13,)), ((8, 6), (13, 6)), ((8, 6), (8, 20)), ((8, 6), (12, 20))], ids=str)
def test_a_wider_rule_does_the_same_and_learns_with_all_its_units(kind, narrow, wide):
    source, rule = trained(kind, narrow), KINDS[kind](wide, generator=drawn(3))
    assert only_wider(source, rule) and not only_wider(rule, source) and not only_wider(source, source)
    widen(source, rule)
    told = {"condition": "b"} if source.conditions else {}
    state = nca3d.seed_state(source, (7, 7, 7), batch=2, **told)
    before, after = (nca3d.rollout(one, state, 6, **told) for one in (source, rule))
    torch.testing.assert_close(after, before)
    assert bool((before != state).any())
    after.square().sum().backward()
    # The last layer: what new units are to say.
    last = [tensor for name, tensor in rule.named_parameters() if "network" in name][-1]
    assert bool((last.grad[:, narrow[-1] :] != 0).any()) or narrow[-1] == wide[-1]


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        (ConvRule(8, (8,)), ConvRule(8, (9, 9))),
        (ConvRule(8, (8,)), ConvRule(9, (9,))),
        (ConvRule(8, (8,)), ConvRule(8, (9,), "isotropic")),
        (ConvRule(8, (8, 9)), ConvRule(8, (9, 8))),
        (ConvRule(8, (8,), visible=4, visible_kind="classes"), CodedRule(14, (9,), visible=4, code=3)),
        (ConditionalRule(("a", "b"), hidden=(8,)), ConditionalRule(("a", "b", "c"), hidden=(9,))),
    ],
    ids=["more layers", "channels", "perception", "one narrower", "kind", "bodies"],
)
def test_what_is_more_than_wider_is_not_widened(source, rule):
    assert not only_wider(source, rule)


def test_training_begins_from_a_narrower_rule(capsys, tmp_path):
    """As whoever types `--init zoo:jack --hidden 160` has it; it says so, once."""
    jack = nca3d.load("zoo:jack")
    config = Config(target="jack", size=jack.card["size"], init="zoo:jack", hidden=(160,), channels=16, perception="isotropic")
    rule = Trainer.begin(config).rule.eval()
    assert rule.hidden == (160,)
    short = config.replace(iterations=1, batch=2, pool_size=2, steps=(1, 2), report=False, out=str(tmp_path / "run"))
    nca3d.train(short, progress=False)
    line = "zoo:jack is widened from 128 to 160 units, which do as before until the new ones have learnt"
    assert line in capsys.readouterr().err
    state = nca3d.seed_state(jack)
    torch.testing.assert_close(nca3d.rollout(rule, state, 20).detach(), nca3d.rollout(jack, state, 20))
    nca3d.train(resume=tmp_path / "run", iterations=2, progress=False)
    assert "widened" not in capsys.readouterr().err
