"""Diversity figures on pools whose answer is known."""

import json
import math

import pytest
import torch

import pools

SHAPE = (5, 3, 5, 4)
VALUES = math.prod(SHAPE)


def gen(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def orthogonal(k: int, size: float = 1.0) -> torch.Tensor:
    return size * torch.eye(VALUES)[:k].view(k, *SHAPE)


def summary(states: torch.Tensor, **options) -> dict[str, float]:
    figures = pools.diversity.summary(states, **options)
    assert all(type(value) is float and math.isfinite(value) for value in figures.values())
    json.dumps(figures)
    return figures


@pytest.mark.parametrize("state", [torch.randn(SHAPE, generator=gen()), torch.zeros(SHAPE), torch.full(SHAPE, 1e30)])
def test_equal_states_count_as_one(state):
    figures = summary(state.expand(12, *SHAPE))
    assert figures["distance_mean"] == figures["distance_nearest"] == 0
    assert figures["distance_to_mean"] < 1e-12 * float(state.abs().max() + 1)
    assert figures["effective_states"] == pytest.approx(1, abs=1e-5)
    assert figures["participation_ratio"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("k", [1, 2, 7, 40])
@pytest.mark.parametrize("size", [1.0, 2.0**-10, 1e4])
def test_orthogonal_states_count_as_many(k, size):
    figures = summary(orthogonal(k, size))
    assert figures["effective_states"] == pytest.approx(k)
    assert figures["participation_ratio"] == pytest.approx(k)
    apart = size * math.sqrt(2 / VALUES) if k > 1 else 0
    assert figures["distance_mean"] == pytest.approx(apart) == figures["distance_nearest"]
    assert figures["distance_to_mean"] == pytest.approx(size * math.sqrt((1 - 1 / k) / VALUES), abs=1e-12)


def test_copies_add_nothing():
    figures = summary(orthogonal(3).repeat(4, 1, 1, 1, 1))
    assert figures["effective_states"] == pytest.approx(3) and figures["distance_nearest"] == 0
    assert figures["distance_mean"] == pytest.approx(math.sqrt(2 / VALUES) * (12 * 8) / (12 * 11))


def test_effective_numbers_by_their_formulas():
    states = torch.randn(9, *SHAPE, generator=gen(2)) * torch.arange(1.0, 10).view(9, 1, 1, 1, 1)
    singular = torch.linalg.svdvals(states.flatten(1).double())
    share = singular / singular.sum()
    figures = summary(states)
    assert figures["effective_states"] == pytest.approx(math.exp(-float((share * share.log()).sum())))
    assert figures["participation_ratio"] == pytest.approx(float((singular**2).sum() ** 2 / (singular**4).sum()))
    pairs = torch.pdist(states.flatten(1).double()) / math.sqrt(VALUES)
    assert figures["distance_mean"] == pytest.approx(float(pairs.mean()))
    middle = states.double() - states.double().mean(0)
    assert figures["distance_to_mean"] == pytest.approx(float((middle**2).flatten(1).mean(1).sqrt().mean()))


def test_cells_and_shares():
    states = torch.zeros(4, *SHAPE)
    states[0, 3, 0, 0, :3] = 1.0
    states[1, 3, 1, 1, 2] = 0.05
    states[2, :, 2] = torch.nan
    figures = summary(states, alpha_channel=3)
    assert figures["states"] == 4 and figures["compared"] == 3 and figures["non_finite_share"] == 0.25
    assert figures["dead_share"] == 0.75 and figures["living_cells_max"] == 3 and figures["living_cells_min"] == 0
    assert figures["living_cells_mean"] == 0.75 and figures["living_cells_std"] == pytest.approx(1.299, abs=1e-3)
    assert summary(states)["dead_share"] == 0.25  # any value that is not 0


def test_a_pool_of_nothing_sound_still_answers():
    figures = summary(torch.full((3, *SHAPE), torch.nan))
    assert figures["compared"] == 0 and figures["non_finite_share"] == 1 and figures["effective_states"] == 0


def test_a_large_pool_is_thinned_the_same_way_each_time():
    states = torch.randn(1024, *SHAPE, generator=gen(3))
    figures = summary(states)
    assert figures == summary(states) and figures["states"] == 1024 and figures["compared"] == 256
    assert summary(states, max_states=50)["compared"] <= 50
    assert figures["distance_mean"] == pytest.approx(math.sqrt(2), abs=0.02)


@pytest.mark.parametrize(
    "states, options",
    [
        (torch.zeros(3, 4, 5, 6), {}),
        (torch.zeros(0, *SHAPE), {}),
        (torch.zeros(2, *SHAPE), {"alpha_channel": 5}),
        (torch.zeros(2, *SHAPE), {"max_states": 0}),
    ],
)
def test_what_does_not_fit_is_refused(states, options):
    with pytest.raises(ValueError, match=r"^diversity: \w+: found .*, allowed [^\n]*$"):
        pools.diversity.summary(states, **options)
