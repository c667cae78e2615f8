"""What is asked of a cube, as far as it can be told by how its surfaces look: the loss terms of regime answering."""

import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared

DEFAULT_TERMS = {"surface": 0.3, "internal": 0.01, "dialogue": 1.0, "reconstruction": 0.1}

# Of the choice: a difference of so much in cosine makes an answer e times as likely.
TEMPERATURE = 0.1


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
