"""Is it the right answer, and not another one? Cosine to the right surface, and a choice among all the answers at hand."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared

TEMPERATURE = 0.1
"""Of the choice: a difference of so much in cosine makes an answer e times as likely."""


@declared(kinds=("signal",))
def dialogue(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """1 − cosine to the right surface + cross-entropy of choosing it among the rivals (InfoNCE, van den Oord et al. 2018).

    A constant answer has a cosine to all surfaces, but can't be the likest for each question: it pays the logarithm of their
    number.

    Args:
        moments: (T, B, C, D, H, W); the last one counts.
        target: the lesson.
        rule: reads the answer off its back face.

    Returns:
        (B,), 0 or more.
    """
    said = F.normalize(rule.answer(moments[-1]).float(), dim=1)
    alike = said @ F.normalize(rule.goal(target.rivals), dim=1).T
    right = alike.gather(1, target.right[:, None]).squeeze(1)
    return 1 - right + F.cross_entropy(alike / TEMPERATURE, target.right, reduction="none")
