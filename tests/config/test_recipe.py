"""What is "auto": fallbacks until the body is known, and then those that the rule has for it."""

import tomllib

import numpy as np
import pytest

from nca3d.config import FIELDS, Config
from nca3d.config.recipe import Facts, recipe, told
from nca3d.targets import from_array

OPEN = {name for name, spec in FIELDS.items() if spec.fallback is not None}


def block(side: int, kinds: int = 1) -> np.ndarray:
    labels = np.arange(side**3).reshape(side, side, side) % kinds + 1
    return np.pad(labels, 1).astype(np.uint8)


def sized(body: np.ndarray, **fields: object) -> Config:
    config = Config(target="own.npy", **fields)
    return config.kind.sized(config, from_array(body))[0]


def test_it_is_open_as_long_as_the_body_is_not_known() -> None:
    config = Config()
    assert config.open_fields == OPEN and config.hidden == (128,) and config.iterations == 1600
    assert tomllib.loads(config.to_toml())["body"]["hidden"] == "auto"
    assert Config.from_dict(tomllib.loads(config.to_toml())).open_fields == OPEN
    changed = config.replace(hidden=(64,), iterations="auto")
    assert changed.open_fields == OPEN - {"hidden"} and changed.hidden == (64,)


def test_a_run_that_is_resumed_goes_on_as_it_began(tmp_path) -> None:
    """Its config.toml may be older than a field: what it says nothing of is as it was then."""
    config = Config(target="own.npy", hidden=(160,))
    resumed = config.kind.sized(config, from_array(block(9, kinds=8)), tmp_path)[0]
    before = {name: FIELDS[name].fallback for name in OPEN}
    assert {name: getattr(resumed, name) for name in OPEN} == before | {"hidden": (160,)} and resumed.losses == {}


def test_a_small_body_of_kinds_has_the_recipe_of_a_large_one() -> None:
    small, large = sized(block(4, kinds=3)), sized(block(9, kinds=3))
    assert small.iterations == large.iterations == 2000
    assert {name: getattr(small, name) for name in OPEN} == {name: getattr(large, name) for name in OPEN}
    assert not small.open_fields
    assert small.steps[1] < large.steps[1]


def test_a_phase_for_healing_is_had_by_asking_for_it() -> None:
    assert sized(block(10)).healing_phase == 0
    assert sized(block(10), healing_phase=0.3).healing_phase == 0.3


def test_the_steps_follow_from_the_farthest_cell_unless_they_are_set() -> None:
    rod = np.ones((1, 1, 61), np.uint8)
    assert sized(rod).steps == (44, 119)
    assert sized(rod, steps=(5, 9)).steps == (5, 9)


def test_a_large_one_has_those_of_the_rule_and_what_was_set_stays() -> None:
    large = sized(block(9, kinds=8))
    assert large.code == 8 and large.hidden == (256,) and large.losses["classes_even"] == 1
    assert sized(block(9)).code == 0, "one kind needs no code"
    own = sized(block(9, kinds=8), hidden=(96,), code=0, losses={"classes": 1.0}, batch=4)
    assert (own.hidden, own.code, own.losses, own.batch) == ((96,), 0, {"classes": 1.0}, 4)
    assert own.learning_rate == large.learning_rate


def test_a_rule_to_start_from_keeps_its_shapes() -> None:
    config = sized(block(9, kinds=8), init="zoo:frog")
    assert config.hidden == (128,) and config.code == 0 and config.batch == 2


def test_more_cells_never_mean_less() -> None:
    before = None
    for cells in (1, 500, 1000, 3000, 5001, 10_000, 100_000):
        chosen = {choice.field: choice.value for choice in recipe(Facts(cells, 0, 20))}
        if before:
            assert chosen["hidden"] >= before["hidden"] and chosen["iterations"] >= before["iterations"]
        before = chosen


def test_bf16_where_the_processor_has_it_and_all_is_told() -> None:
    body = Facts(1200, 36, 11, half=True)
    assert "precision" in {choice.field for choice in recipe(body)}
    head, *lines = told(body, recipe(body)).splitlines()
    assert head.startswith("auto: 1,200 cells of 36 kinds, the farthest 11 steps from the first")
    for line, choice in zip(lines, recipe(body), strict=True):
        assert line.startswith(f"  {choice.field} ") and line.endswith(f"  {choice.why}") and len(line) < 120


@pytest.mark.parametrize("word", ["automatic", "none"])
def test_no_other_word_stands_for_a_number(word: str) -> None:
    with pytest.raises(ValueError, match=r"hidden: found .*, allowed \"auto\" or a list"):
        Config(hidden=word)


@pytest.mark.parametrize(
    ("given", "batch", "damage_count", "pool_size"),
    [
        ({}, 2, 1, 64),
        ({"batch": 1}, 1, 0, 64),
        ({"batch": 100}, 100, 1, 100),
        ({"pool_size": 1}, 1, 0, 1),
        ({"damage_count": 2}, 3, 2, 64),
        ({"accumulate": 4}, 4, 1, 64),
        ({"damage_count": 4, "accumulate": 3}, 6, 4, 64),
    ],
)
def test_what_is_open_goes_with_what_was_set(given: dict, batch: int, damage_count: int, pool_size: int) -> None:
    config = sized(block(3), **given)
    assert (config.batch, config.damage_count, config.pool_size) == (batch, damage_count, pool_size)


def test_nothing_is_chosen_that_nobody_looks_at() -> None:
    body = from_array(block(3, kinds=3))

    def fields(**given: object) -> set[str]:
        config = Config(target="own.npy", **given)
        return {line.split()[0] for line in config.kind.chosen(config, body).splitlines()[1:]}

    every = {choice.field for choice in recipe(Facts.of(body, half=False))}
    assert every <= fields()
    assert every - fields(regime="growing") == {"seed_every", "damage_from"}
    assert every - fields(regime="persistent") == {"damage_from"}
    assert every - fields(rule="own") == {"code"}


def test_cells_too_narrow_for_a_code_carry_their_classes() -> None:
    assert sized(block(3, kinds=3), channels=8).code == 0 and sized(block(3, kinds=3), channels=32).code == 8


def test_several_bodies_get_two_of_each_and_more_iterations() -> None:
    config = Config(target=("cross", "heart", "torus"), size=(10, 12, 12))
    sized_ = config.kind.sized(config)[0]
    alone = Config(target="torus", size=(10, 12, 12))
    alone = alone.kind.sized(alone)[0]
    assert (sized_.batch, alone.batch) == (6, 2)
    assert alone.iterations == 2000 < sized_.iterations < 3 * alone.iterations
    assert sized_.steps[1] >= alone.steps[1] - 7
    assert "3 bodies of" in str(Facts(200, 0, 9, bodies=3)) and "two of each" in told(
        Facts(200, 0, 9, bodies=3), recipe(Facts(200, 0, 9, bodies=3))
    )
