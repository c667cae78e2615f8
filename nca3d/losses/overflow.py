"""Do the values stay in range? What lies beyond ±limit is charged, so that hidden channels don't run away."""

from __future__ import annotations

from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# Hidden values up to here are free: the seed's are 1, and a trained body's seldom reach 3.
LIMIT = 3.0


@declared(kinds=("rgb", "classes"))
def overflow(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Distance of hidden values to the interval −3..3, per cell of the body and channel.

    Randazzo et al. 2020, "Self-classifying MNIST Digits", first charged a state's excess.

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: gives the number of the body's cells.
        rule: says which channels are hidden.

    Returns:
        (B,), 0 or more.
    """
    hidden = moments[-1][:, rule.alpha + 1 :]
    excess = (hidden - hidden.clamp(-LIMIT, LIMIT)).abs()
    cells = max(1, int(target.occupied.sum()))
    return excess.sum(dim=(1, 2, 3, 4)) / (cells * max(1, hidden.shape[1]))
