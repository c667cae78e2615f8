"""The smallest runs that are worth training, of a body and of a cube: what tests of trainings have in common."""

from pathlib import Path
from typing import Any

import nca3d

CUBE_SIZE = (3, 4, 4)
CELL = {"features": 8, "memory": 4, "external": 2, "widened": 8, "preset": "cube", "start": "carry", "mixed": True}


def tiny_body(**changes: Any) -> nca3d.Config:
    """A ball of 7³ cells, four at a time, without a report; nothing is left to follow from the body."""
    shared: dict[str, Any] = {"size": (7, 7, 7), "channels": 8, "hidden": (16,), "batch": 4, "pool_size": 8, "report": False}
    fixed = {
        "perception": "gradient",
        "steps": (12, 24),
        "seed_every": 1,
        "damage_from": 0.1,
        "learning_rate": 0.006,
        "betas": (0.9, 0.95),
    }
    return nca3d.Config(**{"target": "sphere", "precision": "fp32", **fixed, **shared, **changes})


def tiny_cube(questions: Path, **changes: Any) -> nca3d.Config:
    """A cube of 3 × 4 × 4 cells that is asked the questions of a file, logged in every iteration, without a report."""
    shared: dict[str, Any] = {"size": CUBE_SIZE, "rule_options": CELL, "log_every": 1, "report": False}
    return nca3d.Config(**{"regime": "answering", "rule": "gmlp", "questions": str(questions), **shared, **changes})
