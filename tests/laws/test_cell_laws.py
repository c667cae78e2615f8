"""Laws 1–3, 6, 7: what one step may do, over every kind of rule and every executor."""

import pytest
import torch
from flat import FLAT
from hypothesis import example, given
from hypothesis import strategies as st
from rule_cases import RULE_CASES, SIZE, assert_same_bits, body, executors, fresh, lively, rules_and_executors

from nca3d.fire import fire_mask
from nca3d.lattice import centre
from nca3d.rollout import rollout, seed_state
from nca3d.rules import ConvRule

seeds = st.integers(0, 2**32 - 1)


@rules_and_executors
@given(random_seed=seeds, steps=st.integers(0, 12))
def test_zero_start(name, executor, device, random_seed, steps):
    """Law 1: a fresh rule leaves the seed as it is, bit for bit."""
    rule = fresh(name, device=device)
    state = seed_state(rule, SIZE, batch=2)
    assert state.device.type == device.type
    assert torch.equal(rollout(rule, state, steps, random_seed=random_seed, executor=executor), state)


@rules_and_executors
@given(random_seed=seeds)
def test_vacuum(name, executor, device, random_seed):
    """Law 2: all-zero stays all-zero, biases or not."""
    rule = lively(name, device=device)
    for parameter in rule.parameters():
        parameter.data.add_(0.5)
    state = torch.zeros(2, rule.channels, *SIZE, device=device)
    assert torch.equal(rollout(rule, state, 5, random_seed=random_seed, executor=executor), state)


@rules_and_executors
@given(random_seed=seeds, steps=st.integers(1, 4))
def test_light_cone(name, executor, device, random_seed, steps):
    """Law 2: after t steps from one cell nothing lies outside Chebyshev radius t."""
    rule = lively(name, strength=0.5, device=device)
    size = (11, 11, 11)
    grown = rollout(rule, seed_state(rule, size), steps, random_seed=random_seed, executor=executor).cpu()
    index = torch.stack(torch.meshgrid(*(torch.arange(n) - c for n, c in zip(size, centre(size), strict=True)), indexing="ij"))
    outside = index.abs().amax(dim=0) > steps
    assert (grown[:, :, outside] == 0).all()


@pytest.mark.parametrize("size", FLAT)
def test_flat_worlds_obey(size):
    """Laws 1 and 2 where there is one layer of cells, or one row; `test_flat_lattices_agree` brings in the other executors."""
    for name in RULE_CASES:
        seed = seed_state(fresh(name), size)
        assert torch.equal(rollout(fresh(name), seed, 3), seed)
        rule = lively(name, strength=0.5)
        assert not rollout(rule, torch.zeros_like(seed), 2).any()
        grown = rollout(rule, seed, 2)
        away = [(torch.arange(n) - c).abs() for n, c in zip(size, centre(size), strict=True)]
        outside = torch.stack(torch.meshgrid(*away, indexing="ij")).amax(dim=0) > 2
        assert grown.isfinite().all() and not grown[:, :, outside].any()
        assert grown.shape == seed.shape


def test_light_cone_is_reached():
    """The cone is no empty promise: a lively rule does fill it to the rim."""
    rule = lively("every cell fires", strength=0.5)
    grown = rollout(rule, seed_state(rule, (11, 11, 11)), 4)
    assert grown[0, rule.alpha, 1].abs().max() > 0


@rules_and_executors
@given(
    random_seed=seeds,
    cell=st.tuples(*(st.integers(0, n - 1) for n in (9, 8, 10))),
    value=st.sampled_from([0.0, 1.0, -3.0]),
    share=st.sampled_from([0.02, 0.6]),
)
@example(random_seed=16777215, cell=(0, 0, 0), value=0.0, share=0.6)  # one cell less fires: others move up a place
@example(random_seed=3280387012, cell=(4, 1, 7), value=1.0, share=0.02)  # some more fire
@example(random_seed=1, cell=(0, 0, 0), value=0.0, share=0.02)  # the lattice's last cell is born
def test_locality(name, executor, random_seed, cell, value, share):
    """Law 3: beyond the reach a change of one cell changes nothing, not one bit."""
    rule = lively(name)
    size = (9, 8, 10)
    state = body(rule, batch=1, size=size, share=share, random_seed=random_seed % 1000)
    changed = state.clone()
    changed[0, :, *cell] = value
    one, other = (rollout(rule, s, 1, random_seed=random_seed, executor=executor).detach() for s in (state, changed))
    distance = torch.zeros(size, dtype=torch.long)
    for axis, (n, c) in enumerate(zip(size, cell, strict=True)):
        away = (torch.arange(n) - c).abs()
        away = torch.minimum(away, n - away) if rule.padding == "circular" else away
        shape = [1, 1, 1]
        shape[axis] = n
        distance = torch.maximum(distance, away.view(shape))
    far = distance > rule.reach
    assert far.any()
    assert_same_bits(name, executor, one[:, :, far], other[:, :, far])


