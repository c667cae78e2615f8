"""Laws 5 and 8: every executor agrees with the cell as it is written, and what is kept in memory changes nothing."""

import pytest
import torch
from examples import examples
from flat import FLAT
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_cases import RULE_CASES, SIZE, body, executors, lively, rules_and_executors

from nca3d.fire import fire_mask
from nca3d.rollout import Trajectory, rollout, seed_state


def as_written(rule, state, steps, random_seed):
    """`Rule.forward`, step by step: the cell as a reader sees it."""
    for step in range(steps):
        state = rule(state, fire_mask(random_seed, step, range(len(state)), state.shape[2:], rule.fire_rate))
    return state


def gradients(rule, state, run):
    """The last state, and gradients of a random weighing of it into the first state and every parameter."""
    state = state.clone().requires_grad_()
    out = run(state)
    weighing = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3)).to(out)
    return out.detach(), torch.autograd.grad((out * weighing).sum(), [state, *rule.parameters()])


def assert_close(found, wanted, tolerance):
    found, wanted = ([tensor.cpu() for tensor in tensors] for tensors in (found, wanted))
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp_min(1e-30)


@rules_and_executors
@settings(max_examples=examples(8))
@given(random_seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.3, 1.0]))
def test_states_and_gradients_agree(name, executor, random_seed, share):
    """Law 5 in float64, over 6 steps; mixed batches: one sample of the body, one dead, one full."""
    rule = lively(name, random_seed % 97).double()
    state = body(rule, batch=3, share=share, random_seed=random_seed % 89).double()
    state[1] = 0.0
    found, into = gradients(rule, state, lambda s: rollout(rule, s, 6, random_seed=random_seed, executor=executor))
    wanted, expected = gradients(rule, state, lambda s: as_written(rule, s, 6, random_seed))
    assert_close([found, *into], [wanted, *expected], 1e-11)


@rules_and_executors
def test_agreement_in_float32_over_16_steps(name, executor, device):
    """Law 5: within 1e-5 of max|·| of the cell as it is written, on the CPU."""
    written, rule = lively(name), lively(name, device=device)
    found, into = gradients(rule, seed_state(rule, SIZE, 2), lambda s: rollout(rule, s, 16, random_seed=11, executor=executor))
    wanted, expected = gradients(written, seed_state(written, SIZE, 2), lambda s: as_written(written, s, 16, 11))
    assert_close([found, *into], [wanted, *expected], 1e-5)


@rules_and_executors
def test_flat_lattices_agree(name, executor, device):
    """Law 5 where a cell has no neighbours along an axis: each rule on one flat lattice, each executor on all of them."""
    written, rule = lively(name), lively(name, device=device)
    state = body(rule, batch=2, size=FLAT[list(RULE_CASES).index(name) % len(FLAT)], share=0.6)
    found, into = gradients(rule, state, lambda s: rollout(rule, s, 4, random_seed=3, executor=executor))
    wanted, expected = gradients(written, state.cpu(), lambda s: as_written(written, s, 4, 3))
    assert_close([found, *into], [wanted, *expected], 1e-5)


@executors
@given(random_seed=st.integers(0, 2**32 - 1))
def test_a_dying_body_agrees(executor, random_seed):
    """Cells at the rim live or die by the alpha of neighbours just outside: the ring that an executor must not forget."""
    rule = lively("gradient", strength=0.6)
    with torch.no_grad():
        list(rule.parameters())[-1].neg_()
    state = body(rule, batch=2, share=0.15, random_seed=random_seed % 211)
    for steps in (1, 2, 3):
        found = rollout(rule, state, steps, random_seed=random_seed, executor=executor).detach()
        wanted = as_written(rule, state, steps, random_seed).detach()
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * max(1e-30, float(wanted.abs().max())))


@rules_and_executors
@pytest.mark.parametrize("memory", ["recompute", 3, 100])
def test_memory_changes_nothing(name, executor, memory):
    """Law 8: checkpointed gradients equal the plain ones, bit for bit."""
    rule = lively(name)
    state = body(rule)
    plain = gradients(rule, state, lambda s: rollout(rule, s, 7, random_seed=2, executor=executor, memory="keep"))
    lean = gradients(rule, state, lambda s: rollout(rule, s, 7, random_seed=2, executor=executor, memory=memory))
    assert torch.equal(plain[0], lean[0])
    assert all(torch.equal(a, b) for a, b in zip(plain[1], lean[1], strict=True))


@executors
def test_recomputation_keeps_less(executor):
    """The point of segments: what autograd holds on to shrinks."""

    def kept(memory):
        rule, held = lively("gradient"), []
        state = body(rule, batch=4, share=0.8)

        def pack(tensor):
            held.append(tensor.untyped_storage().nbytes())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            rollout(rule, state, 16, executor=executor, memory=memory).sum()
        return sum(held)

    assert kept(4) < kept("keep") / 3


@rules_and_executors
def test_a_frozen_rule_passes_gradients_to_the_state(name, executor):
    """Partly frozen, wholly frozen: what is still asked for is as before."""
    rule = lively(name)
    state = body(rule)
    _, (grad_state, *into) = gradients(rule, state, lambda s: rollout(rule, s, 4, executor=executor))
    parameters = list(rule.parameters())
    for frozen in (parameters[:1], parameters):
        rule.requires_grad_(True)
        for parameter in frozen:
            parameter.requires_grad_(False)
        start = state.clone().requires_grad_()
        out = rollout(rule, start, 4, executor=executor)
        weighing = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
        (out * weighing).sum().backward()
        torch.testing.assert_close(start.grad, grad_state)
        for parameter, wanted in zip(parameters, into, strict=True):
            assert parameter.grad is None if not parameter.requires_grad else torch.allclose(parameter.grad, wanted)
            parameter.grad = None


@executors
@given(split=st.integers(0, 9), random_seed=st.integers(0, 2**32 - 1))
def test_a_rollout_can_be_cut_anywhere(executor, split, random_seed):
    """10 steps = k + (10 − k) steps, if `first_step` counts on."""
    rule = lively("gradient")
    state = body(rule)
    whole = rollout(rule, state, 10, random_seed=random_seed, executor=executor)
    half = rollout(rule, state, split, random_seed=random_seed, executor=executor)
    rest = rollout(rule, half, 10 - split, random_seed=random_seed, first_step=split, executor=executor)
    assert torch.equal(whole, rest)


@executors
@pytest.mark.parametrize(("steps", "every", "expected"), [(10, 4, [3, 7, 11, 13]), (4, 2, [3, 5, 7]), (0, 2, [3])])
def test_trajectory_records_first_every_and_last(executor, steps, every, expected):
    rule = lively("gradient")
    state = body(rule)
    out = rollout(rule, state, steps, first_step=3, record_every=every, executor=executor)
    assert isinstance(out, Trajectory)
    assert out.steps.tolist() == expected
    assert torch.equal(out.states[0], state)
    last = rollout(rule, state, steps, first_step=3, executor=executor)
    assert torch.equal(out.states[-1], last)


@executors
def test_bf16_network_keeps_a_float32_state(executor, device):
    rule = lively("gradient", device=device)
    state = body(rule).requires_grad_()
    plain = rollout(rule, state, 4, executor=executor)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        lean = rollout(rule, state, 4, executor=executor)
    (into,) = torch.autograd.grad(lean.sum(), state)
    assert lean.dtype == into.dtype == torch.float32
    assert not torch.equal(lean, plain)
    assert (lean - plain).abs().max() < 0.05 * plain.abs().max()
