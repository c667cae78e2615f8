"""Every allowed pair of settings trains, resumes bit for bit, and every other pair is refused in one line."""

import random
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
import torch
from resuming import cut_short, everything

import nca3d

pytestmark = pytest.mark.nightly

# What is tried of each field; a None leaves it at its default.
CHOICES: dict[str, list[Any]] = {
    "regime": ["growing", "persistent", "regenerating"],
    "executor": ["auto", "dense", "compiled", "event", "graph"],
    "memory": ["auto", "keep", "recompute", 3],
    "precision": ["fp32", "bf16"],
    "optimizer": ["adam", "adamw"],
    "schedule": ["constant", "step", "cosine"],
    "gradient": ["normalise", "clip", "none"],
    "balance": ["fixed", "learned", "softadapt"],
    "perception": ["gradient", "gradient+laplacian", "isotropic", "learned"],
    "padding": ["zeros", "replicate", "circular"],
    "kind": ["rgb", "classes"],
    "detach_every": [0, 2],
    "accumulate": [1, 2],
    "average": [0.0, 0.9],
    "damages": [("sphere",), ("half_space", "random_cells"), ("limb",)],
}


def rows() -> list[dict[str, Any]]:
    """Few rows that hold every pair of values of two fields: greedily, from random candidates (all-pairs testing)."""
    draw = random.Random(0)
    names = list(CHOICES)
    open_pairs = {
        ((a, i), (b, j)) for a, b in combinations(names, 2) for i, j in product(range(len(CHOICES[a])), range(len(CHOICES[b])))
    }
    chosen = []
    while open_pairs:
        best: dict[str, int] = {}
        won: set[Any] = set()
        for _ in range(40):
            seed = draw.choice(sorted(open_pairs))
            row = {name: draw.randrange(len(CHOICES[name])) for name in names} | dict(seed)
            found = open_pairs & {((a, row[a]), (b, row[b])) for a, b in combinations(names, 2)}
            if len(found) > len(won):
                best, won = row, found
        open_pairs -= won
        chosen.append({name: CHOICES[name][place] for name, place in best.items()})
    return chosen


ROWS = rows()


def test_every_pair_is_there():
    for a, b in combinations(CHOICES, 2):
        assert len({(str(row[a]), str(row[b])) for row in ROWS}) == len(CHOICES[a]) * len(CHOICES[b])
    assert len(ROWS) < 60


def body(kind: str) -> np.ndarray:
    labels = np.zeros((7, 8, 7), int)
    labels[2:5, 2:6, 2:5] = 1
    labels[3, 3:5, 3] = 2
    if kind == "classes":
        return labels
    return np.stack([labels == 1, labels == 2, labels > 0, labels > 0], axis=-1).astype(np.float32)


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_row_trains_and_resumes_bit_for_bit(number, tmp_path):
    row = dict(ROWS[number])
    if row["executor"] == "graph":
        pytest.importorskip("torch_geometric")
    np.save(tmp_path / "body.npy", body(row.pop("kind")))
    fixed: dict[str, Any] = {"target": str(tmp_path / "body.npy"), "size": (7, 8, 7), "channels": 12, "hidden": (12,)}
    fixed |= {"batch": 4, "steps": (4, 6), "threads": 1, "iterations": 4, "save_every": 4, "log_every": 1, "report": False}
    if row["regime"] != "growing":
        fixed["pool_size"] = 6
    if row["regime"] == "regenerating":
        fixed["damage_from"] = 0.0
    else:
        del row["damages"]
    config = nca3d.Config(**fixed, **row, out=str(tmp_path / "whole"))
    whole = nca3d.train(config, progress=False)
    assert [line["iteration"] for line in whole.metrics] == [1, 2, 3, 4]
    assert all(np.isfinite(line["loss"]) for line in whole.metrics)
    cut_short(config.replace(out=str(tmp_path / "cut")), 2)
    resumed = nca3d.train(config.replace(out=""), resume=tmp_path / "cut", progress=False)
    one, other = everything(whole), everything(resumed)
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]
