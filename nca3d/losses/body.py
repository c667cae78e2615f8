"""What is asked of a body, one question a function: the loss terms of the regimes that grow a target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.metrics import iou
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# Alpha is free below the first outside the body and above the second inside: a cell counts as there above 0.1.
OUTSIDE, INSIDE = 0.05, 0.3

# Hidden values up to here are free: the seed's are 1, and a trained body's seldom reach 3.
LIMIT = 3.0

# IoU at the first moment from which a body is asked to be still: one that grows or heals has to move.
GROWN = 0.75


# Does the body look like the target? Squared error of premultiplied colours and alpha.
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
    return error.sum(dim=(1, 2, 3, 4)) / (_cells(target) * shown.shape[1])


# Is each cell of the right kind? Cross-entropy of class logits, soft IoU of each class, and alpha where there is a body.
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

    cells = _cells(target)
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


# Is each cell clearly there or clearly not? What is on the wrong side of the threshold that says so is charged.
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
    return wrong.sum(dim=(1, 2, 3)) / _cells(target)


# Do the values stay in range? What lies beyond ±limit is charged, so that hidden channels don't run away.
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
    return excess.sum(dim=(1, 2, 3, 4)) / (_cells(target) * max(1, hidden.shape[1]))


# Does the body come to rest? The change of what is shown between the moments that training looks at.
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
    return change.sum(dim=(1, 2, 3, 4)) / (_cells(target) * shown.shape[2])


# Does a grown body come to rest in all its channels? What a body does unseen, it drifts by.
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
    return torch.where(grown, change, 0.0) / (_cells(target) * moments.shape[2])


def _cells(target: Target) -> int:
    """Of the body; 1 where it has none, to divide by."""
    return max(1, int(target.occupied.sum()))
