"""Memory that is used again, and never by two at once."""

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.executor import buffers


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(buffers, "LARGE", 0)
    buffers.give_back()


def allocate(count: int, dtype: torch.dtype = torch.float32, prepare=lambda made: None) -> torch.Tensor:
    return buffers.allocate(count, dtype, prepare)


@pytest.mark.slow
def test_what_is_freed_is_used_again_and_prepared_once():
    prepared = []
    first = allocate(64, prepare=lambda made: prepared.append(made.data_ptr()))
    place = first.data_ptr()
    del first
    gc.collect()
    assert allocate(64, prepare=lambda made: prepared.append(made.data_ptr())).data_ptr() == place
    assert prepared == [place]
    assert allocate(64, torch.float64).data_ptr() != place


def test_a_view_or_a_graph_holds_it_too():
    first = allocate(8)
    view, place = first[2:].view(2, 3), first.data_ptr()
    weight = torch.ones(8, requires_grad=True)
    kept = (weight * first.fill_(2)).sum()
    del first
    assert allocate(8).data_ptr() != place
    del view
    other = allocate(8)
    assert other.data_ptr() != place
    kept.backward()
    assert torch.equal(weight.grad, torch.full((8,), 2.0))


@pytest.mark.slow
def test_no_more_is_kept_than_allowed(monkeypatch):
    """What was in use at once is kept: six pieces. Where another is wanted beside them, the oldest make room for it."""
    monkeypatch.setattr(buffers, "KEPT", 0)
    held = [allocate(50) for _ in range(6)]
    del held
    gc.collect()
    made: list[torch.Tensor] = []
    again = [allocate(50, prepare=made.append) for _ in range(6)]
    assert not made
    del again
    gc.collect()
    _other = allocate(75)
    _again = [allocate(50, prepare=made.append) for _ in range(6)]
    assert len(made) == 2


@pytest.mark.slow
def test_less_than_the_least_is_kept_whatever_was_in_use(monkeypatch):
    monkeypatch.setattr(buffers, "KEPT", 4 * 200)
    made: list[torch.Tensor] = []
    for count in (50, 60, 70, 50, 60, 70):
        piece = allocate(count, prepare=made.append)
        del piece
        gc.collect()
    assert len(made) == 3
    buffers.give_back()
    allocate(50, prepare=made.append)
    assert len(made) == 4, "and nothing is left once it was given back"


@given(st.lists(st.tuples(st.sampled_from([3, 5, 9]), st.booleans()), max_size=40))
def test_any_order_of_allocating_and_freeing_keeps_tensors_apart(moves):
    held: list[tuple[int, torch.Tensor]] = []
    for number, (count, free) in enumerate(moves):
        if free and held:
            held.pop(number % len(held))
        held.append((number, allocate(count).fill_(number)))
        assert all((tensor == value).all() for value, tensor in held)
