"""The laws over cubes: rules of one lattice, who see six neighbours one by one, are told things, and have no alive mask."""

from collections.abc import Callable

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from nca3d.cube import GMLPRule
from nca3d.cube.executor import native
from nca3d.executors import exact
from nca3d.fire import fire_mask
from nca3d.rollout import rollout
from nca3d.rules.inputs import Inputs

SIZE = (4, 3, 6)
SMALL = {"features": 8, "memory": 4, "external": 3, "widened": 12}


def cube(**options) -> GMLPRule:
    return GMLPRule(SIZE, **{**SMALL, "fire_rate": 0.6, "generator": torch.Generator().manual_seed(0), **options})


CUBE_CASES: dict[str, Callable[[], GMLPRule]] = {
    "per cell": lambda: cube(),
    "per cell, leaky": lambda: cube(preset="cube", step_size=0.7),
    "carrying": lambda: cube(preset="cube", start="carry", fire_rate=1.0),
    "shared": lambda: cube(preset="cube", weights="shared"),
    "types": lambda: cube(preset="cube", weights="types", types=3),
    "learned types": lambda: cube(weights="types", types=3, types_by="learned"),
    "low rank": lambda: cube(preset="cube", weights="low_rank"),
    "low rank, from zero": lambda: cube(weights="low_rank", rank=1),
    "periods": lambda: cube(preset="cube", periods=(1, 3, 2)),
    "coarse": lambda: cube(preset="cube", weights="shared", coarse=2),
    "coarse periods": lambda: cube(periods=(2, 1), coarse=2),
    "plain cells": lambda: cube(preset="cube", mixing=False),
}
# Cubes that differ the most in how they are run: these are in the fast tests, all others in `make test`.
CORE = {"per cell"}
cases = [pytest.param(name, marks=() if name in CORE else pytest.mark.slow) for name in CUBE_CASES]
cubes = pytest.mark.parametrize("name", cases)
# Events are about cells that are dead, and a cube has none.
executors = pytest.mark.parametrize(
    "executor",
    [
        name
        for name in exact()
        if not name.startswith(("event", "slabs")) and not (name == "compiled" and native.library(torch.float32) is None)
    ],
)
seeds = st.integers(0, 2**32 - 1)


def shaken(name: str, random_seed: int = 0) -> GMLPRule:
    """A rule none of whose weights is zero."""
    rule, generator = CUBE_CASES[name](), torch.Generator().manual_seed(random_seed)
    with torch.no_grad():
        for weight in rule.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return rule


def states(rule: GMLPRule, batch: int = 2, random_seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, rule.channels, *SIZE, generator=torch.Generator().manual_seed(random_seed))


def told(rule: GMLPRule, batch: int = 2, random_seed: int = 1) -> Inputs:
    generator = torch.Generator().manual_seed(random_seed)
    face = torch.randn(batch, rule.features, *SIZE[1:], generator=generator)
    return Inputs(face, torch.randn(batch, rule.external, *SIZE, generator=generator))


def as_written(rule, state, steps, random_seed, inputs, first_step=0):
    for step in range(first_step, first_step + steps):
        state = rule(state, fire_mask(random_seed, step, range(len(state)), SIZE, rule.fire_rate), inputs, step)
    return state


def gradients(rule, tensors, run):
    """The last state, and gradients of a random weighing of it into `tensors` and every parameter."""
    tensors = [tensor.clone().requires_grad_() for tensor in tensors]
    out = run(tensors[0], Inputs(*tensors[1:]))
    weighing = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3))
    into = torch.autograd.grad(
        (out * weighing).sum(), [*tensors, *rule.parameters()], allow_unused=True, materialize_grads=True
    )
    return [out.detach(), *into]


def assert_close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-30)


@cubes
@executors
@settings(max_examples=examples(3))
@given(random_seed=seeds, first_step=st.integers(0, 7))
def test_states_and_gradients_agree(name, executor, random_seed, first_step):
    """Law 5 in float64: state, face, external channels, every weight."""
    rule = shaken(name, random_seed % 97).double()
    tensors = [part.double() for part in (states(rule, random_seed=random_seed % 89), *told(rule))]
    options = {"random_seed": random_seed, "first_step": first_step, "executor": executor}
    found = gradients(rule, tensors, lambda s, said: rollout(rule, s, 5, inputs=said, **options))
    wanted = gradients(rule, tensors, lambda s, said: as_written(rule, s, 5, random_seed, said, first_step))
    assert_close(found, wanted, 1e-11)


@cubes
@executors
def test_agreement_in_float32_over_16_steps(name, executor):
    """Law 5: within 1e-5 of max|·|; of a weight's gradient that is a sum over all cells, cells · steps numbers that nearly
    cancel, within 1e-5 of the largest gradient of all weights. A question held at the face of a cube at rest."""
    rule = shaken(name)
    asked = [rule.rest(2), *told(rule)]
    found = gradients(rule, asked, lambda s, said: rollout(rule, s, 16, random_seed=11, inputs=said, executor=executor))
    wanted = gradients(rule, asked, lambda s, said: as_written(rule, s, 16, 11, said))
    own = {id(weight) for name, weight in rule.cells.own.items() if rule.cells.is_per_cell(name)}
    shared = [False] * (1 + len(asked)) + [id(weight) not in own for weight in rule.parameters()]
    largest = max(b.abs().max() for b in wanted[1 + len(asked) :])
    for a, b, sums in zip(found, wanted, shared, strict=True):
        assert (a - b).abs().max() <= 1e-5 * (largest if sums else b.abs().max().clamp_min(1e-30))


