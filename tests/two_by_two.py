"""A target so small that what metrics and losses must say of it can be counted by hand."""

import numpy as np
import torch

from nca3d.targets.target import Target


def cube(kind: str) -> Target:
    """A 2×2×2 body in a 4×4×4 lattice."""
    occupied = torch.zeros(4, 4, 4, dtype=torch.bool)
    occupied[1:3, 1:3, 1:3] = True
    if kind == "rgb":
        values = torch.stack([0.5 * occupied, 0.25 * occupied, 0.0 * occupied, 1.0 * occupied])
        return Target(values, occupied, "rgb")
    one_hot = torch.stack([~occupied, occupied & False, occupied, occupied]).float()
    return Target(one_hot, occupied, "classes", ("empty", "bone", "skin"), np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0]]))


def state_of(target: Target, hidden: int = 4) -> torch.Tensor:
    return torch.cat([target.values, torch.zeros(hidden, *target.size)])[None]
