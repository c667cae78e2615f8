"""Adapters: any embedding to any face and back; the closed form is the best there is; all weights can go on learning."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from nca3d.cube.adapters import ADAPTERS
from nca3d.cube.adapters.adapter import Adapter, components, orthonormal
from nca3d.cube.adapters.hierarchical import HierarchicalAdapter, patches, sides
from nca3d.errors import InputError


def generator(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def data(count: int, embedding: int, rank: int, number: int = 1) -> torch.Tensor:
    """Rows with a mean, of falling variance along `rank` directions, far from size 1."""
    draw = generator(number)
    weights = torch.randn(count, rank, generator=draw) * torch.linspace(1, 0.05, rank)
    return 7 * weights @ torch.randn(rank, embedding, generator=draw) + 3


def made(name: str, embedding: int, pixels: int) -> Adapter:
    adapter: Adapter = ADAPTERS[name](embedding, pixels, generator())
    return adapter


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
@settings(max_examples=examples(12))
@given(embedding=st.integers(1, 80), pixels=st.integers(1, 80), batch=st.integers(1, 5))
def test_any_sizes(name, embedding, pixels, batch):
    adapter = made(name, embedding, pixels)
    x = torch.randn(batch, embedding, generator=generator(2))
    surface = adapter(x)
    assert surface.shape == (batch, pixels)
    assert adapter.decode(surface).shape == (batch, embedding)
    assert torch.equal(surface, adapter.encode(x))
    assert torch.allclose(surface[:1], adapter(x[:1]), atol=1e-5), "each embedding by itself"
    assert 0 <= adapter.fit(x, steps=2) <= 1
    assert all(torch.isfinite(parameter).all() for parameter in adapter.parameters())


@pytest.mark.parametrize("name", ADAPTERS)
def test_llama_sizes_on_the_meta_device(name):
    with torch.device("meta"):
        adapter = ADAPTERS[name](4096, 225)
        surface = adapter(torch.zeros(2, 4096))
        assert surface.shape == (2, 225) and surface.is_meta
        assert adapter.decode(surface).shape == (2, 4096)
    assert sum(parameter.numel() for parameter in adapter.parameters()) < 3_000_000
    assert all(parameter.is_meta for parameter in adapter.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", ADAPTERS)
def test_fit_brings_back_what_was_squeezed(name):
    x = data(300, 96, 60)
    adapter = made(name, 96, 36)
    before = adapter.lost(x)
    after = adapter.fit(x, steps=60)
    best = made("linear", 96, 36).fit(x)
    assert after == pytest.approx(adapter.lost(x))
    assert after < before / 2
    assert after < best * 1.3 + 1e-6
    size = adapter(x).detach().square().mean(dim=0).sqrt()
    assert float(size.min()) > 0.5 and float(size.max()) < 2, "pixels of comparable size"


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_fit_is_repeatable_and_its_generator_matters(name):
    x = data(150, 20, 12)
    one, two = made(name, 20, 9), made(name, 20, 9)
    one.fit(x, steps=5)
    two.fit(x, steps=5, generator=generator())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    two.fit(x, steps=5, generator=generator(1))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("name", ADAPTERS)
def test_gradients_reach_all_weights(name):
    adapter = made(name, 70, 16)
    x = torch.randn(6, 70, generator=generator(3))
    surface = adapter(x)
    (adapter.decode(surface).square().sum() + surface.square().sum()).backward()
    weights = dict(adapter.named_parameters())
    assert weights
    assert not [name for name, weight in weights.items() if weight.grad is None or not weight.grad.abs().sum() > 0]


@pytest.mark.parametrize("name", ADAPTERS)
def test_weights_are_kept(name):
    x = data(60, 12, 8)
    adapter = made(name, 12, 9)
    adapter.fit(x, steps=3)
    again = ADAPTERS[name](12, 9)
    again.load_state_dict(adapter.state_dict())
    assert torch.equal(again(x), adapter(x))
    assert set(adapter.state_dict()) == {label for label, _ in adapter.named_parameters()}


@pytest.mark.parametrize("name", ["linear", "hierarchical"])
@settings(max_examples=examples(15))
@given(count=st.integers(2, 40), embedding=st.integers(1, 40), pixels=st.integers(1, 40))
def test_the_closed_form_is_numpys(name, count, embedding, pixels):
    x = torch.randn(count, embedding, generator=generator(count * 1000 + embedding)) * 5 + 2
    adapter = made(name, embedding, pixels)
    adapter.fit(x)
    wide = x.double().numpy() - x.double().numpy().mean(axis=0)
    left, sizes, right = np.linalg.svd(wide, full_matrices=False)
    kept = min(pixels, len(sizes))
    best = left[:, :kept] * sizes[:kept] @ right[:kept] + x.double().numpy().mean(axis=0)
    assert np.abs(adapter.decode(adapter(x)).detach().numpy() - best).max() < 2e-3 * np.abs(wide).max()


def test_components_fall_and_stop_at_the_rank():
    x = data(50, 30, 7)
    directions, sizes = components(x, 20)
    assert directions.shape == (7, 30) and sizes.shape == (7,)
    assert bool((sizes.diff() <= 0).all())
    assert torch.allclose(directions @ directions.T, torch.eye(7, dtype=torch.float64), atol=1e-5)
    assert components(torch.ones(4, 3), 2).sizes.shape == (0,)


@pytest.mark.parametrize("name", ["linear", "hierarchical"])
def test_information_is_spread_over_the_face(name):
    """Few components, many pixels: every pixel still carries something, and none of it is blown-up noise."""
    x = data(400, 64, 12) + 0.05 * torch.randn(400, 64, generator=generator(5))
    adapter = made(name, 64, 225)
    adapter.fit(x)
    size = adapter(x).detach().square().mean(dim=0).sqrt()
    assert float(size.min()) > 0.1
    nudged = adapter(x + 0.05 * torch.randn(400, 64, generator=generator(6)))
    assert float((nudged - adapter(x)).detach().square().mean().sqrt()) < 0.2


def test_coarse_levels_say_the_most():
    x = data(300, 80, 60)
    adapter = made("hierarchical", 80, 225)
    assert isinstance(adapter, HierarchicalAdapter)
    adapter.fit(x)
    surface = adapter(x).detach()
    parts = [adapter._own(surface, level) for level in range(len(adapter.cells))]
    assert adapter.cells == [4, 25, 225]
    assert torch.allclose(sum(parts), surface, atol=1e-5)
    lost, told = [], torch.zeros_like(surface)
    for part in parts:
        told = told + part
        lost.append(float((adapter.decode(told) - x).detach().square().sum()))
    assert lost[0] > lost[1] > lost[2]
    assert lost[2] < 1e-6 * lost[0]
    assert float(adapter._averages(parts[2], 1).abs().max()) < 1e-5, "a finer level says nothing about a coarser patch"


@given(pixels=st.integers(1, 300))
def test_patches_nest(pixels):
    rows, columns = sides(pixels)
    assert rows * columns == pixels and rows <= columns
    levels = patches(rows, columns)
    assert levels[-1].tolist() == list(range(pixels))
    for coarse, fine in pairwise(levels):
        assert len(set(zip(fine.tolist(), coarse.tolist(), strict=True))) == len(set(fine.tolist()))


def test_orthonormal():
    turn = orthonormal(9, 4, generator())
    assert torch.allclose(turn.T @ turn, torch.eye(4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("embeddings", "words"),
    [
        (torch.zeros(3, 5), "(3, 5), allowed (N, 4)"),
        (torch.zeros(4), "(4,), allowed (N, 4)"),
        (torch.zeros(0, 4), "(0, 4)"),
        (torch.full((2, 4), torch.nan), "not finite"),
        (torch.zeros(2, 4, dtype=torch.int64), "int64"),
    ],
)
def test_embeddings_that_do_not_fit(embeddings, words):
    with pytest.raises(InputError) as caught:
        made("linear", 4, 9).fit(embeddings)
    assert words in str(caught.value)


@pytest.mark.parametrize("sizes", [(0, 4), (4, -1), (True, 4), (2.5, 4)])
def test_sizes_that_are_none(sizes):
    with pytest.raises(ValueError, match="a whole number of 1 or more"):
        ADAPTERS["linear"](*sizes)


def test_unknown_adapters_get_a_hint():
    with pytest.raises(InputError, match="did you mean 'linear'"):
        ADAPTERS.find("liner")