@cubes
@executors
def test_zero_start(name, executor):
    """Law 1: a fresh rule leaves what a cube was told as it is; the leaky preset is exempt by name."""
    rule = CUBE_CASES[name]()
    state = rule.tell(rule.rest(2), torch.randn(2, SIZE[1] * SIZE[2])).detach()
    out = rollout(rule, state, 6, inputs=told(rule), executor=executor)
    assert torch.equal(out, state) == (rule.preset == "nca")


@cubes
@executors
@settings(max_examples=examples(6))
@given(random_seed=seeds, data=st.data())
def test_locality(name, executor, random_seed, data):
    """Law 3: beyond the declared reach a change of one cell changes nothing, not one bit; within it something does."""
    rule = shaken(name)
    state = states(rule, 1, random_seed % 1000)
    cell = tuple(data.draw(st.integers(0, n - 1)) for n in SIZE)
    changed = state.clone()
    changed[0, :, *cell] += 5.0
    fires = torch.ones(1, 1, 1, *SIZE, dtype=torch.bool)
    one, other = (rollout(rule, s, 1, fire_masks=fires, executor=executor).detach() for s in (state, changed))
    away = torch.stack(torch.meshgrid(*(torch.arange(n) - c for n, c in zip(SIZE, cell, strict=True)), indexing="ij"))
    moved = (one != other).any(dim=1)[0]
    assert not moved[away.abs().amax(dim=0) > rule.reach].any()
    assert moved[away.abs().sum(dim=0) == 1].all()


@cubes
@executors
@settings(max_examples=examples(4))
@given(random_seed=seeds)
def test_batch_independence(name, executor, random_seed):
    """Law 6: a sample's trajectory doesn't depend on its neighbours in the batch, nor on its place among them."""
    rule = shaken(name)
    together, asked = states(rule, 3), told(rule, 3)
    out = rollout(rule, together, 5, random_seed=random_seed, inputs=asked, executor=executor).detach()
    order = torch.tensor([2, 0, 1])
    other = rollout(
        rule,
        together[order],
        5,
        random_seed=random_seed,
        sample_ids=order,
        inputs=Inputs(*(part[order] for part in asked)),
        executor=executor,
    ).detach()
    alone = rollout(
        rule,
        together[1:2],
        5,
        random_seed=random_seed,
        sample_ids=order[2:],
        inputs=Inputs(*(part[1:2] for part in asked)),
        executor=executor,
    ).detach()
    tolerance = 1e-5 * float(out.abs().max())
    torch.testing.assert_close(other, out[order], rtol=0, atol=tolerance)
    torch.testing.assert_close(alone, out[1:2], rtol=0, atol=tolerance)


@cubes
@executors
@settings(max_examples=examples(4))
@given(random_seed=seeds, step=st.integers(0, 1000))
def test_one_draw_a_cell(name, executor, random_seed, step):
    """Law 4: who does not fire by `fire_mask` keeps every channel, who does moves every one whose turn it is."""
    rule = shaken(name)
    state = states(rule)
    after = rollout(rule, state, 1, random_seed=random_seed, first_step=step, inputs=told(rule), executor=executor)
    fire = fire_mask(random_seed, step, range(2), SIZE, rule.fire_rate)
    expected = fire & rule.moving_channels(step)[None, :, None, None, None]
    assert torch.equal(after != state, expected)


@cubes
@executors
@pytest.mark.parametrize("memory", ["recompute", 3, 100])
def test_memory_changes_nothing(name, executor, memory):
    """Law 8: not one bit of the state; gradients but for the order of sums."""
    rule = shaken(name).double()
    tensors = [part.double() for part in (states(rule), *told(rule))]

    def run(memory):
        return gradients(rule, tensors, lambda s, said: rollout(rule, s, 7, inputs=said, executor=executor, memory=memory))

    plain, lean = run("keep"), run(memory)
    assert torch.equal(plain[0], lean[0])
    assert_close(lean[1:], plain[1:], 1e-12)


@cubes
@executors
@settings(max_examples=examples(4))
@given(split=st.integers(0, 20), random_seed=seeds)
def test_a_rollout_can_be_cut_anywhere(name, executor, split, random_seed):
    """20 steps = k + (20 − k) steps, if `first_step` counts on: the same masks, and the same channels' turns."""
    rule = shaken(name).requires_grad_(False)
    options = {"random_seed": random_seed, "inputs": told(rule), "executor": executor}
    state = states(rule)
    half = rollout(rule, state, split, **options)
    rest = rollout(rule, half, 20 - split, first_step=split, **options)
    assert torch.equal(rollout(rule, state, 20, **options), rest)


@executors
def test_bf16_network_keeps_a_float32_state(executor):
    rule = shaken("per cell, leaky")
    state = states(rule).requires_grad_()
    plain = rollout(rule, state, 3, executor=executor)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lean = rollout(rule, state, 3, executor=executor)
    (into,) = torch.autograd.grad(lean.sum(), state)
    assert lean.dtype == into.dtype == torch.float32
    if executor != "compiled" or native.library(torch.float32).gmlp_rounds():  # not every processor has products in bfloat16
        assert not torch.equal(lean, plain)
    assert (lean - plain).abs().max() < 0.05 * plain.abs().max()
