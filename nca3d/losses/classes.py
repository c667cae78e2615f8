"""Is each cell of the right kind? Cross-entropy of class logits, soft IoU of each class, and alpha where there is a body."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.rules.cell import Rule
from nca3d.targets import Target


@declared(kinds=("classes",))
def classes(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Cross-entropy over the cells near the body + (1 − soft IoU) averaged over classes + squared error of alpha.

    Cross-entropy alone lets a rare class vanish among common ones; the soft IoU (Rahman & Wang 2016) counts each class once.
    A dead cell has logits 0, which is no opinion: it is scored by its alpha, so cross-entropy looks at the body's cells
    and at living ones.

    Args:
        moments: (T, B, C, D, H, W); the last one counts.
        target: values (K + 1, D, H, W), one-hot and alpha.
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    states = moments[-1]
    values = target.values.to(states)
    logits, alpha = states[:, : rule.visible], states[:, rule.alpha]
    truth, occupied = values[:-1], target.occupied.to(states.device)
    cells = max(1, int(target.occupied.sum()))

    counted = occupied | (states.detach()[:, rule.alpha] > rule.threshold)
    entropy = F.cross_entropy(logits, truth.argmax(0).expand(len(states), *occupied.shape), reduction="none")
    entropy = torch.where(counted, entropy, 0.0).sum(dim=(1, 2, 3)) / cells

    # A cell belongs to a class as far as it is there at all.
    share = logits.softmax(dim=1)[:, 1:] * alpha.clamp(0, 1)[:, None]
    both = (share * truth[1:]).sum(dim=(2, 3, 4))
    either = (share + truth[1:] - share * truth[1:]).sum(dim=(2, 3, 4))
    present = truth[1:].sum(dim=(1, 2, 3)) > 0
    overlap = (both / either.clamp_min(1e-6))[:, present].mean(dim=1)

    there = (alpha - values[-1]).square().sum(dim=(1, 2, 3)) / cells
    return entropy + (1 - overlap) + there
