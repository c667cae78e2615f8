"""The event-driven executor beside the laws: whom it refuses, what it keeps, what it never touches."""

import subprocess
import sys
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rule_cases import SIZE, body, events, lively

import nca3d
from nca3d.executors import Memory, choose, event, event_steps, native_code, native_part, use_cores
from nca3d.fire import Draw, fire_mask
from nca3d.rules import ConvRule

GIVEN = fire_mask(3, range(4), [0, 1, 2], SIZE, 0.5)


needs_compiled = pytest.mark.skipif(not native_code.available(torch.zeros(1)), reason="speaks of compiled steps")


def gradients(rule, state, steps=6, executor="event", **options):
    state = state.clone().requires_grad_()
    out = nca3d.rollout(rule, state, steps, random_seed=2, executor=executor, **options)
    weighing = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(3))
    return [out.detach(), *torch.autograd.grad((out * weighing).sum(), [state, *rule.parameters()])]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class SpatialNorm(ConvRule):
    def perceive(self, state):
        seen = super().perceive(state)
        return seen / seen.std()


class Bright(ConvRule):
    dead_value = 0.5


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (ConvRule(8, (8,), alive_threshold=None), "ConvRule, which has no alive mask, so that every cell counts"),
        (SpatialNorm(8, (8,)), "SpatialNorm, which has a step of its own"),
        (Bright(8, (8,)), "Bright, which has dead cells that count as alive"),
    ],
)
def test_rules_that_it_cannot_run_exactly_are_refused(rule, why):
    state = body(rule)
    with pytest.raises(ValueError, match=f"found 'event' for {why}.*, allowed 'dense'"):
        nca3d.rollout(rule, state, 1, executor="event")
    assert choose(rule, state) == "dense"


@pytest.mark.parametrize("executor", ["dense", "graph", "auto"])
def test_a_rule_without_an_alive_mask_runs_elsewhere(executor):
    rule = ConvRule(8, (24,), alive_threshold=None)
    torch.nn.init.normal_(rule.network[-1].weight, std=0.1, generator=torch.Generator().manual_seed(1))
    state = body(rule)
    wanted = state
    for step in range(3):
        wanted = rule(wanted, fire_mask(0, step, [0, 1], SIZE, 0.5))
    found = nca3d.rollout(rule, state, 3, executor=executor)
    torch.testing.assert_close(found, wanted)
    assert (found != 0).any(1).float().mean() > 0.9


def test_a_rule_with_a_step_of_its_own_runs_as_it_is_written():
    """In the dense executor, which "auto" chooses; the others say so instead of computing something else."""
    torch.manual_seed(1)
    rule = SpatialNorm(8, (24,))
    torch.nn.init.normal_(rule.network[-1].weight, std=0.1)
    state = body(rule)
    wanted = state
    for step in range(3):
        wanted = rule(wanted, fire_mask(0, step, [0, 1], SIZE, 0.5))
    for memory in ("keep", 2):
        found = nca3d.rollout(rule, state, 3, memory=memory)
        torch.testing.assert_close(found, wanted)
        parameters = list(rule.parameters())
        ours = torch.autograd.grad(found.square().sum(), parameters)
        theirs = torch.autograd.grad(wanted.square().sum(), parameters, retain_graph=True)
        # Of other sums of the same numbers, rounded otherwise.
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"found 'graph' for SpatialNorm.*, allowed 'dense'"):
        nca3d.rollout(rule, state, 1, executor="graph")


def test_too_many_cells_are_refused():
    with pytest.raises(ValueError, match=r"allowed fewer than 2\*\*31 cells"):
        nca3d.rollout(lively("gradient"), nca3d.Compact(torch.zeros(0, 8), torch.zeros(0).long(), 2, (1024,) * 3), 1)


@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("batch", [0, 1, 3])
@events
def test_empty_batches_and_dead_bodies(executor, batch, steps):
    rule = lively("learned")
    state = torch.zeros(batch, 8, *SIZE, requires_grad=True)
    out = nca3d.rollout(rule, state, steps, executor=executor)
    assert torch.equal(out.detach(), state.detach())
    if out.requires_grad:
        out.sum().backward()
        assert state.grad is None or state.grad.isfinite().all()


@pytest.mark.parametrize("name", ["gradient", "learned", "own network"])
def test_cores_and_parts_change_nothing(name):
    """Not one bit by the cores; rounding alone by how finely work is dealt out."""
    rule = lively(name)
    state = body(rule, batch=5, share=0.4)
    state[2] = 0.0
    whole = gradients(rule, state)
    with patch.object(event, "PART", 200):
        with use_cores(1):
            one = gradients(rule, state)
        with use_cores(3):
            three = gradients(rule, state)
    assert same(one, three)
    for a, b in zip(one, whole, strict=True):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@given(firsts=st.lists(st.integers(0, 400), min_size=1, max_size=6), steps=st.integers(0, 3))
