"""Does the back face show the right surface? Squared error of its pixels."""

from __future__ import annotations

from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared


@declared(kinds=("signal",))
def surface(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Squared error of the answer per pixel, as a share of what a blank face would have: 1 is no better than silence.

    Args:
        moments: (T, B, C, D, H, W); the last one counts.
        target: the lesson.
        rule: reads the answer off its back face.

    Returns:
        (B,), 0 or more.
    """
    wanted = rule.goal(target.wanted)
    size = rule.goal(target.rivals).square().mean().clamp_min(1e-12)
    return (rule.answer(moments[-1]) - wanted).square().mean(dim=1) / size
