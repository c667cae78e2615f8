"""What is asked of a body, one question a function: the loss terms of the regimes that grow a target."""

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.losses.terms import declared
from nca3d.metrics import iou
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.targets import Target

# A cell counts as part of the body above alpha 0.1. `occupancy` charges nothing below OUTSIDE outside the body and above
# INSIDE within it: clearly on the right side of 0.1, and no more is asked.
OUTSIDE, INSIDE = 0.05, 0.3

# `overflow` charges nothing up to here: the seed's hidden values are 1, and a trained body's seldom reach 3.
LIMIT = 3.0

# `still` asks only bodies of at least this IoU to be still: one that grows or heals has to change.
GROWN = 0.75


# Does the body look like the target? Squared error of premultiplied colours and alpha.
@declared(kinds=("rgb",))
def rgba(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared error of red, green, blue and alpha, summed over the lattice, per cell of the body and channel.

    Dividing by the body's cells, not by the lattice's, keeps the loss comparable between lattices (Mordvintsev et al. 2020).

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: values (4, D, H, W).
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    visible = moments[-1][:, : rule.visible + 1]
    error = (visible - target.values.to(visible)).square()
    return error.sum(dim=(1, 2, 3, 4)) / (_cells(target) * visible.shape[1])


# Is each cell of the right kind? Cross-entropy of class logits, soft IoU of each class, and alpha where there is a body.
@declared(kinds=("classes",))
def classes(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Cross-entropy of the classes + (1 − soft IoU) averaged over classes + squared error of alpha.

    Cross-entropy alone lets a rare class vanish among common ones; the soft IoU (Rahman & Wang 2016) counts each class once.
    A dead cell has logits 0, which say nothing about its class. So cross-entropy looks at the target's cells and at living
    ones only, and the squared error of alpha charges the rest.

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: values (K + 1, D, H, W), one-hot and alpha.
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    return _classes(moments, target, rule, even=False)


# The same for bodies that are thin or ragged: cells outside don't outvote those within.
@declared(kinds=("classes",))
def classes_even(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """`classes`, in which living cells outside the target count, all together, no more than living ones within.

    Around a thin or ragged body there are many more cells outside than within, and all would learn that they are empty. For
    a grown body the two losses are the same.

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: values (K + 1, D, H, W), one-hot and alpha.
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    return _classes(moments, target, rule, even=True)


def _classes(moments: Tensor, target: Target, rule: Rule, *, even: bool) -> Tensor:
    states = moments[-1]
    values = target.values.to(states)
    logits, alpha = states[:, : rule.visible], states[:, rule.alpha]
    truth, occupied = values[:-1], target.occupied.to(states.device)

    cells = _cells(target)
    # Detached: where cross-entropy looks, and how much, is a choice, which gradients must not change.
    living = states.detach()[:, rule.alpha] > rule.threshold
    entropy = F.cross_entropy(logits, truth.argmax(0).expand(len(states), *occupied.shape), reduction="none")
    if even:
        within, outside = (part.sum(dim=(1, 2, 3), keepdim=True) for part in (living & occupied, living & ~occupied))
        entropy = torch.where(occupied, entropy, entropy * (within / outside.clamp_min(1)).clamp_max(1.0))
    entropy = torch.where(occupied | living, entropy, 0.0).sum(dim=(1, 2, 3)) / cells

    # A cell belongs to a class only as far as it exists (alpha); class 0 is empty space and has no overlap of its own.
    share = logits.softmax(dim=1)[:, 1:] * alpha.clamp(0, 1)[:, None]
    both = (share * truth[1:]).sum(dim=(2, 3, 4))
    either = (share + truth[1:] - share * truth[1:]).sum(dim=(2, 3, 4))
    present = truth[1:].sum(dim=(1, 2, 3)) > 0
    overlap = (both / either.clamp_min(1e-6))[:, present].mean(dim=1)

    alpha_error = (alpha - values[-1]).square().sum(dim=(1, 2, 3)) / cells
    return entropy + (1 - overlap) + alpha_error


# Does each cell clearly exist or clearly not? Alpha on the wrong side is charged.
@declared(kinds=("rgb", "classes"))
def occupancy(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Distance of alpha to its allowed range, below 0.05 outside the body and above 0.3 inside, per cell of the body.

    A squared error hardly minds an alpha of 0.15 outside, yet such a cell counts as grown, and bodies stay swollen for long.
    This term has the same slope however small the excess is.

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: says which cells belong to the body.
        rule: says which channel is alpha.

    Returns:
        (B,), 0 or more.
    """
    alpha = moments[-1][:, rule.alpha]
    inside = target.occupied.to(alpha.device)
    wrong = torch.where(inside, INSIDE - alpha, alpha - OUTSIDE).clamp_min(0)
    return wrong.sum(dim=(1, 2, 3)) / _cells(target)


# Does the body grow on? Missing cells that can be reached are asked for by themselves, however many others are right.
@declared(kinds=("rgb", "classes"))
def front(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """What is wrong with the missing cells that have a living neighbour, averaged over them: the front of growth.

    Where the last limbs of a large body are still to grow, the cells at their tips are all that can be learnt, and a small part
    of a loss per cell of the body. Cells farther off have no gradient, whatever they weigh.

    Args:
        moments: (T, B, C, D, H, W); only the last one counts.
        target: what missing cells should become.
        rule: says which channels are visible, and when a cell lives.

    Returns:
        (B,), 0 or more; 0 for a body that lacks nothing beside its living cells. Each missing cell counts by how far below 0.3
        its alpha is, as a share of 0.3, and by the cross-entropy of its class or the squared error of its colours. A mean over
        them, or over a hundredth of the body's cells where fewer are missing, so that a single cell isn't all.
    """
    states = moments[-1]
    values = target.values.to(states)
    visible, alpha = states[:, : rule.visible], states[:, rule.alpha]
    inside = target.occupied.to(states.device)
    # Detached: which cells are asked for is a choice, which gradients must not change.
    missing = inside & rule.alive_mask(states.detach())[:, 0] & (alpha.detach() < INSIDE)
    if target.kind == "classes":
        wrong = F.cross_entropy(visible, values[:-1].argmax(0).expand_as(alpha), reduction="none")
    else:
        wrong = (visible - values[:-1]).square().mean(dim=1)
    wrong = torch.where(missing, wrong + (INSIDE - alpha) / INSIDE, 0.0).sum(dim=(1, 2, 3))
    return wrong / missing.sum(dim=(1, 2, 3)).clamp_min(max(1.0, _cells(target) / 100))


# Do the values stay in range? What lies beyond ±LIMIT is charged, so that hidden channels don't run away.
@declared(kinds=("rgb", "classes"))
def overflow(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Distance of hidden values to the interval −3..3, per cell of the body and channel.

    Source: Randazzo et al. 2020, "Self-classifying MNIST Digits".

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


# Does the body come to rest? The change of the visible channels between recorded states is charged.
@declared(moments=2, kinds=("rgb", "classes"))
def rest(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared change of the visible channels and alpha from the first recorded state to the last, per cell of the body.

    Args:
        moments: (T, B, C, D, H, W), T >= 2; with one moment there is no change and the term is 0.
        target: gives the number of the body's cells.
        rule: says which channels are visible.

    Returns:
        (B,), 0 or more.
    """
    visible = moments[:, :, : rule.visible + 1]
    change = (visible[-1] - visible[0]).square()
    return change.sum(dim=(1, 2, 3, 4)) / (_cells(target) * visible.shape[2])


# Does a grown body come to rest in all its channels? Hidden changes are what a body drifts by.
@declared(moments=2, kinds=("rgb", "classes"))
def still(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """Squared change of every channel, hidden ones too, from the first recorded state to the last, per cell of the body.

    The term `rest` looks at visible channels. A body whose hidden channels creep looks right for a thousand steps and is lost
    after ten thousand; one whose updates vanish can't drift.

    Args:
        moments: (T, B, C, D, H, W), T >= 2; with one moment there is no change and the term is 0.
        target: says which bodies are grown.
        rule: not used; all terms have the same arguments.

    Returns:
        (B,), 0 or more; 0 for bodies that were not grown at the first moment.
    """
    change = (moments[-1] - moments[0]).square().sum(dim=(1, 2, 3, 4))
    grown = iou(moments[0], target) >= GROWN
    return torch.where(grown, change, 0.0) / (_cells(target) * moments.shape[2])


# Does a first cell outlive its own first update? A body that died teaches nothing: no gradient says what it died of.
@declared(kinds=("rgb", "classes"))
def first_cell(moments: Tensor, target: Target, rule: Rule) -> Tensor:
    """How far below 0.3 the alpha of a first cell is after its first update; 0 for a rule whose first cells live.

    Where the first cell fires before its neighbours do, it is alone, and an update that takes its alpha away ends the body.
    That comes by and by in long trainings: bodies that did not draw such a beginning are right, and the others count for
    nothing. This term asks it of the rule itself, whatever was drawn.

    Args:
        moments: (T, B, C, D, H, W); gives the number of samples.
        target: not used; all terms have the same arguments.
        rule: what is asked; of a rule of several bodies the mean over all of them. Without an alive mask nothing dies.

    Returns:
        (B,), the same for each sample, 0 or more.
    """
    if rule.alive_threshold is None:
        return moments.new_zeros(moments.shape[1])
    each = [rule.tied(name) for name in rule.conditions] if isinstance(rule, ConditionalRule) else [rule]
    short = torch.stack([INSIDE - _alpha_alone(one, moments) for one in each]).clamp_min(0).mean()
    return short.to(moments.dtype).expand(moments.shape[1])


def _alpha_alone(rule: Rule, like: Tensor) -> Tensor:
    """Returns alpha of a first cell that has updated while all around it was empty, (), before anything dies."""
    # Wide enough that it is not its own neighbour where the lattice is a torus.
    state = like.new_full((1, rule.channels, 5, 5, 5), rule.dead_value, dtype=torch.float32)
    rule.plant(state, torch.tensor([[2, 2, 2]]))
    core, state = rule.core or rule, rule.to_core(state)
    delta = core.update(core.perceive(state)[0, :, 2, 2, 2])
    return state[0, core.alpha, 2, 2, 2] + core.step_size * delta[core.alpha]


def _cells(target: Target) -> int:
    """Returns the number of the body's cells, as a divisor: 1 where it has none."""
    return max(1, target.cells)
