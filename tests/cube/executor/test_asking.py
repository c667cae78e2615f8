"""A cube that is asked layer by layer says what the whole one says, to the bit."""

from typing import Any

import pytest
import torch

import nca3d
from nca3d.cube.answers import say
from nca3d.cube.executor.asking import Cone, cone_of
from nca3d.cube.executor.native import unsupported


def cube(size: tuple[int, int, int] = (4, 3, 5), **options: Any) -> nca3d.GMLPRule:
    generator = torch.Generator().manual_seed(3)
    options = {"preset": "cube", "features": 6, "memory": 4, "external": 2, "widened": 8, "fire_rate": 0.8, **options}
    rule = nca3d.GMLPRule(size, generator=generator, **options)
    if unsupported(rule, rule.rest(1)):
        pytest.skip("nothing can be compiled here")
    with torch.no_grad():
        for weight in rule.parameters():  # so that a layer at rest is not all zeros
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return rule


def questions(rule: nca3d.GMLPRule, count: int) -> torch.Tensor:
    return torch.randn(count, rule.size[1] * rule.size[2], generator=torch.Generator().manual_seed(1))


def whole(rule: nca3d.GMLPRule, asked: torch.Tensor, steps: int, seed: int = 0) -> torch.Tensor:
    return say(rule, asked, steps, random_seed=seed, sample_ids=torch.zeros(len(asked), dtype=torch.int64))[0]


def cone(rule: nca3d.GMLPRule, steps: int, seed: int = 0, narrow: bool = False) -> Cone:
    found = cone_of(rule, steps, seed, narrow)
    assert found is not None
    return found


@pytest.mark.parametrize("steps", [3, 4, 6, 11])
@pytest.mark.parametrize(
    "options",
    [{}, {"weights": "shared"}, {"mixing": False, "external": 0}, {"fire_rate": 1.0}, {"start": "carry"}, {"preset": "nca"}],
    ids=str,
)
def test_the_answer_is_that_of_the_whole_cube(options: dict[str, Any], steps: int) -> None:
    rule = cube(**options)
    ask = cone(rule, steps, seed=7)
    for count in (1, 9, 33):
        asked = questions(rule, count)
        assert torch.equal(ask.say(asked), whole(rule, asked, steps, seed=7))


@pytest.mark.parametrize("size", [(2, 3, 3), (3, 1, 4), (7, 2, 2)])
def test_lattices_of_any_depth(size: tuple[int, int, int]) -> None:
    rule = cube(size)
    for steps in range(size[0] - 1, size[0] + 3):
        asked = questions(rule, 3)
        assert torch.equal(cone(rule, steps).say(asked), whole(rule, asked, steps))


def test_few_layers_are_computed() -> None:
    ask = cone(cube((11, 2, 2)), 13)
    layers = [ask.layers(number) for number in range(13)]
    assert sum(part.stop - part.start for part in layers) == 43
    assert (layers[0], layers[-1]) == (slice(0, 2), slice(10, 11))


def test_an_answer_does_not_depend_on_the_batch() -> None:
    rule = cube()
    ask, asked = cone(rule, 5), questions(rule, 40)
    together = ask.say(asked)
    alone = torch.cat([ask.say(one[None]) for one in asked])
    assert torch.allclose(alone, together, rtol=0, atol=1e-6 * float(together.abs().max()))


def test_weights_in_bfloat16_are_those_that_are_computed_with() -> None:
    rule = cube()
    asked = questions(rule, 5)
    narrow = cone(rule, 6, narrow=True).say(asked)
    with torch.no_grad():
        for weight in rule.cells.own.values():
            weight.copy_(weight.bfloat16().float())
    assert torch.equal(narrow, whole(rule, asked, 6))


def test_where_only_the_whole_cube_can_answer() -> None:
    assert cone_of(cube(periods=(1, 2)), 6) is None
    assert cone_of(cube(coarse=2), 6) is None
    assert cone_of(cube(weights="low_rank"), 6) is None
    assert cone_of(cube(), 2) is None, "in two steps no question reaches the fourth layer"
