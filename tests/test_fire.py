"""Law 4: fire masks by counting."""

import struct

import mmh3
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nca3d.fire import draws, evaluation_seed, fire_mask, training_seed

words = st.integers(0, 2**32 - 1)
SIZE = (8, 9, 10)


def int32(word):
    return torch.tensor(word - 2**32 if word >= 2**31 else word, dtype=torch.int32)


@pytest.mark.parametrize(
    ("arguments", "golden"),
    [((0, 0, 0, 0), 0xD941144B), ((1, 2, 3, 4), 0xD4B33233), ((2**32 - 1,) * 4, 0x906FB002)],
)
def test_golden_values(arguments, golden):
    seed, *rest = arguments
    assert int(draws(seed, *map(int32, rest))) % 2**32 == golden


@given(seed=words, step=words, sample=words, cell=words)
def test_draw_is_murmur3(seed, step, sample, cell):
    """Against another implementation, over the whole range of every word."""
    expected = mmh3.hash(struct.pack("<III", step, sample, cell), seed, signed=False)
    assert int(draws(seed, int32(step), int32(sample), int32(cell))) % 2**32 == expected


@given(seed=words, step=st.integers(0, 2**32 - 5), ids=st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_mask_is_a_pure_function_of_its_four_numbers(seed, step, ids):
    """The same for a sample alone and in a batch, for one step and for several at once."""
    together = fire_mask(seed, [step, step + 1], ids, SIZE, 0.5)
    for place, sample in enumerate(ids):
        alone = fire_mask(seed, step + 1, [sample], SIZE, 0.5)
        assert torch.equal(together[1, place], alone[0])
    cell = (3 * SIZE[1] + 4) * SIZE[2] + 5
    expected = mmh3.hash(struct.pack("<III", step, ids[0] % 2**32, cell), seed, signed=False) < 2**31
    assert bool(together[0, 0, 0, 3, 4, 5]) == expected


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.9])
def test_mean_is_the_fire_rate(rate):
    """Within five standard errors, over all cells and over every axis of the draw."""
    mask = fire_mask(3, range(64), range(32), SIZE, rate).float().squeeze(2)
    for dims in ((0, 1, 2, 3, 4), (1, 2, 3, 4), (0, 2, 3, 4), (0, 1)):
        mean = mask.mean(dim=dims)
        count = mask.numel() / mean.numel()
        assert (mean - rate).abs().max() < 5 * (rate * (1 - rate) / count) ** 0.5


def test_rates_zero_and_one():
    assert not fire_mask(1, 0, [0], SIZE, 0.0).any()
    assert fire_mask(1, 0, [0], SIZE, 1.0).all()


@pytest.mark.parametrize("other", ["step", "sample", "seed", "cell d", "cell h", "cell w", "step+sample"])
def test_draws_are_independent(other):
    """The correlation between a draw and its neighbour in step, sample, seed or space is that of coin tosses."""
    count = 64
    mask = fire_mask(3, range(count + 1), range(count + 1), SIZE, 0.5).squeeze(2).float() - 0.5
    first, second = {
        "step": (mask[:-1], mask[1:]),
        "sample": (mask[:, :-1], mask[:, 1:]),
        "seed": (mask, fire_mask(4, range(count + 1), range(count + 1), SIZE, 0.5).squeeze(2).float() - 0.5),
        "cell d": (mask[:, :, :-1], mask[:, :, 1:]),
        "cell h": (mask[:, :, :, :-1], mask[:, :, :, 1:]),
        "cell w": (mask[..., :-1], mask[..., 1:]),
        "step+sample": (mask[:-1, 1:], mask[1:, :-1]),
    }[other]
    correlation = (first * second).mean() * 4
    assert abs(correlation) < 5 / first.numel() ** 0.5


def test_counts_of_a_cell_are_binomial():
    """Over many steps, how often cells fire spreads as coin tosses do: neither clumped nor too even."""
    steps = 512
    counts = fire_mask(9, range(steps), [0], SIZE, 0.5).sum(dim=0).float()
    variance = float(counts.var())
    assert 0.75 * steps / 4 < variance < 1.25 * steps / 4


@given(run_seed=st.integers(0, 2**31 - 1), count=st.integers(0, 10**6), other=st.integers(0, 10**6))
def test_training_and_evaluation_never_share_a_seed(run_seed, count, other):
    assert training_seed(run_seed, count) < 2**31 <= evaluation_seed(run_seed, other) < 2**32


def test_training_seeds_do_not_repeat():
    assert len({training_seed(0, iteration) for iteration in range(2_000)}) == 2_000


@pytest.mark.parametrize(
    "arguments",
    [
        (-1, 0, [0], SIZE, 0.5),
        (2**32, 0, [0], SIZE, 0.5),
        (0, -1, [0], SIZE, 0.5),
        (0, 0, [0], (0, 3, 3), 0.5),
        (0, 0, [0], SIZE, 1.5),
        (0, 0, [[0]], SIZE, 0.5),
    ],
)
def test_bad_arguments_are_one_line(arguments):
    with pytest.raises(ValueError, match=r"found .*, allowed") as caught:
        fire_mask(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_bits_on_a_gpu():
    ids = torch.arange(5)
    there = fire_mask(77, range(9), ids.cuda(), SIZE, 0.5)
    assert torch.equal(there.cpu(), fire_mask(77, range(9), ids, SIZE, 0.5))
