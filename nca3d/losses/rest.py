"""Does the body come to rest? The change of what is shown between the moments that training looks at."""

from __future__ import annotations

from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.rules.cell import Rule
from nca3d.targets import Target


@declared(moments=2, kinds=("rgb", "classes"))
def rest(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared change of the visible channels and alpha from the first moment to the last, per cell of the body.

    Args:
        moments: (T, B, C, D, H, W), T >= 2; with one moment there is no change and the term is 0.
        target: gives the number of the body's cells.
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    shown = moments[:, :, : rule.visible + 1]
    change = (shown[-1] - shown[0]).square()
    cells = max(1, int(target.occupied.sum()))
    return change.sum(dim=(1, 2, 3, 4)) / (cells * shown.shape[2])
