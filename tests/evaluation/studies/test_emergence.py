"""Each measure of emergence on states whose answer is known."""

import math

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import nca3d
from nca3d.evaluation.studies.dynamics import lyapunov, moving, period, specialisation
from nca3d.evaluation.studies.emergence import EXPLANATIONS, cropped, emergence, wavelength
from nca3d.rules import ConvRule, Rule
from pools import pattern

SIZE = (8, 8, 8)


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def checkerboard(n=8):
    return (torch.stack(torch.meshgrid(*(torch.arange(n),) * 3, indexing="ij")).sum(0) % 2)[None]


def test_morans_i_of_a_checkerboard_halves_a_ramp_and_noise():
    assert pattern.morans_i(checkerboard()[:, None].double()).item() == pytest.approx(-1)
    halves = (torch.arange(16) < 8).double().expand(1, 1, 16, 16, 16)
    # of 3 · 15 · 256 pairs the 256 across the border are unlike
    assert pattern.morans_i(halves).item() == pytest.approx(1 - 2 / 45)
    assert pattern.morans_i(torch.arange(32.0).expand(1, 1, 4, 4, 32)).item() > 0.9
    many = pattern.morans_i(noise(40, 1, *SIZE))
    assert many.mean().item() == pytest.approx(-1 / 511, abs=0.01)
    assert many.std().item() < 0.06


@settings(max_examples=examples(20))
@given(constant=st.floats(-1e30, 1e30), size=st.tuples(*[st.integers(1, 9)] * 3))
def test_any_constant_has_no_pattern(constant, size):
    field = torch.full((1, 2, *size), constant, dtype=torch.float64)
    assert pattern.morans_i(field).item() == 0
    assert pattern.neighbour_information(torch.zeros(1, *size)).item() == 0
    assert wavelength(field) == {"peak_wavelength": None, "spectral_centroid": None}


