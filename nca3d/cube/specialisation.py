"""How differently cells behave: which kind of question each of them minds, and how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.evaluation.studies.dynamics import eta_squared


class Specialisation(NamedTuple):
    """`strength` (D, H, W) 0..1, `preferred` int64 (D, H, W), a number into `kinds`."""

    strength: Tensor
    preferred: Tensor
    kinds: list[str]


def specialisation(features: Tensor, kinds: Sequence[str]) -> Specialisation:
    """The share of each cell's variance over questions that their kind explains: `eta_squared`, over all its features.

    A cell that does the same whatever is asked, or that minds each question alike, has 0; one whose features follow from the
    kind of question alone has 1. A cell prefers the kind whose mean lies farthest from the mean of all. Among questions
    of one kind there is nothing to prefer: all cells have 0.

    Args:
        features: (N, F, D, H, W), of cubes that were asked one question each.
        kinds: N names, the kind of each question.

    Raises:
        ValueError: another number of kinds than of questions.
    """
    if len(kinds) != len(features):
        raise ArgumentError("kinds", len(kinds), f"{len(features)}, one for each question")
    names = sorted(set(kinds))
    number = torch.tensor([names.index(kind) for kind in kinds], device=features.device)
    features = features.double()
    centred = features - features.mean(dim=0)
    means = torch.stack([centred[number == kind].mean(dim=0) for kind in range(len(names))])  # (K, F, D, H, W)
    apart = means.square().sum(dim=1)  # (K, D, H, W)
    counts = torch.bincount(number, minlength=len(names)).to(apart)
    between = (counts[:, None, None, None] * apart).sum(dim=0)
    total = centred.square().sum(dim=(0, 1))
    # Of one kind the mean of all, less itself, is not quite 0.
    strength = eta_squared(between, total).nan_to_num(0.0) * (len(names) > 1)
    return Specialisation(strength.float().cpu(), apart.argmax(dim=0).cpu(), names)