@rules_and_executors
@torch.no_grad()
def test_a_cell_does_not_know_how_many_fire(name, executor):
    """Law 3, however work is dealt out: a cell's bits depend neither on how many others fire nor on its place among them."""
    rule = lively(name)
    generator = torch.Generator().manual_seed(4)
    state = 1 + torch.rand(1, rule.channels, *SIZE, generator=generator)
    order = torch.randperm(state[0, 0].numel(), generator=generator)

    def answers(count):
        fire = torch.zeros(len(order), dtype=torch.bool)
        fire[order[:count]] = True
        out = rollout(rule, state, 1, fire_masks=fire.view(1, 1, 1, *SIZE), executor=executor)
        return out.flatten(2)[0, :, order]

    whole = answers(len(order))
    for count in (*range(1, 26), 257, 300):
        assert_same_bits(name, executor, answers(count)[:, :count], whole[:, :count])


@rules_and_executors
@given(random_seed=seeds)
def test_batch_independence(name, executor, device, random_seed):
    """Law 6: a sample's trajectory doesn't depend on its neighbours in the batch, nor on its place among them."""
    rule = lively(name, device=device)
    states = body(rule, batch=3)
    together = rollout(rule, states, 6, random_seed=random_seed, executor=executor).detach()
    for sample, place in ((0, 2), (2, 0)):
        others = torch.zeros_like(states) if place else states.flip(0)
        others[place] = states[sample]
        ids = torch.tensor([7, 8, 9])
        ids[place] = sample
        alone = rollout(rule, others, 6, random_seed=random_seed, sample_ids=ids, executor=executor)
        torch.testing.assert_close(alone[place], together[sample], rtol=0, atol=1e-5 * float(together.abs().max()))


@executors
@pytest.mark.parametrize("name", ["circular", "learned circular"])
@given(shift=st.tuples(*(st.integers(-4, 4),) * 3))
def test_translation(name, executor, shift):
    """Law 7: shifting the state (and the draw) shifts the result, under circular padding."""
    rule = lively(name)
    state = body(rule)
    fire = torch.stack([fire_mask(5, t, [0, 1], SIZE, 0.5) for t in range(4)])
    moved = rollout(rule, state.roll(shift, (2, 3, 4)), 4, fire_masks=fire.roll(shift, (3, 4, 5)), executor=executor)
    still = rollout(rule, state, 4, fire_masks=fire, executor=executor).roll(shift, (2, 3, 4)).detach()
    torch.testing.assert_close(moved, still, rtol=0, atol=1e-5 * float(still.abs().max()))


@executors
@pytest.mark.parametrize("axis", [2, 3, 4])
@pytest.mark.parametrize("padding", ["zeros", "replicate", "circular"])
def test_isotropic_rules_mirror(executor, padding, axis):
    """Law 7: an isotropic rule can't tell left from right, nor one axis from another."""
    rule = ConvRule(channels=8, hidden=(24,), perception="isotropic", padding=padding)
    torch.nn.init.normal_(rule.network[-1].weight, std=0.1, generator=torch.Generator().manual_seed(1))
    size = (6, 6, 6)
    state = body(rule, size=size)
    fire = torch.stack([fire_mask(5, t, [0, 1], size, 0.5) for t in range(4)])
    plain = rollout(rule, state, 4, fire_masks=fire, executor=executor)
    mirrored = rollout(rule, state.flip(axis), 4, fire_masks=fire.flip(axis + 1), executor=executor).flip(axis)
    turned = rollout(rule, state.transpose(2, axis), 4, fire_masks=fire.transpose(3, axis + 1), executor=executor).transpose(
        2, axis
    )
    for other in (mirrored, turned):
        torch.testing.assert_close(other, plain, rtol=0, atol=1e-5 * float(plain.abs().max()))


@executors
def test_padding_never_makes_a_border_cell_alive(executor):
    """A threshold of 0 and a state of zeros: what lies beyond the border counts as nothing."""
    rule = ConvRule(channels=8, hidden=(8,), alive_threshold=0.0, padding="zeros")
    assert not rule.alive_mask(torch.zeros(1, 8, 3, 3, 3)).any()
    assert not rollout(rule, torch.zeros(1, 8, 3, 3, 3), 3, executor=executor).any()


@rules_and_executors
def test_a_broken_cell_dies_without_spreading(name, executor, device):
    """Law 13: where, never a product: NaN in a dying cell leaves no NaN behind."""
    rule = fresh(name, device=device)
    state = torch.zeros(1, rule.channels, 5, 5, 5, device=device)
    state[0, 0, 2, 2, 2] = float("nan")
    assert torch.equal(rollout(rule, state, 1, executor=executor), torch.zeros_like(state))
