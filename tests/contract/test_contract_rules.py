"""Rules: names and shapes of their weights, what seeds draw, what a rule says of itself; the frozen list is of 0.1.0."""

import pytest
import torch
from contract_tools import frozen, rule_of

import nca3d

RULES = frozen("rules")


@pytest.mark.parametrize("name", RULES)
def test_weights_keep_names_and_shapes(name):
    entry = RULES[name]
    rule = rule_of(entry, generator=torch.Generator().manual_seed(0))
    found = {key: list(value.shape) for key, value in rule.state_dict().items()}
    assert found == entry["state_dict"]
    total = sum(float(value.double().abs().sum()) for value in rule.state_dict().values())
    assert total == pytest.approx(entry["sum"], rel=1e-6), "the same random_seed draws the same weights"
    rule_of(entry).load_state_dict(rule.state_dict())


def test_the_default_rule():
    rule = nca3d.ConvRule()
    assert sum(p.numel() for p in rule.parameters()) == 10_368
    assert (rule.channels, rule.visible, rule.alpha, rule.visible_kind) == (16, 3, 3, "rgb")
    assert (rule.fire_rate, rule.alive_threshold, rule.step_size, rule.padding) == (0.5, 0.1, 1.0, "zeros")
    assert rule.dead_value == 0.0
    assert isinstance(rule, nca3d.Rule) and isinstance(rule, torch.nn.Module)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"perception": "nope"}, ("perception", "gradient", "gradient+laplacian", "isotropic", "learned")),
        ({"padding": "nope"}, ("padding", "zeros", "replicate", "circular")),
        ({"visible_kind": "nope"}, ("visible_kind", "rgb", "classes")),
        ({"fire_rate": 1.5}, ("fire_rate",)),
        ({"channels": 3}, ("channels",)),
        ({"hidden": ()}, ("hidden",)),
    ],
)
def test_a_rule_refuses_what_it_cannot_be(options, words):
    with pytest.raises(ValueError) as caught:
        nca3d.ConvRule(**options)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "nope"}, ("per_cell", "shared", "types", "low_rank")),
        ({"preset": "nope"}, ("preset", "nca", "cube")),
        ({"types_by": "nope"}, ("layer", "learned")),
        ({"embedding": 8, "adapter": "nope"}, ("attention", "autoencoder", "hierarchical", "linear")),
        ({"coarse": 9}, ("coarse",)),
    ],
)
def test_a_cube_refuses_what_it_cannot_be(options, words):
    with pytest.raises(ValueError) as caught:
        nca3d.GMLPRule((3, 3, 3), **options)
    assert all(word in str(caught.value) for word in words)


def test_a_cube_rests_is_asked_and_answers():
    entry = RULES["gmlp linear"]
    rule = rule_of({**entry, "options": {**entry["options"], "preset": "cube"}}, generator=torch.Generator().manual_seed(1))
    state = rule.rest(2)
    assert state.shape == (2, rule.channels, 3, 4, 4) and not state.any()
    question = torch.randn(2, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        after = nca3d.rollout(rule, state, 5, inputs=rule.ask(question))
        said = rule.answer(after)
    assert after.any() and said.shape == (2, 16) and said.isfinite().all()
