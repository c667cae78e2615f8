"""What a cube outputs for questions, which answers that means, and whether it is right: one look-up among all answers.

Answers are ranked by the cosine of their surface to the cube's output. Ties count against the cube: it is right only if no
other answer is as near, so that a constant output is never right by being the first of equals.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.errors import InputError, RunError
from nca3d.fire import check_seed

if TYPE_CHECKING:
    from nca3d.cube.cell import GMLPRule
    from nca3d.cube.samples import Sample
    from nca3d.cube.teacher.teacher import Teacher
    from nca3d.cube.threshold import Threshold

# How many questions are computed in one batch: enough to keep a processor busy, and little memory.
AT_ONCE = 64
# The most steps of one call of `ask`, so that a request over the network can't run for ever.
LONGEST = 10_000
# Cosines are rounded to multiples of this: which answer is nearer must not depend on the order in which a product was summed.
EQUAL = 1e-6

# Asking ---------------------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """One answer to a question.

    Attributes:
        answer: The text.
        score: The cosine of the answer's surface to the cube's output, −1 to 1.
    """

    answer: str
    score: float


class Verdict(NamedTuple):
    """What a cube answers to one question, and whether it is sure.

    Attributes:
        replies: The nearest answers, the nearest first.
        sure: Whether it is sure of the first; None = no threshold was measured, so nobody knows.
        doubt: Why it is not sure; "" = it is, or nobody knows.
    """

    replies: list[Reply]
    sure: bool | None
    doubt: str


class Askable(ABC):
    """A cube that can be asked in words.

    `cube.ask.Cube` computes by PyTorch, `cube.export.folder.SurfaceCube` by ONNX Runtime.

    Attributes:
        teacher: The teacher that embeds questions.
        answers: The A texts to choose from.
        goals: The surfaces of these answers, (A, H·W).
    """

    teacher: "Teacher"
    answers: tuple[str, ...]
    goals: Tensor

    def ask(
        self, questions: Sequence[str], *, best: int = 5, steps: int | None = None, random_seed: int = 0
    ) -> list[list[Reply]]:
        """Returns the nearest answers to each question, the nearest first.

        Args:
            questions: One or more texts, none of them empty.
            best: How many answers to return for each question.
            steps: How many steps the cube computes; None = the horizon of its training.
            random_seed: Chooses which cells fire.

        Raises:
            InputError: A question is empty, or a number is out of its range.
        """
        if not questions or any(not question.strip() for question in questions):
            raise InputError("ask", "question", "an empty text", "one or more texts with at least one word each")
        if best < 1:
            raise InputError("ask", "best", best, "1 or more")
        if steps is not None and not 1 <= steps <= LONGEST:
            raise InputError("ask", "steps", steps, f"1 .. {LONGEST}")
        check_seed(random_seed)
        outputs = self.say(self.teacher.embed(list(questions)), steps, random_seed)
        return top_answers(outputs, self.goals, self.answers, best)

    def verdicts(
        self, questions: Sequence[str], *, best: int = 5, steps: int | None = None, random_seed: int = 0
    ) -> list[Verdict]:
        """Returns the nearest answers to each question, and whether the cube is sure of the first.

        Args:
            questions: See `ask`.
            best: See `ask`.
            steps: See `ask`. A threshold is for the horizon of training: at any other number nobody knows.
            random_seed: See `ask`.

        Raises:
            InputError: See `ask`.
        """
        if best < 1:  # checked by `ask`, which is asked for two
            raise InputError("ask", "best", best, "1 or more")
        rows = self.ask(questions, best=max(best, 2), steps=steps, random_seed=random_seed)
        threshold = self.threshold
        if threshold is None or steps not in (None, threshold.steps):
            return [Verdict(row[:best], None, "") for row in rows]
        doubts = [threshold.doubt(row) for row in rows]
        return [Verdict(row[:best], not doubt, doubt) for row, doubt in zip(rows, doubts, strict=True)]

    @property
    def threshold(self) -> "Threshold | None":
        """Below what the cube is not sure; None where it was not measured."""
        return None

    @property
    def samples(self) -> "Sequence[Sample]":
        """A few questions to try the cube with; none where they are not known."""
        return ()

    @abstractmethod
    def say(self, questions: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """Returns the surface of the back face for each question, (N, H·W).

        All questions have sample id 0 in the draw of fire masks, so that the same question gets the same answer in any batch.

        Args:
            questions: The embeddings of the questions, (N, E).
            steps: How many steps the cube computes; None = the horizon of its training.
            random_seed: Chooses which cells fire.
        """

    @abstractmethod
    def about(self) -> dict[str, object]:
        """Describes the cube: model (a digest of its weights), size, cells, weights, answers, horizon, teacher, runtime.

        And its threshold as a table; None where there is none.
        """


@torch.no_grad()
def say(
    rule: "GMLPRule",
    questions: Tensor,
    steps: int,
    *,
    random_seed: int = 0,
    sample_ids: Tensor | None = None,
    states: Tensor | None = None,
    executor: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Runs a cube for each question and reads the back face.

    Args:
        rule: The cube's rule.
        questions: What `GMLPRule.ask` takes, (N, E).
        steps: How many steps each cube computes.
        random_seed: Chooses the fire masks.
        sample_ids: The id of each question in the draw of fire masks, int (N,); None = 0 .. N−1.
        states: The first states, (N, C, D, H, W); None = a cube at rest for each question.
        executor: See `nca3d.rollout`.

    Returns:
        The surfaces of the back face, (N, H·W), and the last states, (N, C, D, H, W).
    """
    # Imported here, because an exported cube looks answers up without rule or executor.
    from nca3d.rollout import rollout

    training = rule.training
    rule.eval()
    outputs, ends = [], []
    sample_ids = torch.arange(len(questions)) if sample_ids is None else sample_ids
    for ids in torch.arange(len(questions)).split(AT_ONCE):
        state = rule.rest(len(ids), questions.device) if states is None else states[ids]
        inputs = rule.ask(questions[ids])
        state = rollout(
            rule, state, steps, random_seed=random_seed, sample_ids=sample_ids[ids], inputs=inputs, executor=executor
        )
        outputs.append(rule.answer(state))
        ends.append(state)
    # Dropout is off for the answer only: the caller may be in the middle of training.
    rule.train(training)
    return torch.cat(outputs), torch.cat(ends)