def test_work_is_dealt_out_in_whole_samples(firsts, steps):
    volume = 500
    cells = torch.cat([torch.arange(n) + volume * b for b, n in enumerate(firsts)])
    state = nca3d.Compact(torch.arange(len(cells))[:, None].float(), cells, len(firsts), (5, 10, 10))
    with patch.object(event, "PART", 100):
        parts = event._partition(state, steps)
    assert [sample for *_, samples in parts for sample in samples] == list(range(len(firsts)))
    assert len(parts) <= max(1, len(cells) * steps // 100)
    assert torch.equal(torch.cat([values for values, *_ in parts]), state.values)
    for values, own, samples in parts:
        assert torch.equal(own + samples.start * volume, cells[values[:, 0].long()])


@pytest.mark.parametrize("name", ["gradient", "own network"])
def test_a_small_budget_recomputes_and_changes_nothing(name):
    rule = lively(name)
    state = body(rule)
    plans = []

    def advance(parts, xs, steps, whole, recompute):
        plans.append((len(steps), recompute))
        return event_steps.advance(parts, xs, steps, whole, recompute)

    with patch.object(event, "advance", advance):
        plain = gradients(rule, state, steps=20, memory="keep")
        tight = gradients(rule, state, steps=20, memory="auto", memory_budget=200_000)
        roomy = gradients(rule, state, steps=20, memory="auto")
    assert plans[0] == (20, False) and plans[-2:] == [(16, False), (4, False)]
    assert any(recompute for _, recompute in plans[1:-2])
    assert same(plain, tight) and same(plain, roomy)


def test_memory_plans():
    assert Memory.of("keep", None).segment(100, 1 << 40) is None
    assert Memory.of("recompute", None).segment(100, 1) == 1
    assert Memory.of(7, None).segment(100, 1) == 7
    assert Memory.of("auto", 1000).segment(100, 10) is None
    assert Memory.of("auto", 1000).segment(100, 10, saved_bytes=1) == 10
    for wrong in ("all", 0, True, -1):
        with pytest.raises(ValueError, match="memory: found"):
            Memory.of(wrong, None)
    with pytest.raises(ValueError, match="memory_budget: found 0"):
        Memory.of("auto", 0)


def test_a_step_keeps_what_was_planned_for_it_and_no_more():
    rule = lively("own network")
    kept, planned = [], []

    def advance(parts, xs, steps, whole, recompute):
        planned.append(sum(part.step_bytes() for part in parts))
        with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: t):
            return event_steps.advance(parts, xs, steps, whole, recompute)

    with patch.object(event, "advance", advance):
        nca3d.rollout(rule, body(rule), 1, executor="event")
    weights = {parameter.data_ptr() for parameter in rule.parameters()}
    found = sum(tensor.nbytes for tensor in kept if tensor.data_ptr() not in weights)
    assert 0.9 * planned[0] <= found <= planned[0]


@needs_compiled
def test_a_body_that_outgrows_its_tape_many_times():
    """From one cell to a full lattice, every cell firing: the first tapes have room for a fraction of it."""
    rule = lively("every cell fires", strength=0.5)
    made = []

    def tape(part, original=native_part.NativePart._new_tape):
        made.append(part)
        original(part)

    seed = nca3d.seed_state(rule, (13, 13, 13))
    with patch.object(native_part.NativePart, "_new_tape", tape):
        kept = gradients(rule, seed, steps=8, memory="keep")
    assert len(made) > 2
    assert same(kept, gradients(rule, seed, steps=8, memory=1))


@events
def test_bf16_is_near_full_precision_and_really_used(executor):
    rule = lively("deep").float()
    state = body(rule)
    plain = gradients(rule, state, steps=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = gradients(rule, state, steps=2, executor=executor)
    assert half[0].dtype == torch.float32
    assert not torch.equal(plain[0], half[0])
    for a, b in zip(half, plain, strict=True):
        assert (a - b).norm() < 0.08 * b.norm()  # the cell as it is written is up to 0.05 away under the same autocast


def test_weights_changed_before_the_backward_pass_are_noticed():
    rule = lively("gradient")
    out = nca3d.rollout(rule, body(rule), 3, executor="event")
    with torch.no_grad():
        rule.network[0].weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["gradient", "own network"])
