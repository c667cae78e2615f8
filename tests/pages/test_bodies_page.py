"""A rule of several bodies in a page and in a notebook: a button for each body, and the cells do what they do in Python."""

import pytest
import torch
from floats import PASS_FLOATS, as_floats

import nca3d
from nca3d.live.creature import Creature
from nca3d.live.page import live_page
from nca3d.rules import ConditionalRule

# They open real files in a real browser.
pytestmark = pytest.mark.slow

SIZE, NAMES, SEED = (8, 9, 10), ("newt", "moth", "crab"), 5


def lively(condition: str, **options) -> ConditionalRule:
    """A rule of three bodies that grow, each in another way."""
    generator = torch.Generator().manual_seed(0)
    rule = ConditionalRule(NAMES, condition, channels=12, hidden=(24,), generator=generator, **options)
    with torch.no_grad():
        last = rule.network[-1].weight
        last.copy_(0.1 * torch.randn(last.shape, generator=generator))
        last[rule.core.alpha].abs_()
        if rule.told:
            rule.shift.weight.mul_(4)
    return rule.requires_grad_(False)


def opened(page_of, file):
    page = page_of(file)
    page.wait_for_function("globalThis.creature !== undefined", timeout=20_000)
    page.evaluate("creature.ready")
    page.evaluate(f"() => {{ {PASS_FLOATS} }}")
    page.evaluate("creature.play(false)")
    return page


def state_of(page, channels: int) -> torch.Tensor:
    return torch.from_numpy(as_floats(page.evaluate("creature.state().then(coded)"))).view(channels, *SIZE)


def assert_close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("options", [{}, {"visible": 3, "visible_kind": "classes", "code": 2}], ids=["colours", "kinds"])
def test_cells_that_are_told_become_another_body_and_one_between(page_of, tmp_path, options):
    rule = lively("input", **options)
    page = opened(page_of, live_page(rule, tmp_path / "bodies.html", SIZE, random_seed=SEED))
    page.evaluate("creature.seed()")
    step = page.evaluate("creature.status()")["step"]
    page.evaluate("creature.run(5)")
    page.click("text=crab")
    page.evaluate("creature.run(4)")
    page.evaluate("creature.become([0.25, 0, 0.75])")
    page.evaluate("creature.run(3)")
    told = [0] * 5 + [2] * 4 + [0.25 * rule.codes[0] + 0.75 * rule.codes[2]] * 3
    start = nca3d.seed_state(rule, SIZE)
    wanted = nca3d.rollout(rule, start, 12, random_seed=SEED, first_step=step, condition=told)[0]
    assert_close(state_of(page, rule.channels), wanted)
    assert page.get_attribute("text=crab", "aria-pressed") == "true"


def test_the_next_first_cell_carries_the_body(page_of, tmp_path):
    rule = lively("seed")
    page = opened(page_of, live_page(rule, tmp_path / "bodies.html", SIZE, random_seed=SEED))
    page.keyboard.press("2")
    page.wait_for_function("creature.status().then((now) => now.living === 1)")
    step = page.evaluate("creature.status()")["step"]
    page.evaluate("creature.run(8)")
    wanted = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE, condition="moth"), 8, random_seed=SEED, first_step=step)[0]
    assert_close(state_of(page, rule.channels), wanted)


def test_a_body_in_python_becomes_another():
    rule = lively("input")
    creature = Creature(rule, SIZE, random_seed=SEED)
    creature.step(4)
    creature.become([0, 1, 0])
    creature.step(3)
    wanted = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 7, random_seed=SEED, condition=[0] * 4 + [1] * 3)
    assert torch.equal(creature.state, wanted)
    with pytest.raises(nca3d.InputError, match="found 2 shares, allowed one for each of newt, moth, crab"):
        creature.become([1, 0])
    with pytest.raises(nca3d.InputError, match="none: the rule grows one body"):
        Creature(nca3d.ConvRule(8, (8,)), SIZE).become([1])


def test_a_notebook_has_the_buttons():
    pytest.importorskip("anywidget")
    widget = nca3d.live(lively("input"), size=SIZE)
    sent = []
    widget.send = lambda content, buffers: sent.append(content["frame"])
    assert widget.about["bodies"] == list(NAMES) and widget.about["told"]
    widget._receive(widget, {"call": "become", "with": [0, 0, 1]}, [])
    assert torch.equal(widget.creature.condition, widget.creature.rule.codes[2]) and sent
