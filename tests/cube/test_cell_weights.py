"""Cells with weights of their own in compiled code: what torch computes, on any number of threads, with nothing left behind."""

import os

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import nca3d
from nca3d.cube.executor import native as cells_native
from nca3d.cube.executor import steps as cells_steps
from nca3d.cube.weights import MODES
from nca3d.executors import choose
from nca3d.executors.cores import use_cores
from nca3d.fire import fire_mask
from nca3d.rules.inputs import Inputs

SIZE = (3, 2, 4)

pytestmark = pytest.mark.skipif(
    cells_native.library(torch.float32) is None or cells_native.library(torch.float64) is None, reason="needs compiled code"
)


def shaken(mode="per_cell", size=SIZE, dtype=torch.float32, **options):
    """A rule none of whose weights is zero."""
    generator = torch.Generator().manual_seed(0)
    made = nca3d.GMLPRule(size, **{"weights": mode, "preset": "cube", "step_size": 0.8, "generator": generator, **options})
    with torch.no_grad():
        for weight in made.cells.own.values():
            weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return made.to(dtype)


def given_to(made, batch, steps=3):
    """A state, what is told, and who fires."""
    generator = torch.Generator().manual_seed(batch)
    dtype = next(made.parameters()).dtype

    def draw(channels, *size):
        return torch.randn(batch, channels, *size, generator=generator).to(dtype).requires_grad_()

    told = Inputs(draw(made.features, *made.size[1:]), draw(made.external, *made.size) if made.external else None)
    return draw(made.channels, *made.size), told, torch.rand(steps, batch, 1, *made.size, generator=generator) < 0.7


