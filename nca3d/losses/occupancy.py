"""Is each cell clearly there or clearly not? What is on the wrong side of the threshold that says so is charged."""

from __future__ import annotations

import torch
from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# Alpha is free below the first outside the body and above the second inside: a cell counts as there above 0.1.
OUTSIDE, INSIDE = 0.05, 0.3


@declared(kinds=("rgb", "classes"))
def occupancy(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Distance of alpha to its free range, outside the body and inside, per cell of the body.

    A squared error hardly minds an alpha of 0.15 outside, and such a cell counts as grown: bodies stayed swollen for long. This
    term has the same slope however small the excess is.

    Args:
        moments: (T, B, C, D, H, W); the last one counts.
        target: says which cells belong to the body.
        rule: says which channel is alpha.

    Returns:
        (B,), 0 or more.
    """
    alpha = moments[-1][:, rule.alpha]
    wanted = target.occupied.to(alpha.device)
    wrong = torch.where(wanted, INSIDE - alpha, alpha - OUTSIDE).clamp_min(0)
    return wrong.sum(dim=(1, 2, 3)) / max(1, int(target.occupied.sum()))
