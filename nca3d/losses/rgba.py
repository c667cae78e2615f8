"""Does the body look like the target? Squared error of premultiplied colours and alpha."""

from __future__ import annotations

from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.rules.cell import Rule
from nca3d.targets import Target


@declared(kinds=("rgb",))
def rgba(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared error over red, green, blue and alpha, summed over the lattice, per cell of the body and channel.

    Dividing by the body's cells, not by the lattice's, keeps the figure comparable between lattices. Mordvintsev et al. 2020.

    Args:
        moments: (T, B, C, D, H, W); the last one counts.
        target: values (4, D, H, W).
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    shown = moments[-1][:, : rule.visible + 1]
    error = (shown - target.values.to(shown)).square()
    cells = max(1, int(target.occupied.sum()))
    return error.sum(dim=(1, 2, 3, 4)) / (cells * shown.shape[1])