def test_without_gradients_nothing_is_kept(name):
    rule = lively(name)
    state = body(rule).requires_grad_()
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(kept.append, lambda t: t)
    with patch.object(native_part.NativePart, "_new_tape", side_effect=AssertionError), torch.no_grad(), hooks:
        out = nca3d.rollout(rule, state, 40, executor="event")
    assert not kept and not out.requires_grad
    assert torch.equal(out, nca3d.rollout(rule, state, 40, executor="event").detach())


def test_a_second_backward_pass_gives_the_same():
    rule = lively("learned")
    out = nca3d.rollout(rule, body(rule), 5, executor="event", memory=2)
    first = torch.autograd.grad(out.sum(), list(rule.parameters()), retain_graph=True)
    assert same(first, torch.autograd.grad(out.sum(), list(rule.parameters())))


@pytest.mark.parametrize(
    "draw",
    [
        Draw(7, 3, torch.tensor([5, 2**31 + 1, -4]), SIZE, 0.3, 4),
        Draw(7, 3, torch.arange(3), SIZE, 1.0, 4),
        Draw(0, 0, torch.arange(3), SIZE, 0.5, 4, given_masks=GIVEN),
    ],
)
def test_draws_of_single_cells_are_those_of_the_mask(draw):
    cells = torch.arange(0, 3 * 7 * 6 * 8, 5)
    whole = draw.masks(0, 4).flatten(1)
    for step in range(4):
        assert torch.equal(draw.at(step, cells), whole[step, cells])
    some = draw.only(range(1, 3))
    assert torch.equal(some.masks(0, 4), draw.masks(0, 4)[:, 1:])


@pytest.mark.parametrize("executor", ["event", "dense", "auto"])
@pytest.mark.parametrize("wrong", [{"random_seed": -1}, {"random_seed": 2**32}, {"first_step": -1}, {"first_step": 2**32 - 2}])
def test_draws_out_of_range_are_refused_by_every_executor(executor, wrong):
    rule = lively("gradient")
    with pytest.raises(ValueError, match=r"found .*, allowed 0 \.\. 2\*\*32 - 1"):
        nca3d.rollout(rule, body(rule), 3, executor=executor, **wrong)


def test_auto_is_a_pure_function_of_rule_and_state():
    rule, state = lively("gradient"), body(lively("gradient"), share=0.9)
    assert choose(rule, nca3d.compact(state)) == "event"
    with patch.object(native_code, "library", return_value=None):
        assert choose(rule, state) == "dense"
        assert choose(rule, nca3d.seed_state(rule, (24, 24, 24))) == "event"
    assert torch.equal(nca3d.rollout(rule, state, 4), nca3d.rollout(rule, state, 4, executor=choose(rule, state)))


@needs_compiled
@pytest.mark.parametrize("perception", ["gradient", "learned"])
def test_gradients_of_many_cells_lose_little(perception):
    """Sums over 14,000 cells and four steps are made of short ones: one after the other they lost ten times as much."""
    generator = torch.Generator().manual_seed(0)
    rule = ConvRule(8, (24,), perception, generator=generator)
    torch.nn.init.normal_(rule.network[-1].weight, std=0.01, generator=generator)
    state = torch.rand(1, 8, 24, 24, 24, generator=generator)

    def gradient(rule, state):
        out = nca3d.rollout(rule, state, 4, executor="event")[:, :4]
        return torch.autograd.grad(out.square().sum(), list(rule.parameters()))

    found = gradient(rule, state)
    wanted = gradient(rule.double(), state.double())
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1.5e-6 * other.abs().max()


MEASURE = """
import torch, nca3d
from nca3d.rules import ConvRule
torch.set_num_threads(1)
rule = ConvRule(16, (32,))
torch.nn.init.normal_(rule.network[-1].weight, std=1e-3)

def cost(side):
    ball = torch.cartesian_prod(*[torch.arange(-6, 7)] * 3)
    at = ball[ball.square().sum(1) < 40] + side // 2
    cells = ((at[:, 0] * side + at[:, 1]) * side + at[:, 2]).sort().values
    values = torch.rand(len(cells), 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    state = nca3d.Compact(values, cells, 1, (side,) * 3)
    nca3d.rollout(rule, state, 12).values.sum().backward()

def resident(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key))

cost(16)
open("/proc/self/clear_refs", "w").write("5")
before = resident("VmRSS")
cost(640)
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@needs_compiled
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_of_the_lattice_size_is_touched():
    """A small body in 640³ cells, forward and backward: a dense state would be 16.8 GB, a map of its cells 1 GB."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 20_000, f"{done.stdout} KiB"