# Looking up -----------------------------------------------------------------------------------------------------------


class Judgement(NamedTuple):
    """How right the cube is on each question.

    Attributes:
        top1: Whether the right answer is the nearest of all, bool (N,).
        top5: Whether it is among the five nearest, bool (N,).
        cosine: The cosine of its surface to the cube's output, (N,), −1 to 1.
    """

    top1: Tensor
    top5: Tensor
    cosine: Tensor

    def figures(self) -> dict[str, float]:
        """Returns the means over all questions, by the names of the attributes."""
        return {name: float(values.float().mean()) for name, values in self._asdict().items()}


@torch.no_grad()
def judge(outputs: Tensor, goals: Tensor, answer_index: Tensor) -> Judgement:
    """Tells whether outputs are right: fewer than one, or five, of the other answers are as near as the right one.

    Args:
        outputs: The surfaces that the cube showed, (N, P); a row that is not finite is wrong.
        goals: The surfaces of all distinct answers, (A, P).
        answer_index: Which of them is the right one, int64 (N,).
    """
    cosines, ranks = _cosines_and_ranks(outputs, goals)
    # The right answer is as near as itself: less 1.
    as_near = (ranks >= ranks.gather(1, answer_index[:, None])).sum(dim=1) - 1
    return Judgement(as_near < 1, as_near < 5, cosines.gather(1, answer_index[:, None])[:, 0])


@torch.no_grad()
def top_answers(outputs: Tensor, goals: Tensor, answers: Sequence[str], best: int) -> list[list[Reply]]:
    """Returns the answers that are nearest to each output, the nearest first; equal ones stand in the order of the set.

    Args:
        outputs: The surfaces that the cube showed, (N, P).
        goals: The surfaces of the answers, (A, P).
        answers: The A texts.
        best: How many of them to return for each output, at most.

    Raises:
        RunError: An output is not finite.
    """
    if not outputs.isfinite().all():
        raise RunError("the cube's output is not a finite number: ask for fewer steps, or train at a lower learning_rate")
    cosines, ranks = _cosines_and_ranks(outputs, goals)
    # A stable sort: without it, the order of ties would change from build to build.
    places = ranks.argsort(dim=1, descending=True, stable=True)[:, :best]
    return [
        [Reply(answers[place], score) for score, place in zip(row, at, strict=True)]
        for row, at in zip(cosines.gather(1, places).tolist(), places.tolist(), strict=True)
    ]


def _cosines_and_ranks(outputs: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the cosines (N, A) of outputs to all answers, and the same in whole multiples of EQUAL, where ties are equal."""
    cosines = F.normalize(outputs.float(), dim=1) @ F.normalize(goals.float(), dim=1).T
    # NaN would compare as false and so count as right; −1 is as far from every answer as can be.
    cosines = torch.where(cosines.isfinite(), cosines, -1.0)
    return cosines, (cosines / EQUAL).round()
