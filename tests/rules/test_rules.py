"""The rule as a thing: parameters, kernels, arguments."""

import pytest
import torch

from nca3d.rollout import rollout, seed_state
from nca3d.rules import RULES, ConvRule, Rule
from nca3d.rules.kernels import laplacian, sobel


def test_the_default_rule_has_10368_parameters():
    assert sum(p.numel() for p in ConvRule().parameters()) == 10_368


def test_fixed_kernels_are_not_trained_and_not_saved():
    assert set(ConvRule().state_dict()) == {"network.0.weight", "network.0.bias", "network.2.weight"}
    assert "learned" in ConvRule(perception="learned").state_dict()


@pytest.mark.parametrize(("axis", "dim"), [("x", 2), ("y", 1), ("z", 0)])
def test_a_unit_ramp_has_slope_one(axis, dim):
    ramp = torch.arange(3.0).view([3 if d == dim else 1 for d in range(3)]).expand(3, 3, 3)
    for name in "xyz":
        assert float((sobel(name) * ramp).sum()) == pytest.approx(1.0 if name == axis else 0.0, abs=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_the_laplacian_of_a_square_is_two(dim):
    square = (torch.arange(3.0) - 1).square().view([3 if d == dim else 1 for d in range(3)]).expand(3, 3, 3)
    assert float((laplacian() * square).sum()) == pytest.approx(2.0)
    assert float(laplacian().sum()) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_mirroring_negates_the_gradient_kernel_of_that_axis(dim):
    for name, own in (("x", 2), ("y", 1), ("z", 0)):
        assert torch.equal(sobel(name).flip(dim), -sobel(name) if own == dim else sobel(name))


def test_perception_looks_at_the_right_neighbours():
    """A bright cell is seen by its neighbour on the left with a positive slope along x, and with none along y and z."""
    rule = ConvRule(channels=5, visible=3)
    state = torch.zeros(1, 5, 5, 5, 5)
    state[0, 0, 2, 2, 3] = 1.0
    identity, along_x, along_y, along_z = rule.perceive(state)[0].view(4, 5, 5, 5, 5)[:, 0, 2, 2, 2]
    assert (float(identity), float(along_y), float(along_z)) == (0.0, 0.0, 0.0)
    assert float(along_x) == pytest.approx(4 / 32)


def test_kernels_are_depthwise():
    rule = ConvRule(channels=6, perception="learned")
    state = torch.zeros(1, 6, 5, 5, 5)
    state[:, 2] = torch.randn(5, 5, 5)
    seen = rule.perceive(state).view(3, 6, 5, 5, 5)
    assert seen[:, 2].abs().max() > 0
    assert not seen[:, [0, 1, 3, 4, 5]].any()


@pytest.mark.parametrize(
    "arguments",
    [
        {"channels": 3},
        {"visible": 0},
        {"visible_kind": "cmyk"},
        {"visible": 5},
        {"fire_rate": 0.0},
        {"fire_rate": 1.1},
        {"alive_threshold": -0.1},
        {"padding": "reflect"},
        {"perception": "sobel"},
        {"hidden": ()},
        {"hidden": (0,)},
    ],
)
def test_bad_arguments_name_themselves(arguments):
    with pytest.raises(ValueError, match=r"found .*, allowed"):
        ConvRule(**arguments)


def test_spec_builds_the_same_rule_anew():
    rule = ConvRule(channels=9, hidden=(7, 5), perception="isotropic", visible=4, visible_kind="classes", padding="circular")
    other = ConvRule(**rule.spec())
    other.load_state_dict(rule.state_dict())
    assert other.spec() == rule.spec()


def test_one_random_seed_one_rule():
    one, two = (ConvRule(generator=torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_a_rule_of_ones_own_is_one_line(registries):
    class Own(ConvRule):
        pass

    RULES.register("own")(Own)
    assert RULES.find("own") is Own
    with pytest.raises(ValueError, match="already registered"):
        RULES.register("own")(ConvRule)
    with pytest.raises(ValueError, match="did you mean 'own'"):
        RULES.find("owm")


class Plain(Rule):
    """Says no more than a rule must: its kernels are fixed."""

    def __init__(self):
        super().__init__(channels=6)
        self.mix = torch.nn.Linear(12, 6)

    def kernels(self):
        return [None, laplacian().float()[None]]

    def update(self, perception):
        return self.mix(perception)

    def spec(self):
        return {}


def test_where_no_kernels_are_learned_no_state_is_kept_for_their_gradients():
    def kept(rule):
        tensors = []
        with torch.autograd.graph.saved_tensors_hooks(tensors.append, lambda tensor: tensor):
            rollout(rule, seed_state(rule, (5, 4, 3)), 2, executor="dense", memory="keep")
        return sum(tensor.nbytes for tensor in tensors)

    # One rule, so that the same cells live and fire: what is kept of them would differ otherwise.
    rule = Plain()
    fixed = kept(rule)
    rule.learns_kernels = True
    assert kept(rule) - fixed == 2 * seed_state(rule, (5, 4, 3)).nbytes


def test_seed_state():
    rule = ConvRule(channels=6)
    state = seed_state(rule, (5, 4, 3), batch=2)
    assert state.shape == (2, 6, 5, 4, 3)
    assert state[0, :, 2, 2, 1].tolist() == [0, 0, 0, 1, 1, 1]
    assert float(state.sum()) == 6.0
    placed = seed_state(rule, (5, 4, 3), batch=2, positions=torch.tensor([[0, 0, 0], [4, 3, 2]]))
    assert float(placed[0, 3, 0, 0, 0]) == float(placed[1, 3, 4, 3, 2]) == 1.0
    with pytest.raises(ValueError, match="positions"):
        seed_state(rule, (5, 4, 3), positions=torch.tensor([[5, 0, 0]]))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"state": torch.zeros(1, 5, 4, 4, 4)}, "state"),
        ({"state": torch.zeros(1, 6, 4, 4)}, "state"),
        ({"state": torch.zeros(1, 6, 4, 4, 4, dtype=torch.int64)}, "state"),
        ({"steps": -1}, "steps"),
        ({"record_every": 0}, "record_every"),
        ({"executor": "dens"}, "did you mean 'dense'"),
        ({"memory": "much"}, "memory"),
        ({"memory": 0}, "memory"),
        ({"sample_ids": torch.arange(3)}, "sample_ids"),
        ({"inputs": torch.zeros(1)}, "inputs"),
        ({"fire_masks": torch.ones(1, 1, 1, 4, 4, 4)}, "fire_masks"),
    ],
)
def test_rollout_refuses_what_does_not_fit(change, field):
    arguments = {"state": torch.zeros(1, 6, 4, 4, 4), "steps": 1, **change}
    with pytest.raises(ValueError, match=field) as caught:
        rollout(ConvRule(channels=6), arguments.pop("state"), arguments.pop("steps"), **arguments)
    assert "\n" not in str(caught.value)