@settings(max_examples=examples(20))
@given(scale=st.floats(1e-9, 1e200) | st.floats(-1e200, -1e-9), shift=st.floats(-100, 100), seed=st.integers(0, 99))
def test_morans_i_minds_neither_scale_nor_shift_nor_place(scale, shift, seed):
    field = noise(1, 1, 4, 5, 6, seed=seed)
    plain = pattern.morans_i(field)
    torch.testing.assert_close(pattern.morans_i(scale * (field + shift)), plain, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(pattern.morans_i(field.permute(0, 1, 4, 2, 3).flip(3)), plain)
    where = torch.zeros(1, 9, 9, 9, dtype=torch.bool)
    where[:, 2:6, 3:8, 1:7] = True
    room = torch.full((1, 1, 9, 9, 9), 7.0, dtype=torch.float64)
    room[:, :, 2:6, 3:8, 1:7] = field
    torch.testing.assert_close(pattern.morans_i(room, where), plain)


def test_spatial_entropy_of_nothing_noise_and_a_solid():
    assert pattern.spatial_entropy(torch.zeros(1, *SIZE, dtype=torch.bool)).item() == 0
    coin = noise(1, 40, 40, 40) < 0.5
    assert pattern.spatial_entropy(coin).item() == pytest.approx(math.log2(255), abs=0.1)
    one = torch.zeros(1, *SIZE, dtype=torch.bool)
    one[0, 3, 4, 5] = True  # one cell makes eight blocks, each of another kind
    assert pattern.spatial_entropy(one).item() == pytest.approx(3)
    solid = torch.ones(1, 30, 30, 30, dtype=torch.bool)
    assert pattern.spatial_entropy(solid).item() < 1.5


def test_compressibility_of_a_constant_and_of_noise():
    assert pattern.compressibility(torch.full((1, 3, 16, 16, 16), 0.5)).item() > 0.99
    assert pattern.compressibility(noise(1, 3, 16, 16, 16)).item() < 0.02
    assert 0.5 < pattern.compressibility(checkerboard(16)[:, None].float()).item() <= 1
    # beyond what can be seen there is nothing to describe
    bright = pattern.compressibility(1 + noise(1, 3, 16, 16, 16))
    assert torch.equal(bright, pattern.compressibility(torch.ones(1, 3, 16, 16, 16)))


def test_neighbour_information_of_noise_and_of_certain_neighbours():
    coin = (noise(20, *SIZE) < 0.5).long()
    found = pattern.neighbour_information(coin)
    assert found.mean().item() == pytest.approx(0, abs=0.003)
    assert pattern.neighbour_information(checkerboard()).item() == pytest.approx(1, abs=0.01)
    assert pattern.neighbour_information(torch.ones(1, *SIZE, dtype=torch.long)).item() == 0
    stripes = (torch.arange(64) // 32).expand(1, 2, 2, 64)
    assert pattern.neighbour_information(stripes).item() > 0.85


@pytest.mark.parametrize("waves", [2, 4])
def test_the_spatial_spectrum_finds_a_plane_wave(waves):
    wave = torch.sin(2 * math.pi * waves * torch.arange(32.0) / 32).expand(1, 1, 32, 32, 32)
    frequencies, power = pattern.spatial_spectrum(wave)
    assert frequencies[power[0].argmax()].item() == pytest.approx(waves / 32)
    assert power[0].max() > 0.99 * power[0].sum()


def test_the_temporal_spectrum_finds_a_period():
    series = torch.stack([torch.sin(2 * math.pi * torch.arange(128.0) / period) for period in (8, 16)], dim=1)
    frequencies, power = pattern.temporal_spectrum(series)
    assert (1 / frequencies[power.argmax(dim=0)]).tolist() == [8, 16]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_the_temporal_spectrum_takes_what_is_not_finite_for_nothing(odd):
    series = torch.sin(torch.arange(32.0))[:, None]
    series[9] = 0.0
    spoiled = series.clone()
    spoiled[9] = odd
    assert torch.equal(pattern.temporal_spectrum(spoiled)[1], pattern.temporal_spectrum(series)[1])


def test_the_spectra_know_the_middle_of_what_they_hold():
    # noise holds every frequency alike, and a ring of the spectrum is a mean, not a sum
    frequencies, power = pattern.spatial_spectrum(noise(1, 1, 24, 24, 24))
    assert (frequencies * power[0]).sum().item() / power.sum().item() == pytest.approx(frequencies.mean().item(), rel=0.05)
    assert pattern.temporal_spectrum(torch.full((20, 1), 1e7 / 3))[1].max().item() < 1e-9
    first = torch.zeros(20, 1)
    first[0] = 1.0  # the window does not see the first value, so neither must the mean
    assert pattern.temporal_spectrum(first)[1].max().item() < 1e-20


@settings(max_examples=examples(20))
@given(seed=st.integers(0, 9999), size=st.tuples(*[st.integers(1, 6)] * 3), kind=st.sampled_from(["rgb", "classes"]))
def test_whatever_a_state_holds_its_measures_are_finite_and_in_range(seed, size, kind):
    generator = torch.Generator().manual_seed(seed)
    shown = 10.0 ** torch.randint(-30, 38, (2, 4, *size), generator=generator) * torch.randn(2, 4, *size, generator=generator)
    odd = torch.tensor([torch.nan, torch.inf, -torch.inf, 0.0])[torch.randint(0, 4, shown.shape, generator=generator)]
    shown = torch.where(torch.rand(shown.shape, generator=generator) < 0.2, odd, shown)
    found = pattern.summary(shown, kind)
    ranges = {"morans_i": (-3, 3), "spatial_entropy": (0, 8), "compressibility": (0, 1), "neighbour_information": (0, 3)}
    for name, (low, high) in ranges.items():
        assert found[name].shape == (2,) and bool(((low <= found[name]) & (found[name] <= high)).all()), name


def test_what_is_no_field_is_refused():
    with pytest.raises(ValueError, match=r"field: found \(1, 4, 4, 4\)"):
        pattern.morans_i(torch.zeros(1, 4, 4, 4))
    with pytest.raises(ValueError, match="none of K,D,H,W 0"):
        pattern.spatial_spectrum(torch.zeros(1, 1, 4, 0, 4))
    with pytest.raises(ValueError, match="series: found"):
        pattern.temporal_spectrum(torch.zeros(0, 1))


class Linear(Rule):
    """x -> x + rate · x everywhere: what it does to a difference is known exactly."""

    rate = 0.1

    def kernels(self):
        return [None]

    def update(self, perception):
        return self.rate * perception

    def spec(self):
        return {}


@pytest.mark.parametrize("rate", [0.1, -0.2, 0.0])
def test_lyapunov_of_a_linear_rule_is_the_log_of_its_factor(rate):
    rule = Linear(6, fire_rate=1.0)
    rule.rate = rate
    state = torch.ones(2, 6, 5, 5, 5)
    found = lyapunov(rule, state, steps=10, random_seed=2**31, every=3)
    assert found == pytest.approx([math.log(1 + rate)] * 2, abs=1e-6)


@pytest.mark.parametrize("rate", [0.5, -0.5])
def test_lyapunov_counts_only_the_steps_in_which_a_cell_fires(rate):
    """Half of the cells fire: the difference's square goes with the mean of (1 + rate)² and 1 in the first step."""
    rule = Linear(6, fire_rate=0.5)
    rule.rate = rate
    (found,) = lyapunov(rule, torch.ones(1, 6, 12, 12, 12), steps=1, random_seed=2**31)
    assert found == pytest.approx(math.log((1 + (1 + rate) ** 2) / 2) / 2, abs=0.02)


@pytest.mark.slow
def test_lyapunov_minds_neither_the_executor_nor_how_often_the_difference_is_set_back():
    rule = nca3d.load("zoo:cross", trainable=True)
    grown = nca3d.rollout(rule, nca3d.seed_state(rule, tuple(rule.card["size"])), 20).detach()
    run = {"steps": 12, "random_seed": 2**31}
    (plain,) = lyapunov(rule, grown, executor="dense", **run)
    assert abs(plain) > 1e-3
    for changes in ({"executor": "event"}, {"executor": "dense", "every": 3}, {"executor": "dense", "every": 12}):
        assert lyapunov(rule, grown, **run, **changes) == pytest.approx([plain], rel=1e-3), changes
    assert next(rule.parameters()).dtype == torch.float32 and next(rule.parameters()).requires_grad


def test_lyapunov_of_nothing_is_not_measured():
    assert lyapunov(ConvRule(), torch.zeros(1, 16, 5, 5, 5), steps=4, random_seed=2**31) == [None]
    with pytest.raises(ValueError, match="steps 0"):
        lyapunov(ConvRule(), torch.zeros(1, 16, 5, 5, 5), steps=0, random_seed=2**31)


def test_a_period_is_found_where_a_wave_stands_clear_and_only_there():
    time = torch.arange(64.0)
    wave = torch.sin(2 * math.pi * time / 8)
    assert period(1 + 0.1 * wave) == pytest.approx(8)
    assert period(1 + 0.1 * wave + 0.05 * torch.randn(64, generator=torch.Generator().manual_seed(1))) == 8
    draws = noise(200, 64)
    assert sum(period(draw) is not None for draw in draws) <= 2
    settles = [torch.exp(-time / pace) for pace in (0.1, 1, 3, 10, 30)]
    still = [torch.zeros(64), torch.full((64,), 1e7 / 3), 1 + 1e-6 * wave]
    slow = [torch.sin(2 * math.pi * time / 64), torch.sin(2 * math.pi * time / 40)]
    for series in (*settles, *still, *slow, wave[:9], wave * torch.nan):
        assert period(series) is None


def test_activity_is_the_mean_change_of_what_a_cell_shows():
    rule = Linear(6, fire_rate=1.0)
    found = moving(rule, torch.ones(1, 6, 4, 4, 4), steps=1, random_seed=2**31, sample_ids=torch.tensor([0]))
    assert found["activity"] == pytest.approx(0.1)


def test_specialisation_of_sameness_of_kinds_and_of_noise():
    steps, cells = 50, 400
    kinds = torch.eye(4, dtype=torch.float64)[torch.arange(cells) % 4].t()  # four kinds of cells, each constant
    found = specialisation(steps * kinds, steps * kinds.square(), steps)
    assert found["specialisation"] == pytest.approx(1)
    assert found["behaviours"] == pytest.approx(3)  # four kinds differ in three directions
    values = noise(steps, 4, cells)  # every cell does the same by chance
    found = specialisation(values.sum(0), values.square().sum(0), steps)
    assert found["specialisation"] == pytest.approx(1 / steps, rel=0.2)
    same = torch.ones(4, cells, dtype=torch.float64)
    assert specialisation(steps * same, steps * same, steps) == {"specialisation": None, "behaviours": None}
    large = 1e7 / 3 * same
    assert specialisation(steps * large, steps * large.square(), steps)["specialisation"] is None
    assert specialisation(same * torch.inf, same, steps) == {"specialisation": None, "behaviours": None}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["dense", "event"])
def test_the_collection_has_every_figure_for_every_body(executor):
    rule = nca3d.load("zoo:cross")
    size = tuple(rule.card["size"])
    grown = nca3d.rollout(rule, nca3d.seed_state(rule, size, 2), 32).detach()
    states = torch.cat([grown, 0 * grown[:1], grown[:1] * torch.nan])
    found = emergence(rule, states, steps=16, random_seed=2**31, executor=executor)
    assert list(found) == list(EXPLANATIONS)
    for name, values in found.items():
        assert len(values) == 4 and values[2:] == [None, None], name
        assert all(value is None or math.isfinite(value) for value in values), name
    assert all(0 < value < 1 for value in found["morans_i"][:2])
    assert all(value > 0.5 for value in found["specialisation"][:2])


@pytest.mark.parametrize("rate", [1e3, -1.0, 1e30])
def test_a_body_that_blows_up_or_dies_has_no_dynamics(rate):
    rule = Linear(6, fire_rate=1.0)
    rule.rate = rate
    found = emergence(rule, 0.2 + noise(1, 6, 5, 5, 5).float(), steps=16, random_seed=2**31)
    for name in ("activity_period", "lyapunov", "specialisation", "behaviours"):
        assert found[name] == [None], name
    assert found["morans_i"] != [None]


def test_a_body_is_measured_alone_and_nothing_random_is_used_up():
    rule = nca3d.load("zoo:cross")
    grown = nca3d.rollout(rule, nca3d.seed_state(rule, tuple(rule.card["size"]), 2), 20).detach()
    before, kept = torch.get_rng_state(), grown.clone()
    both, one = (emergence(rule, states, steps=8, random_seed=2**31) for states in (grown, grown[:1]))
    assert torch.equal(torch.get_rng_state(), before) and torch.equal(grown, kept)
    assert {name: values[:1] for name, values in both.items()} == one


def test_what_can_not_be_watched_is_refused():
    with pytest.raises(ValueError, match="steps: found 0"):
        emergence(ConvRule(), torch.zeros(1, 16, 5, 5, 5), steps=0, random_seed=2**31)
    with pytest.raises(ValueError, match="states: found"):
        emergence(ConvRule(), torch.zeros(16, 5, 5, 5), random_seed=2**31)


def test_the_lattice_around_a_body_does_not_count():
    rule = ConvRule(channels=8)
    state = torch.zeros(1, 8, 9, 9, 9)
    state[:, 3, 4, 4, 4] = 1.0
    assert cropped(state, rule).shape == (1, 8, 3, 3, 3)
    assert cropped(0 * state, rule).numel() == 0
    oblong = torch.rand(2, 3, 7, 8, 9)
    where = torch.zeros(2, 7, 8, 9, dtype=torch.bool)
    where[0, 1, 2:5, 3:8] = where[1, 2, 4, 3] = True
    assert torch.equal(pattern.cropped(oblong, where), oblong[:, :, 1:3, 2:5, 3:8])
