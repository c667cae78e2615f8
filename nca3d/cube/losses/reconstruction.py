"""Do the surfaces still hold what the teacher said? Embeddings rebuilt from them by the adapters."""

from __future__ import annotations

from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared


@declared(kinds=("signal",))
def reconstruction(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Squared error of questions and answers rebuilt from their surfaces, as a share of their usual size, averaged.

    Args:
        moments: (T, B, C, D, H, W); says how many samples there are.
        target: the lesson.
        rule: has the adapters; 0 without them.

    Returns:
        (B,), 0 or more.
    """
    lost = moments.new_zeros(moments.shape[1])
    for adapter, embeddings in ((rule.surface.asked, target.asked), (rule.surface.wanted, target.wanted)):
        if adapter is not None:
            rebuilt = adapter.decode(adapter.encode(embeddings))
            usual = (2 * adapter.log_size.detach()).exp()
            lost = lost + (rebuilt - embeddings).square().mean(dim=1) / usual / 2
    return lost
