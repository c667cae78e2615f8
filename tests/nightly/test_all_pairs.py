"""Every pair of settings that goes together trains and resumes bit for bit; all else is refused before a run begins."""

import random
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from resuming import cut_short, everything

import nca3d
from nca3d.errors import InputError

pytestmark = pytest.mark.nightly
Row = dict[str, Any]
Pair = tuple[tuple[str, str], tuple[str, str]]

# What is tried of each field; damages None: the regime makes none.
CHOICES: dict[str, list[Any]] = {
    "regime": ["growing", "persistent", "regenerating"],
    "executor": ["auto", "dense", "compiled", "event", "slabs", *(["graph"] if find_spec("torch_geometric") else [])],
    "memory": ["auto", "keep", "recompute", 3],
    "precision": ["fp32", "bf16"],
    "optimizer": ["adam", "adamw", *(["adamw8bit"] if find_spec("bitsandbytes") else [])],
    "schedule": ["constant", "step", "cosine"],
    "gradient": ["normalise", "clip", "none"],
    "balance": ["fixed", "learned", "softadapt"],
    "perception": ["gradient", "gradient+laplacian", "gradient+laplacian/4", "isotropic", "learned"],
    "padding": ["zeros", "replicate", "circular"],
    "kind": ["rgb", "classes"],
    "detach_every": [0, 2],
    "accumulate": [1, 2],
    "average": [0.0, 0.9],
    "damages": [None, ("sphere",), ("half_space", "random_cells"), ("limb",)],
}
# The ends of ranges, where fields begin to contradict each other.
EDGES: dict[str, list[Any]] = {
    "regime": ["growing", "persistent", "regenerating"],
    "batch": [1, 2, 5],
    "pool_size": [1, 4],
    "accumulate": [1, 2, 3],
    "damage_count": [0, 1, 4],
    "damages": [(), ("sphere",)],
    "schedule": ["constant", "step", "cosine"],
    "milestones": [(), (0.0, 1.0)],
    "steps": [(1, 1), (2, 3)],
    "detach_every": [0, 1, 100_000],
    "memory": ["keep", 1, 100_000],
    "average": [0.0, 0.999],
    "warmup": [0, 1_000_000],
    "ageing": [0, 3],
    "curriculum": [0.0, 1.0],
    "damage_from": [0.0, 1.0],
    "fire_rate": [0.01, 1.0],
    "executor": ["auto", "event"],
}


def goes_together(row: Row) -> bool:
    return (row["regime"] == "regenerating") == (row["damages"] is not None)


def is_contradictory(row: Row) -> bool:
    """Which fields are fine alone and not together, said once more, without the code that refuses them."""
    pooled, damaging = row["regime"] != "growing", row["regime"] == "regenerating"
    return bool(
        (pooled and row["batch"] > row["pool_size"])
        or (damaging and row["damage_count"] >= row["batch"])
        or (damaging and row["damage_count"] and not row["damages"])
        or row["batch"] % row["accumulate"]
        or (row["schedule"] == "step" and not row["milestones"])
    )


def pairs(row: Row) -> set[Pair]:
    return {((a, str(row[a])), (b, str(row[b]))) for a, b in combinations(row, 2)}


def allowed_pairs(choices: dict[str, list[Any]], fits: Callable[[Row], bool]) -> set[Pair]:
    """The pairs that are held by some row that fits: so many random rows hold them all."""
    draw = random.Random(1)
    found: set[Pair] = set()
    for _ in range(6000):
        row = {name: draw.choice(values) for name, values in choices.items()}
        if fits(row):
            found |= pairs(row)
    return found


def rows(choices: dict[str, list[Any]], fits: Callable[[Row], bool]) -> list[Row]:
    """Few rows that hold every allowed pair: greedily, each the best of random candidates (all-pairs testing)."""
    draw, open_pairs, chosen = random.Random(0), allowed_pairs(choices, fits), []
    values = {name: {str(value): value for value in given} for name, given in choices.items()}
    while open_pairs:
        candidates: list[Row] = []
        while len(candidates) < 40:
            # One open pair is in each candidate, so that every row closes at least one.
            fixed = {name: values[name][text] for name, text in draw.choice(sorted(open_pairs))}
            row = {name: fixed.get(name, draw.choice(given)) for name, given in choices.items()}
            candidates += [row] if fits(row) else []
        best = max(candidates, key=lambda row: len(open_pairs & pairs(row)))
        open_pairs -= pairs(best)
        chosen.append(best)
    return chosen


