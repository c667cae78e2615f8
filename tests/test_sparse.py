"""Compact states: there and back, and through rollouts, with gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rule_cases import SIZE, body, fresh, lively

import nca3d
from nca3d.sparse import Compact, compact, dense, gather


@given(share=st.floats(0, 1), batch=st.integers(0, 3), seed=st.integers(0, 99))
def test_there_and_back(share, batch, seed):
    state = body(lively("gradient"), batch=batch, share=share, random_seed=seed)
    small = compact(state)
    assert torch.equal(dense(small), state)
    assert len(small.cells) == int((state != 0).any(1).sum())
    assert small.shape == tuple(state.shape)


def test_only_cells_that_differ_from_the_background_are_kept():
    state = torch.full((2, 3, 4, 4, 4), -1.0)
    state[1, 2, 0, 1, 2] = 0.0
    small = compact(state, background=-1.0)
    assert small.cells.tolist() == [64 + 6]
    assert torch.equal(dense(small, background=-1.0), state)


def test_broken_cells_are_kept():
    state = torch.zeros(1, 3, 2, 2, 2)
    state[0, 1, 1, 1, 1] = float("nan")
    assert compact(state).cells.tolist() == [7]


def test_gather_and_dense_are_adjoint():
    state = body(lively("gradient")).double().requires_grad_()
    cells = torch.arange(0, state[:, 0].numel(), 3)
    weighing = torch.randn(len(cells), state.shape[1], dtype=torch.float64)
    (into,) = torch.autograd.grad((gather(state, cells).values * weighing).sum(), state)
    assert torch.equal(into, dense(Compact(weighing, cells, len(state), SIZE)))
    values = weighing.clone().requires_grad_()
    out = dense(Compact(values, cells, len(state), SIZE))
    (into,) = torch.autograd.grad((out * state.detach()).sum(), values)
    assert torch.equal(into, gather(state.detach(), cells).values)


@pytest.mark.parametrize(
    ("values", "cells", "says"),
    [
        (torch.zeros(2, 3), torch.tensor([1, 1]), "allowed rising ones"),
        (torch.zeros(2, 3), torch.tensor([1, 999]), "allowed rising ones in 0 .. 63"),
        (torch.zeros(2, 3), torch.tensor([-1, 9]), "allowed rising ones"),
        (torch.zeros(2, 3), torch.tensor([1, 2, 3]), r"allowed \(N, C\) and int64 \(N,\)"),
        (torch.zeros(2, 3), torch.tensor([1.0, 2.0]), r"allowed \(N, C\) and int64 \(N,\)"),
    ],
)
def test_what_does_not_fit_is_refused(values, cells, says):
    with pytest.raises(ValueError, match=says):
        Compact(values, cells, 1, (4, 4, 4))
    with pytest.raises(ValueError, match="allowed floating-point"):
        compact(torch.zeros(3, 4, 4, 4))


@pytest.mark.parametrize("executor", ["auto", "event", "dense"])
def test_rollout_takes_and_returns_either_form(executor):
    rule = lively("gradient")
    state = body(rule)
    with torch.no_grad():
        wanted = nca3d.rollout(rule, state, 5, random_seed=4, executor=executor)
        found = nca3d.rollout(rule, compact(state), 5, random_seed=4, executor=executor)
        path = nca3d.rollout(rule, compact(state), 5, random_seed=4, executor=executor, record_every=2)
    assert isinstance(found, Compact)
    assert torch.equal(dense(found), wanted)
    assert torch.equal(found.cells, compact(wanted).cells)
    assert path.steps.tolist() == [0, 2, 4, 5]
    assert torch.equal(dense(path.states[-1]), wanted)


@pytest.mark.parametrize("name", ["gradient", "learned", "own network"])
def test_gradients_through_compact_states_equal_the_dense_ones(name):
    """Also of a fresh rule, whose changes are zero but not their gradients, and through several rollouts in a row."""
    for rule in (fresh(name).double(), lively(name).double()):
        small = compact(body(rule).double())
        totals = []
        for form in (lambda s: s, lambda s: dense(s)):
            values = small.values.clone().requires_grad_()
            state = form(Compact(values, small.cells, small.batch, small.size))
            for part in range(3):
                state = nca3d.rollout(rule, state, 3, random_seed=1, first_step=3 * part, executor="event")
            last = dense(state) if isinstance(state, Compact) else state
            weighing = torch.randn(last.shape, dtype=last.dtype, generator=torch.Generator().manual_seed(0))
            totals.append(torch.autograd.grad((last * weighing).sum(), [values, *rule.parameters()]))
        for one, other in zip(*totals, strict=True):
            assert (one - other).abs().max() <= 1e-11 * other.abs().max().clamp_min(1e-30)