def outcome(made, run, state, told, half=False):
    """The last state and every gradient of a random weighing of it."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        out = run()
    weighing = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out)
    tensors = [state, *(part for part in told if part is not None), *made.cells.own.values()]
    return [out.detach(), *torch.autograd.grad((out * weighing).sum(), tensors)]


def worst(found, wanted):
    """The largest difference, as a share of the largest value, over some tensors."""
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in zip(found, wanted, strict=True))


@pytest.fixture
def small_blocks(monkeypatch):
    for name, value in {"FEWEST": 5, "NEAR_BYTES": 1, "WEIGHT_BYTES": 1 << 19}.items():
        monkeypatch.setattr(cells_steps, name, value)


def asked(made, batch):
    """Three steps of a rule, with many small blocks: a function that gives their outcome."""
    state, told, fires = given_to(made, batch)
    options = {"fire_masks": fires, "inputs": told}
    return lambda executor="compiled", half=False: outcome(
        made, lambda: nca3d.rollout(made, state, 3, executor=executor, **options), state, told, half
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [3, 37])
def test_compiled_is_torch(mode, batch, small_blocks):
    """Tight in float64; in float32 within 1e-5, or as near to float64 as torch itself where a sum nearly cancels."""
    made, exact = shaken(mode, types=2), asked(shaken(mode, types=2, dtype=torch.float64), batch)
    truth = exact("dense")
    assert worst(exact(), truth) < 1e-11
    compute = asked(made, batch)
    ours, theirs = compute(), compute("dense")
    for a, b, true in zip(ours, theirs, truth, strict=True):
        assert worst([a.double()], [true]) < max(1e-5, 2 * worst([b.double()], [true]))


@pytest.mark.slow
@settings(max_examples=examples(25))
@given(
    size=st.tuples(*[st.integers(1, 4)] * 3),
    widths=st.tuples(st.integers(2, 40), st.integers(1, 20), st.integers(0, 14), st.integers(1, 70)),
    batch=st.integers(1, 70),
    mixing=st.booleans(),
    preset=st.sampled_from(["nca", "cube"]),
    mode=st.sampled_from(MODES),
)
def test_any_sizes(size, widths, batch, mixing, preset, mode):
    """Law 5, against `forward`."""
    made = shaken(
        mode,
        size,
        torch.float64,
        **dict(zip(("features", "memory", "external", "widened"), widths, strict=True)),
        mixing=mixing,
        preset=preset,
    )
    state, told, fires = given_to(made, batch, steps=2)

    def as_written():
        return made(made(state, fires[0], told), fires[1], told)

    found = outcome(
        made, lambda: nca3d.rollout(made, state, 2, fire_masks=fires, inputs=told, executor="compiled"), state, told
    )
    # Of two or three features a norm leaves next to nothing: differences of nearly equal numbers, even in float64.
    assert worst(found, outcome(made, as_written, state, told)) < (1e-10 if widths[0] > 3 else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("half", [False, True])
def test_the_number_of_threads_changes_no_bit(mode, half):
    compute, found = asked(shaken(mode), 19), []
    for count in (1, 2, 5):
        with use_cores(count):
            found.append(compute(half=half))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["per_cell", "low_rank"])
def test_in_bfloat16_it_is_as_near_as_torch_is(mode):
    compute = asked(shaken(mode), 33)
    exact, ours, theirs = compute(), compute(half=True), compute("dense", half=True)
    assert all(part.dtype == torch.float32 for part in ours)
    for a, b, plain in zip(ours, theirs, exact, strict=True):
        scale = plain.square().mean().sqrt() + 1e-30
        assert (a - plain).square().mean().sqrt() / scale < max(2 * (b - plain).square().mean().sqrt() / scale, 0.02)


def test_what_is_not_a_number_stays_in_its_sample():
    made = shaken()
    state, _, _ = given_to(made, 35)
    clean = nca3d.rollout(made, state, 4).detach()
    bad = state.detach().clone()
    bad[17, 3, 1, 1, 1] = torch.nan
    out = nca3d.rollout(made, bad.requires_grad_(), 4)
    others = torch.arange(35) != 17
    assert out[17].isnan().any() and torch.equal(out[others].detach(), clean[others])
    into = torch.autograd.grad(out[others].square().sum(), bad)[0]
    assert into[others].isfinite().all() and (into[others] != 0).any()


def test_samples_do_not_know_each_other():
    """Law 6, across chunks of samples."""
    made = shaken()
    state, told, fires = given_to(made, 70)
    whole = nca3d.rollout(made, state, 3, fire_masks=fires, inputs=told)
    some = slice(29, 48)
    alone = nca3d.rollout(made, state[some], 3, fire_masks=fires[:, some], inputs=Inputs(*(part[some] for part in told)))
    torch.testing.assert_close(alone, whole[some])


@pytest.mark.parametrize("mode", ["per_cell", "shared"])
@pytest.mark.parametrize("half", [False, True])
@torch.no_grad()
def test_a_sample_does_not_know_how_many_there_are(mode, half):
    """Law 6 to the bit: in vectors of either width, in full ones and in those that are left over, alone or in any crowd."""
    made = shaken(mode, features=21, memory=10, external=3, widened=30)
    state, told, fires = given_to(made, 67)

    def answers(count):
        part = Inputs(*(part[:count] for part in told))
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return nca3d.rollout(made, state[:count], 3, fire_masks=fires[:, :count], inputs=part)

    whole = answers(67)
    assert all(torch.equal(answers(count), whole[:count]) for count in (*range(1, 20), 31, 32, 33, 64, 65))


def test_what_is_given_back_is_the_gradient_itself(monkeypatch):
    """A gradient as large as all weights is there once: autograd takes it over without a copy."""
    made, places = shaken(), []
    plain = cells_steps._Gradients.__init__

    def noted(self, *args):
        plain(self, *args)
        places.extend(total.data_ptr() for total in self.totals)

    monkeypatch.setattr(cells_steps._Gradients, "__init__", noted)
    nca3d.rollout(made, torch.randn(2, 48, *SIZE), 3).square().sum().backward()
    assert [weight.grad.data_ptr() for weight in made.cells.own.values()] == places


def test_weights_that_rest_get_nothing():
    made = shaken("shared")
    made.cells.requires_grad_(False)
    state, _, _ = given_to(made, 5)
    nca3d.rollout(made, state, 2, executor="compiled").square().sum().backward()
    found, state.grad = state.grad, None
    nca3d.rollout(made, state, 2, executor="dense").square().sum().backward()
    torch.testing.assert_close(found, state.grad, rtol=1e-4, atol=1e-5 * float(found.abs().max()))
    assert all(weight.grad is None for weight in made.cells.own.values())


def test_what_compiled_code_does_not_know():
    class Own(nca3d.GMLPRule):
        def cell(self, *args):
            return super().cell(*args)

    state = torch.zeros(2, 48, *SIZE)
    assert choose(shaken(), state) == "compiled"
    with torch.autocast("cpu", torch.bfloat16):
        assert choose(shaken(), state) == "compiled"
    refused = {
        "Own, which has a cell of its own": (Own(SIZE), state),
        "has dropout in training": (shaken(dropout=0.1).train(), state),
        "weights of another dtype": (shaken(), state.double()),
        "in bfloat16, where compiled code knows": (shaken(dtype=torch.bfloat16), state.bfloat16()),
    }
    for why, (made, asked_of) in refused.items():
        assert choose(made, asked_of) == "dense"
        with pytest.raises(ValueError, match=rf"executor: found 'compiled' for .*{why}.*, allowed 'auto', 'dense'"):
            nca3d.rollout(made, asked_of, 1, executor="compiled")
    with torch.autocast("cpu", torch.float16):
        assert choose(shaken(), state) == "dense"
        with pytest.raises(ValueError, match="is to compute in float16"):
            nca3d.rollout(shaken(), state, 1, executor="compiled")
    assert choose(shaken(), state[:0]) == "dense"
    with torch.no_grad():
        assert nca3d.rollout(shaken(), state[:0], 1, executor="compiled").shape == state[:0].shape


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [pytest.param(mode, marks=[] if mode == "per_cell" else pytest.mark.nightly) for mode in MODES]
)
def test_a_thousand_steps_leave_nothing_behind(mode):
    size = (2, 1, 2)
    made = shaken(mode, size, features=8, memory=4, external=2, widened=8)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-4)

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("no /proc")
    held = []
    for number in range(1300):
        if number in (100, 700):
            held.append(resident())
        optimizer.zero_grad()
        nca3d.rollout(made, torch.randn(2, 12, *size), 1, random_seed=number).square().mean().backward()
        optimizer.step()
    held.append(resident())
    # a leak grows in both halves; an allocator that takes one more arena of a megabyte does so in one of them
    assert min(held[1] - held[0], held[2] - held[1]) < 600 * 1024


def test_masks_are_those_of_the_rule():
    made = shaken(dtype=torch.float64, fire_rate=0.4)
    state, _, _ = given_to(made, 3)
    wanted = made(state, fire_mask(5, 7, range(3), SIZE, 0.4), None, 7)
    torch.testing.assert_close(nca3d.rollout(made, state, 1, random_seed=5, first_step=7), wanted)
