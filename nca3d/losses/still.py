"""Does a grown body come to rest in all its channels? What a body does unseen, it drifts by."""

from __future__ import annotations

import torch
from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.metrics import iou
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# IoU at the first moment from which a body is asked to be still: one that grows or heals has to move.
GROWN = 0.75


@declared(moments=2, kinds=("rgb", "classes"))
def still(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared change of every channel, hidden ones too, from the first moment to the last, per cell of the body.

    The term `rest` looks at what is shown. A body whose hidden channels creep looks right for a thousand steps and is lost
    after ten thousand; one whose updates vanish has nothing to drift by.

    Args:
        moments: (T, B, C, D, H, W), T >= 2; with one moment there is no change and the term is 0.
        target: says which bodies are grown.
        rule: what one cell does (not asked).

    Returns:
        (B,), 0 or more; 0 for bodies that were not grown at the first moment.
    """
    change = (moments[-1] - moments[0]).square().sum(dim=(1, 2, 3, 4))
    grown = iou(moments[0], target) >= GROWN
    cells = max(1, int(target.occupied.sum()))
    return torch.where(grown, change, 0.0) / (cells * moments.shape[2])
