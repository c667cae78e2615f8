"""The loss terms of regime answering, all computed from what a cube shows on its faces and in its layers."""

import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.lesson import Lesson
from nca3d.losses.terms import declared

# The weights where a config names none. `dialogue` is what the cube is judged by; the others steady its training.
DEFAULT_TERMS = {"surface": 0.3, "internal": 0.01, "dialogue": 1.0, "reconstruction": 0.1}

# The temperature of the choice among candidates: an answer whose cosine is larger by this much is e times as likely.
TEMPERATURE = 0.1


@declared(kinds=("signal",))
def surface(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Returns the squared error of the answer per pixel, divided by the error of a blank face: 1 is no better than silence.

    Args:
        moments: Recorded states, (T, B, C, D, H, W); only the last one counts.
        target: The questions with their right answers.
        rule: The cube's rule, which reads the answer off the back face.

    Returns:
        The loss of each sample, (B,), 0 or more.
    """
    goal = rule.goal(target.answers)
    # The mean over candidates, not over the batch: parts of a batch must be divided by the same number (law 8).
    blank = rule.goal(target.candidates).square().mean().clamp_min(1e-12)
    return (rule.answer(moments[-1]) - goal).square().mean(dim=1) / blank


@declared(kinds=("signal",))
def internal(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Returns the squared difference of neighbouring layers' features, divided by the square of all features.

    It asks the signal to change gradually from layer to layer.

    Args:
        moments: Recorded states, (T, B, C, D, H, W); only the last one counts. A cube of a single layer has loss 0.
        target: Is not used.
        rule: The cube's rule, which says which channels are features.

    Returns:
        The loss of each sample, (B,), 0 or more.
    """
    layers = moments[-1][:, : rule.features]
    jump = (layers[:, :, 1:] - layers[:, :, :-1]).square().flatten(1).sum(dim=1)
    # Without the division the cube could make this small by shrinking every feature.
    return jump / layers.square().flatten(1).sum(dim=1).clamp_min(1e-12)


@declared(kinds=("signal",))
def dialogue(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Returns 1 − cosine to the right answer's surface, plus the cross-entropy of choosing it among the candidates.

    The second part is InfoNCE (van den Oord et al. 2018). A cube that always gives the same answer can have a fair cosine to
    all surfaces, but can't be the most likely for each question: it pays the logarithm of the number of candidates.

    Args:
        moments: Recorded states, (T, B, C, D, H, W); only the last one counts.
        target: The questions with their right answers and the candidates.
        rule: The cube's rule, which reads the answer off the back face.

    Returns:
        The loss of each sample, (B,), 0 or more.
    """
    output = F.normalize(rule.answer(moments[-1]).float(), dim=1)
    cosines = output @ F.normalize(rule.goal(target.candidates), dim=1).T
    right = cosines.gather(1, target.answer_index[:, None]).squeeze(1)
    return 1 - right + F.cross_entropy(cosines / TEMPERATURE, target.answer_index, reduction="none")


@declared(kinds=("signal",))
def reconstruction(moments: Tensor, target: Lesson, rule: GMLPRule) -> Tensor:
    """Returns the squared error of questions and answers that are decoded from their surfaces, averaged over the two.

    It keeps adapters that are trained with the cube from forgetting what embeddings say. The error is divided by the mean
    square of the teacher's embeddings, which the adapter knows from its fit.

    Args:
        moments: Recorded states, (T, B, C, D, H, W); they only tell how many samples there are.
        target: The questions with their right answers.
        rule: The cube's rule, which has the adapters; without adapters the loss is 0.

    Returns:
        The loss of each sample, (B,), 0 or more.
    """
    loss = moments.new_zeros(moments.shape[1])
    for adapter, embeddings in ((rule.surface.asked, target.questions), (rule.surface.wanted, target.answers)):
        if adapter is not None:
            decoded = adapter.decode(adapter.encode(embeddings))
            # Detached: otherwise the adapter could lower the loss by claiming that embeddings are large.
            usual = (2 * adapter.log_size.detach()).exp()
            loss = loss + (decoded - embeddings).square().mean(dim=1) / usual / 2
    return loss