ROWS = rows(CHOICES, goes_together)
EDGE_ROWS = rows(EDGES, lambda row: not is_contradictory(row))
REFUSED_ROWS = rows(EDGES, is_contradictory)
ran: set[Pair] = set()
numbers_ran: set[int] = set()


def body(kind: str) -> np.ndarray:
    labels = np.zeros((7, 8, 7), int)
    labels[2:5, 2:6, 2:5] = 1
    labels[3, 3:5, 3] = 2
    if kind == "classes":
        return labels
    return np.stack([labels == 1, labels == 2, labels > 0, labels > 0], axis=-1).astype(np.float32)


def config_of(row: Row, folder: Any, **fixed: Any) -> nca3d.Config:
    fields = {name: value for name, value in row.items() if value is not None}
    np.save(folder / "body.npy", body(fields.pop("kind", "rgb")))
    fixed |= {"target": str(folder / "body.npy"), "size": (7, 8, 7), "channels": 12, "threads": 1, "report": False}
    return nca3d.Config(**{"hidden": (12,), "log_every": 1, **fixed, **fields})


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_row_trains_and_resumes_bit_for_bit(number, tmp_path):
    row = ROWS[number]
    config = config_of(
        row,
        tmp_path,
        batch=4,
        pool_size=6,
        steps=(4, 6),
        damage_from=0.0,
        warmup=0,
        iterations=4,
        save_every=4,
        out=str(tmp_path / "whole"),
    )
    whole = nca3d.train(config, progress=False)
    assert [line["iteration"] for line in whole.metrics] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) for line in whole.metrics)
    cut_short(config.replace(out=str(tmp_path / "cut")), 2)
    resumed = nca3d.train(config.replace(out=""), resume=tmp_path / "cut", progress=False)
    one, other = everything(whole), everything(resumed)
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]
    ran.update(pairs(row))
    numbers_ran.add(number)


def test_every_allowed_pair_was_run():
    """Stands below the rows, because it looks at what they did."""
    if numbers_ran != set(range(len(ROWS))):
        pytest.skip("only some of the rows were run")
    for a, b in combinations(CHOICES, 2):
        for first, other in product(CHOICES[a], CHOICES[b]):
            allowed = {a, b} != {"regime", "damages"} or goes_together({a: first, b: other})
            assert (((a, str(first)), (b, str(other))) in ran) == allowed
    assert len(ROWS) < 60


def refusals(call: Callable[[], Any]) -> Iterator[str]:
    try:
        call()
    except InputError as error:
        yield from str(error).splitlines()


@pytest.mark.parametrize("number", range(len(EDGE_ROWS)))
def test_a_row_at_the_ends_of_ranges_trains(number, tmp_path):
    run = nca3d.train(
        config_of(EDGE_ROWS[number], tmp_path, iterations=2, save_every=1, out=str(tmp_path / "run")), progress=False
    )
    assert [line["iteration"] for line in run.metrics] == [1, 2]
    assert all(np.isfinite(line["loss"]) for line in run.metrics)
    assert nca3d.load(run.folder)


@pytest.mark.parametrize("number", range(len(REFUSED_ROWS)))
def test_a_row_that_contradicts_itself_is_refused(number, tmp_path):
    lines = list(refusals(lambda: config_of(REFUSED_ROWS[number], tmp_path)))
    assert lines and all(": found " in line and ", allowed " in line for line in lines)


APPROXIMATE = [name for name in nca3d.config.FIELDS["executor"].choices if "approx" in name]


@pytest.mark.parametrize("executor", APPROXIMATE)
@pytest.mark.parametrize("regime", CHOICES["regime"])
def test_an_executor_that_cannot_run_a_body_is_refused_before_the_run(executor, regime, tmp_path):
    config = config_of({"regime": regime, "executor": executor}, tmp_path, steps=(2, 3), out=str(tmp_path / "run"))
    (line,) = refusals(lambda: nca3d.train(config, progress=False))
    assert "executor" in line and not (tmp_path / "run").exists()
