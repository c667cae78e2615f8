"""Small trainings: torchrun starts this file to run them in several processes; the test runs them in one.

python -m torch.distributed.run --standalone --nproc-per-node 2 tests/ranks/training_cases.py FOLDER [CASE …]
"""

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from tiny_runs import tiny_body
from torch import Tensor

import nca3d
from nca3d.ranks.joined import joined
from nca3d.training import course, step
from nca3d.training.step import run_moments

SEVERAL = {"target": ("sphere", "cross", "torus"), "batch": 6, "pool_size": 12}
# By name, what is different from `config`. The batch is odd: no number of processes but 1 and 5 shares it out evenly.
CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "classes": {"target": "labels.npy", "channels": 10},
    "coded classes": {"target": "labels.npy", "channels": 16, "code": 4},
    "bodies": {**SEVERAL, "switch_rate": 0.5},
    "seeds": {**SEVERAL, "condition": "seed", "channels": 10},
    "learned codes": {**SEVERAL, "condition_codes": "learned", "switch_rate": 0.3},
    "growing": {"regime": "growing"},
    "growing bodies": {**SEVERAL, "regime": "growing"},
    "persistent": {"regime": "persistent"},
    "ageing": {"ageing": 20, "damage_count": 3},
    "learned balance": {"balance": "learned", "losses": {"rgba": 1.0, "rest": 0.1}},
    "softadapt": {"balance": "softadapt", "losses": {"rgba": 1.0, "rest": 0.1}},
    "parts": {"batch": 6, "accumulate": 2, "average": 0.99},
    "cut": {"detach_every": 5, "memory": 3},
    "few samples": {"batch": 2, "pool_size": 2, "pattern_every": 1},
    "one sample": {"batch": 1, "pool_size": 2, "damage_count": 0},
    "looks": {"iterations": 25, "stop_when_whole": True},
}
# A sample that is no number, in one iteration.
CASES["NaN"] = {}
# What torch itself sums up over a part of a batch counts as one number: equal to rounding.
ROUNDED: dict[str, dict[str, Any]] = {
    "learned perception": {"perception": "learned"},
    "torch": {"executor": "dense"},
}


def config(name: str, folder: Path, **changes: Any) -> nca3d.Config:
    fixed = {"batch": 5, "pool_size": 10, "steps": (6, 12), "iterations": 8, "save_every": 4, "log_every": 2, "warmup": 0}
    config = tiny_body(
        **{**fixed, "damage_from": 0.0, **CASES.get(name, {}), **ROUNDED.get(name, {}), "out": str(folder / name)}
    )
    if config.target == "labels.npy":
        config = config.replace(target=str(folder / config.target))
    return config.replace(**changes)


def labels(folder: Path) -> None:
    """A body of three classes."""
    kinds = np.zeros((5, 5, 5), np.uint8)
    kinds[:2, 1:4, 1:4], kinds[2, 2, :], kinds[3:, 1:4, 2:] = 1, 2, 3
    np.save(folder / "labels.npy", kinds)


def spoilt(config: nca3d.Config, iteration: int, rule: nca3d.Rule, states: Tensor, ids: Tensor, *rest: Any) -> Tensor:
    """`run_moments`, whose last sample is no number in the third iteration, whoever runs it."""
    moments = run_moments(config, iteration, rule, states, ids, *rest)
    lost = (ids == config.batch - 1) & (iteration == 3)
    return torch.where(lost.view(-1, 1, 1, 1, 1), torch.nan, moments)


def train(folder: Path, names: list[str]) -> None:
    # A run looks at what it grows every 100 iterations; these are shorter.
    with patch.object(course, "EVERY", 10):
        for name in names:
            with patch.object(step, "run_moments", spoilt if name == "NaN" else run_moments):
                nca3d.train(config(name, folder), progress=False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(60):
        train(Path(sys.argv[1]), sys.argv[2:] or [*CASES, *ROUNDED])
