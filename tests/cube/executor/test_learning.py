"""Weights that move inside the backward pass become those that the optimizer would have made of them, or stay as they are."""

import contextlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nca3d
from nca3d.config.devices import multiplies_bf16
from nca3d.cube.executor.bounds import largest_gradient
from nca3d.cube.executor.learning import CellsInBackward, check
from nca3d.executors import library
from nca3d.training.eight_bit import eight_bit

pytestmark = pytest.mark.skipif(library.compiler_found() is None, reason="needs a C compiler")

SIZE = (3, 4, 5)
OPTIMIZERS = {
    "adam": lambda rule, **options: torch.optim.Adam(rule.parameters(), **options),
    "adamw": lambda rule, **options: torch.optim.AdamW(rule.parameters(), **options),
    "adamw8bit": lambda rule, **options: eight_bit([{"params": list(rule.parameters())}], options, rule.cells.small()),
}


class Trained:
    """A cube that learns, with or without moving its cells' weights inside the backward pass."""

    def __init__(self, name: str, inside: bool, dtype: torch.dtype = torch.float32, size=SIZE, **options) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rule = nca3d.GMLPRule(size, preset="cube", fire_rate=0.8, generator=generator, **options).to(dtype)
        self.optimizer = OPTIMIZERS[name](self.rule, lr=1e-2, weight_decay=0.1)
        self.inside = CellsInBackward(self.rule, self.optimizer) if inside else None

    def learn(self, number: int, steps: int = 5, batch: int = 3, half: bool = False, memory: str | int = "keep") -> None:
        rule, dtype = self.rule, next(self.rule.parameters()).dtype
        self.optimizer.zero_grad()
        generator = torch.Generator().manual_seed(number)
        asked = torch.randn(batch, rule.size[1] * rule.size[2], generator=generator, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            rest = rule.rest(batch).to(dtype)
            state = nca3d.rollout(rule, rest, steps, inputs=rule.ask(asked), random_seed=number, memory=memory)
        loss = rule.answer(state).square().mean()
        with self.inside.noting() if self.inside else contextlib.nullcontext():
            loss.backward()

    def step(self, number: int, **options) -> None:
        self.learn(number, **options)
        if self.inside:
            assert all(weight.grad is None for weight in self.rule.cells.own.values())
            assert self.inside.surely_finite()
        self.optimizer.step()
        if self.inside:
            self.inside.step()


def same(one: Trained, other: Trained, rtol: float, atol: float) -> None:
    for (name, a), b in zip(one.rule.named_parameters(), other.rule.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}")
        for key, value in one.optimizer.state[a].items():
            found = other.optimizer.state[b][key]
            if isinstance(value, torch.Tensor) and value.dtype != torch.uint8:
                torch.testing.assert_close(found.to(value), value, rtol=100 * rtol, atol=atol)


@pytest.mark.parametrize(
    "options", [{}, {"steps": 1}, {"steps": 7, "memory": 3}, {"batch": 40}, {"half": True}], ids=lambda options: str(options)
)
@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_the_weights_are_those_of_the_optimizer(name, options):
    plain, inside = Trained(name, False), Trained(name, True)
    for number in range(3):
        plain.step(number, **options)
        inside.step(number, **options)
    # Adam divides gradients by their size: where one is nearly zero, rounding decides. A step is 1e-2 long.
    if not (options.get("half") and multiplies_bf16()):
        same(plain, inside, rtol=1e-5, atol=2e-4)
        return
    # Processors that multiply bfloat16 round sums in another order: a few weights in a hundred have such a gradient.
    for (name, a), b in zip(plain.rule.named_parameters(), inside.rule.parameters(), strict=True):
        apart = (a - b).abs()
        assert apart.max() < 3e-2 and (apart > 2e-4).float().mean() < 0.03, name


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_to_the_last_digits_in_float64(name):
    plain, inside = Trained(name, False, torch.float64), Trained(name, True, torch.float64)
    for number in range(3):
        plain.step(number)
        inside.step(number)
    same(plain, inside, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_eight_bits_are_moved_block_by_block():
    """A lattice of more cells than are moved at once; the state's bits are those of the plain optimizer, or one level off."""
    pytest.importorskip("bitsandbytes")
    plain, inside = (Trained("adamw8bit", inside, size=(6, 7, 7)) for inside in (False, True))
    for number in range(3):
        plain.step(number)
        inside.step(number)
    differ = [
        (a - b).abs().gt(1e-4).float().mean() for a, b in zip(plain.rule.parameters(), inside.rule.parameters(), strict=True)
    ]
    assert max(differ) < 0.01
    own, states = inside.rule.cells.own, inside.optimizer.state
    assert states[own["enter"]]["state1"].dtype == torch.uint8
    assert states[own["enter_bias"]]["state1"].dtype == torch.float32, "cells' vectors would share blocks"
    for weight in own.values():
        assert states[weight]["step"] == 3


def test_gradients_can_be_written_after_all():
    plain, inside = Trained("adam", False), Trained("adam", True)
    plain.learn(1)
    inside.learn(1)
    inside.inside.write_gradients()
    for (name, a), b in zip(plain.rule.named_parameters(), inside.rule.parameters(), strict=True):
        if a.grad is not None:
            assert (a.grad - b.grad).abs().max() <= 1e-5 * a.grad.abs().max(), name


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["enter", "split", "gate_scale", "narrow", "candidate_of", "last_scale", "look", "weigh"]),
        st.floats(0.01, 30),
    ),
    st.floats(0.01, 100),
    st.integers(1, 4),
)
def test_no_gradient_is_beyond_its_bound(factors, asked, steps):
    """For any weights and inputs; the bound is a sum over steps."""
    made = Trained("adam", True, torch.float64)
    with torch.no_grad():
        for name, factor in factors.items():
            made.rule.cells.own[name].mul_(factor)
        made.rule.surface.requires_grad_(False)
    rule, batch = made.rule, 2
    question = asked * torch.randn(batch, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    state = nca3d.rollout(rule, rule.rest(batch).double(), steps, inputs=rule.ask(question))
    with made.inside.noting():
        state.sum().backward()
    sizes = {name: made.inside._size_of(name) for name in rule.cells.own}
    bound = sum(largest_gradient(rule, sizes, past.x, past.grad, past.front, past.outside) for past in made.inside.pasts)
    made.inside.write_gradients()
    assert max(float(weight.grad.abs().max()) for weight in rule.cells.own.values()) <= bound < math.inf


@pytest.mark.parametrize("where", ["weight", "input", "gradient"])
def test_what_is_not_finite_is_never_taken_for_finite(where):
    made = Trained("adam", True)
    if where == "weight":
        with torch.no_grad():
            made.rule.cells.own["widen"][17, 3, 4] = math.inf
    made.learn(0)
    if where == "input":
        made.inside.pasts[2].front[3] = math.nan
    elif where == "gradient":
        made.inside.pasts[0].grad[5] = math.nan
    assert not made.inside.surely_finite()


def test_a_weight_that_someone_else_changes_is_looked_at_again():
    made = Trained("adam", True)
    made.step(0)
    with torch.no_grad():
        made.rule.cells.own["widen"][0, 0, 0] = math.nan
    made.learn(1)
    assert not made.inside.surely_finite()


def test_what_can_not_be_moved_is_told():
    assert check(nca3d.GMLPRule(SIZE)) == ""
    assert "shared" in check(nca3d.GMLPRule(SIZE, weights="shared"))
    rule = nca3d.GMLPRule(SIZE)
    rule.cells.own["widen"].requires_grad_(False)
    assert check(rule) == "has frozen weights: widen"
