"""Law 5 in a browser: the cells of a page agree with PyTorch, their fire masks bit for bit."""

import numpy as np
import pytest
import torch
from floats import PASS_FLOATS, as_floats, as_text
from rule_cases import RULE_CASES, SIZE, body, fresh, lively

import nca3d
from nca3d.fire import fire_mask
from nca3d.live.page import ENGINE, script
from nca3d.live.payload import describe
from nca3d.metrics import hues
from nca3d.rules import ConvRule

# They open real files in a real browser.
pytestmark = pytest.mark.slow

FOREIGN = ["own network"]
"""Rules whose update is their own: the page refuses them."""

RUN = """([rule, weights, state, steps, seed, first]) => {
  const cells = new Cells(rule, floats(weights), { seed });
  cells.state = floats(state);
  cells.stepNumber = first;
  for (let i = 0; i < steps; i++) cells.step();
  return coded(cells.state);
}"""


@pytest.fixture
def engine(page_of):
    """A page that holds nothing but the engine."""
    page = page_of("about:blank")
    source = "\n".join(script(name) for name in ENGINE)
    page.add_script_tag(content=PASS_FLOATS + source + "\nObject.assign(globalThis, { Cells, draw, beginDraw });")
    return page


def in_page(engine, rule, state, steps, seed, first=0):
    size = tuple(state.shape[2:])
    rule_record, weights = describe(rule, size, hues(rule.visible) if rule.visible_kind == "classes" else None)
    given = [rule_record, as_text(weights), as_text(state[0].numpy()), steps, seed, first]
    return torch.from_numpy(as_floats(engine.evaluate(RUN, given)).reshape(state.shape))


def assert_agrees(engine, rule, state, steps, seed, first=0, tolerance=1e-5):
    found = in_page(engine, rule, state, steps, seed, first)
    with torch.no_grad():
        wanted = nca3d.rollout(rule, state, steps, random_seed=seed, first_step=first)
    assert (found - wanted).abs().max() <= tolerance * wanted.abs().max().clamp_min(1e-30)
    return wanted


@pytest.mark.parametrize("name", [name for name in RULE_CASES if name not in FOREIGN])
def test_every_rule_agrees_over_16_steps(engine, name):
    rule = lively(name)
    assert_agrees(engine, rule, nca3d.seed_state(rule, SIZE), 16, 11)
    assert_agrees(engine, rule, body(rule, 1), 16, 2**32 - 1, first=2**32 - 17)
    assert_agrees(engine, rule, body(rule, 1, share=1.0), 3, 5)


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 5, 9), (12, 1, 2), (3, 2, 17)])
@pytest.mark.parametrize("padding", ["zeros", "replicate", "circular"])
def test_any_lattice_agrees(engine, size, padding):
    rule = lively("gradient+laplacian")
    rule.padding = padding
    assert_agrees(engine, rule, body(rule, 1, size, share=0.6), 6, 3)


def test_the_rim_lives_and_dies_as_in_torch(engine):
    """Cells whose fate is decided by neighbours that are outside the body and die at once."""
    rule = lively("gradient", strength=0.6)
    with torch.no_grad():
        list(rule.parameters())[-1].neg_()
    for seed in range(12):
        for steps in (1, 2, 3):
            assert_agrees(engine, rule, body(rule, 1, share=0.15, random_seed=seed), steps, seed)


def test_without_an_alive_mask_every_cell_lives(engine):
    rule = ConvRule(channels=6, hidden=(8,), visible=3, alive_threshold=None)
    with torch.no_grad():
        rule.network[-1].weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    assert_agrees(engine, rule, nca3d.seed_state(rule, SIZE), 8, 4)


def test_a_fresh_rule_does_nothing_and_vacuum_stays(engine):
    """Laws 1 and 2."""
    rule = fresh("gradient")
    seed = nca3d.seed_state(rule, SIZE)
    assert torch.equal(in_page(engine, rule, seed, 9, 1), seed)
    rule = lively("gradient")
    assert not in_page(engine, rule, torch.zeros_like(seed), 9, 1).any()


@pytest.mark.parametrize("name", nca3d.zoo())
def test_the_zoo_grows_as_in_torch(engine, name):
    rule = nca3d.load(f"zoo:{name}")
    rule = rule.bound(rule.conditions[0]) if rule.conditions else rule
    size = tuple(rule.card["size"])
    assert_agrees(engine, rule, nca3d.seed_state(rule, size), 16, 2**31 + 7, tolerance=1e-4)


def test_fire_masks_are_ours_bit_for_bit(engine):
    size = (3, 4, 5)
    draws = """([seed, steps, sample, cells, below]) => steps.map((step) => {
      const begun = beginDraw(seed, step, sample);
      return Array.from({ length: cells }, (_, cell) => Number(draw(begun, cell) < below)).join("");
    })"""
    for seed, sample, rate in [(0, 0, 0.5), (2**32 - 1, 2**32 - 1, 0.3), (2**31 + 5, 17, 0.999), (7, 3, 1.0)]:
        steps = [0, 1, 2**31, 2**32 - 1]
        found = engine.evaluate(draws, [seed, steps, sample, 60, round(rate * 2**32)])
        wanted = fire_mask(seed, steps, torch.tensor([sample]), size, rate).flatten(1).int().tolist()
        assert found == ["".join(map(str, mask)) for mask in wanted]
    golden = [(0, 0, 0, 0, 0xD941144B), (1, 2, 3, 4, 0xD4B33233), (2**32 - 1,) * 4 + (0x906FB002,)]
    for seed, step, sample, cell, value in golden:
        assert engine.evaluate("([a, b, c, d]) => draw(beginDraw(a, b, c), d)", [seed, step, sample, cell]) == value


def test_pictures_are_ours(engine):
    """What the page paints is `to_rgba`, to the nearest of 256 values."""
    for name in ("gradient", "classes"):
        rule = lively(name)
        with torch.no_grad():
            state = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 8)
        rule_record, weights = describe(rule, SIZE, hues(rule.visible))
        paint = """([rule, weights, state]) => { const cells = new Cells(rule, floats(weights)); cells.state = floats(state);
          return Array.from(cells.paint(new Uint8Array(4 * cells.volume))); }"""
        found = np.array(engine.evaluate(paint, [rule_record, as_text(weights), as_text(state[0].numpy())]))
        wanted = 255 * nca3d.to_rgba(state, rule)[0]
        assert np.abs(found.reshape(wanted.shape) - wanted).max() <= 0.51


@pytest.mark.parametrize("name", FOREIGN)
def test_other_rules_are_refused_with_a_way_out(name):
    with pytest.raises(nca3d.InputError, match="Jupyter"):
        describe(fresh(name), SIZE)
