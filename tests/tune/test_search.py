"""Which batches are looked at and which is chosen, on machines whose time and memory are known in advance."""

from collections.abc import Callable

import pytest

from nca3d.config import Config
from nca3d.errors import InputErrors
from nca3d.tune.choice import choose
from nca3d.tune.point import MIB, Point
from nca3d.tune.search import Search, config_at
from nca3d.tune.words import changed_lines, table

CONFIG = Config(batch=8, pool_size=16, damage_count=1)


def machine(
    rate: Callable[[int], float], a_sample: int = 1, room: int | None = None
) -> tuple[Callable[[Config], Point], list[tuple[int, int | str]]]:
    """A machine of so many samples a second and MiB a sample, which has `room` MiB; and what it was asked."""
    asked: list[tuple[int, int | str]] = []

    def measure(config: Config) -> Point:
        asked.append((config.batch, config.memory))
        # Keeping less costs time, and saves memory.
        segment = {"auto": 0, "keep": 0, "recompute": 1}.get(str(config.memory), 5)
        slower, less = (1.0, 1.0) if segment == 0 else (1.25, 0.4)
        peak = int((10 + a_sample * config.batch * less) * MIB)
        if room is not None and peak > room * MIB:
            return Point(config.batch, config.memory, config.pool_size, trouble="out of memory")
        seconds = slower * config.batch / rate(config.batch)
        return Point(config.batch, config.memory, config.pool_size, seconds, peak, 1000 * MIB, segment, steps=10, longest=14)

    return measure, asked


def test_batches_are_doubled_until_nothing_is_gained() -> None:
    measure, asked = machine(lambda batch: 100 * min(batch, 32))
    search = Search(CONFIG, measure, 60.0)
    search.around()
    assert [batch for batch, _ in asked] == [8, 4, 16, 32, 64, 128]
    choice = choose(search.points, CONFIG, search.limit)
    assert choice is not None and choice.point.batch == 32
    assert choice.changes(CONFIG) == {"batch": 32, "pool_size": 32}
    assert search.limit == 800 * MIB, "of what was free, four fifths"
    assert search.ends == ["no larger batch: 2 doublings brought less than 3 % more", "no smaller batch: throughput falls at 4"]


def test_of_rates_that_are_nearly_the_same_the_smallest_batch_is_chosen() -> None:
    measure, asked = machine(lambda batch: 1000 + batch / 100)
    search = Search(CONFIG, measure, 60.0)
    search.around()
    assert [batch for batch, _ in asked] == [8, 4, 16, 32, 2], "with one damaged body there is no batch of one"
    choice = choose(search.points, CONFIG, search.limit)
    assert choice is not None and choice.point.batch == 2 and "within 3 %" in choice.reasons[0]
    assert any("damage_count" in line for line in search.ends)


def test_a_busy_spell_is_measured_again() -> None:
    spells = iter([1.0, 1.0, 0.3])
    measure, asked = machine(lambda batch: 100 * min(batch, 64) * next(spells, 1.0))
    search = Search(CONFIG, measure, 60.0)
    search.around()
    assert [batch for batch, _ in asked].count(16) == 2
    assert next(point for point in search.points if point.batch == 16).rate == pytest.approx(1600)


def test_what_would_not_fit_is_foretold_and_not_started() -> None:
    measure, asked = machine(lambda batch: 100.0 * batch, a_sample=10)
    config = CONFIG.replace(memory="keep")
    search = Search(config, measure, 60.0, limit=400 * MIB)
    search.around()
    assert max(batch for batch, _ in asked) == 32, "64 bodies would take 650 MiB"
    refused = next(point for point in search.points if point.batch == 64)
    assert refused.seconds is None and "650 MiB" in refused.trouble and "650 MiB" in table(search.points, None, search.limit)


def test_running_out_of_memory_is_a_point() -> None:
    measure, _ = machine(lambda batch: 100.0 * batch, a_sample=10, room=200)
    search = Search(CONFIG, measure, 60.0, limit=10_000 * MIB)
    search.around()
    choice = choose(search.points, CONFIG, search.limit)
    assert choice is not None and choice.point.batch == 16
    assert next(point for point in search.points if point.batch == 32).trouble == "out of memory"


def test_what_takes_too_long_is_not_started() -> None:
    measure, asked = machine(lambda batch: 10.0)
    search = Search(CONFIG, measure, 3.0)
    search.around()
    assert max(batch for batch, _ in asked) == 8, "sixteen: 1.6 s, and 2.2 s for the one with the most steps"
    assert any("--seconds" in line for line in search.ends)


def test_ways_to_keep_steps_are_tried_where_they_differ() -> None:
    measure, asked = machine(lambda batch: 100.0)
    search = Search(CONFIG, measure, 1e6)
    search.around()
    search.keepings(2)
    root = round(CONFIG.horizon**0.5)
    assert asked[-2:] == [(2, root), (2, "recompute")], "auto has kept everything, as keep would"
    choice = choose(search.points, CONFIG, search.limit)
    assert choice is not None and choice.point.memory == "auto" and "0.80× the rate" in choice.reasons[1]


def test_a_way_that_is_as_fast_with_less_memory_is_chosen() -> None:
    own = Point(8, "auto", 16, 1.0, 100 * MIB, None, 0)
    other = Point(8, 5, 16, 1.01, 50 * MIB, None, 5)
    choice = choose([own, other], CONFIG, None)
    assert choice is not None and choice.point is other
    assert any(line.startswith("memory = 5") for line in changed_lines(choice, CONFIG))


def test_nothing_fits() -> None:
    measure, _ = machine(lambda batch: 100.0)
    search = Search(CONFIG, measure, 60.0, limit=5 * MIB)
    search.around()
    assert choose(search.points, CONFIG, search.limit) is None


def test_a_pool_is_no_smaller_than_its_batch() -> None:
    assert config_at(CONFIG, 8).pool_size == 16 and config_at(CONFIG, 64).pool_size == 64
    growing = Config(regime="growing", batch=8)
    assert config_at(growing, 512).pool_size == growing.pool_size
    with pytest.raises(InputErrors, match="damage_count"):
        config_at(CONFIG, 1)
