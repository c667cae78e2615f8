"""Is a signal handed on from layer to layer? The difference of neighbouring layers, over depth."""

from __future__ import annotations

from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared


@declared(kinds=("signal",))
def internal(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Squared difference of each layer's features and those of the layer in front of it, as a share of the features' square.

    Args:
        moments: (T, B, C, D, H, W); the last one counts. With a single layer there is nothing to compare: 0.
        target: not asked.
        rule: says which channels are features.

    Returns:
        (B,), 0 or more.
    """
    layers = moments[-1][:, : rule.features]
    jump = (layers[:, :, 1:] - layers[:, :, :-1]).square().flatten(1).sum(dim=1)
    return jump / layers.square().flatten(1).sum(dim=1).clamp_min(1e-12)
