"""What a cube says to questions, which answers that means, and whether it is right, by one look-up among all answers.

Answers are compared by the cosine of their surface to what was said. Where two are equal, ties count against the cube: it is
right only if no other answer is as near, so that a constant answer is never right by being the first of equals.
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
    from nca3d.cube.teacher.teacher import Teacher

# Questions that are asked at the same time.
AT_ONCE = 64
# Steps that a cube may think.
LONGEST = 10_000
# Cosines are rounded to multiples of this: which answer is nearer must not depend on how a product was summed up.
EQUAL = 1e-6

# Asking ---------------------------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """An answer, and the cosine of its surface to what the cube said, −1 to 1."""

    answer: str
    score: float


class Askable(ABC):
    """A cube that can be asked: `cube.ask.Cube` thinks by PyTorch, `cube.export.folder.SurfaceCube` by ONNX Runtime.

    teacher: reads questions. answers: A texts to choose from. goals: (A, H·W), their surfaces.
    """

    teacher: "Teacher"
    answers: tuple[str, ...]
    goals: Tensor

    def ask(
        self, questions: Sequence[str], *, best: int = 5, steps: int | None = None, random_seed: int = 0
    ) -> list[list[Reply]]:
        """The nearest answers to each question, the nearest first.

        Args:
            questions: texts, none of them empty.
            best: how many answers.
            steps: how long the cube thinks; default the horizon of its training.
            random_seed: chooses which cells fire.

        Raises:
            InputError: an empty question, a number out of range.
        """
        if not questions or any(not question.strip() for question in questions):
            raise InputError("ask", "question", "an empty text", "one or more texts with at least one word each")
        if best < 1:
            raise InputError("ask", "best", best, "1 or more")
        if steps is not None and not 1 <= steps <= LONGEST:
            raise InputError("ask", "steps", steps, f"1 .. {LONGEST}")
        check_seed(random_seed)
        said = self.say(self.teacher.embed(list(questions)), steps, random_seed)
        return top_answers(said, self.goals, self.answers, best)

    @abstractmethod
    def say(self, asked: Tensor, steps: int | None = None, random_seed: int = 0) -> Tensor:
        """What the back face says, (N, H·W), to questions (N, E); all have sample id 0: one question, one answer."""

    @abstractmethod
    def about(self) -> dict[str, object]:
        """What is asked: model (of its weights), size, cells, weights, answers, horizon, teacher, runtime."""


@torch.no_grad()
def say(
    rule: "GMLPRule",
    asked: Tensor,
    steps: int,
    *,
    random_seed: int = 0,
    sample_ids: Tensor | None = None,
    states: Tensor | None = None,
    executor: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Ask a cube, a new one for each question.

    Args:
        rule: the cube's.
        asked: (N, E), what `GMLPRule.ask` takes.
        steps: how long it thinks.
        random_seed: chooses the fire masks.
        sample_ids: int (N,), who each question is for the fire masks; default 0 .. N−1.
        states: (N, C, D, H, W) to begin with; default at rest.
        executor: see `rollout`.

    Returns:
        What the back face says, (N, H·W), and the last states, (N, C, D, H, W).
    """
    from nca3d.rollout import rollout  # here: an exported cube is looked up and judged without rule or executor

    training = rule.training
    rule.eval()
    said, ends = [], []
    who = torch.arange(len(asked)) if sample_ids is None else sample_ids
    for ids in torch.arange(len(asked)).split(AT_ONCE):
        state = rule.rest(len(ids), asked.device) if states is None else states[ids]
        inputs = rule.ask(asked[ids])
        state = rollout(rule, state, steps, random_seed=random_seed, sample_ids=who[ids], inputs=inputs, executor=executor)
        said.append(rule.answer(state))
        ends.append(state)
    rule.train(training)
    return torch.cat(said), torch.cat(ends)


# Looking up -----------------------------------------------------------------------------------------------------------


class Judged(NamedTuple):
    """Of each question (N,): whether the right answer is the nearest of all, among the five nearest, and its cosine."""

    top1: Tensor
    top5: Tensor
    cosine: Tensor

    def figures(self) -> dict[str, float]:
        """The means."""
        return {name: float(values.float().mean()) for name, values in self._asdict().items()}


@torch.no_grad()
def judge(said: Tensor, goals: Tensor, right: Tensor) -> Judged:
    """Whether what was said is right: fewer than one, or five, of the other answers are as near as the right one.

    Args:
        said: (N, P); a row that is not finite is wrong.
        goals: (A, P), the surfaces of all distinct answers.
        right: int64 (N,), which of them is the right one.
    """
    cosines, ranks = _looked_up(said, goals)
    as_near = (ranks >= ranks.gather(1, right[:, None])).sum(dim=1) - 1
    return Judged(as_near < 1, as_near < 5, cosines.gather(1, right[:, None])[:, 0])


@torch.no_grad()
def top_answers(said: Tensor, goals: Tensor, answers: Sequence[str], best: int) -> list[list[Reply]]:
    """The answers that are nearest to what was said, the nearest first; equal ones stand in the order of the set.

    Args:
        said: (N, P).
        goals: (A, P), the surfaces of the answers.
        answers: A texts.
        best: how many of them for each question, at most.

    Raises:
        RunError: what was said is no number.
    """
    if not said.isfinite().all():
        raise RunError("the cube said what is not a finite number: ask for fewer steps, or train at a lower learning_rate")
    cosines, ranks = _looked_up(said, goals)
    places = ranks.argsort(dim=1, descending=True, stable=True)[:, :best]
    return [
        [Reply(answers[place], score) for score, place in zip(row, at, strict=True)]
        for row, at in zip(cosines.gather(1, places).tolist(), places.tolist(), strict=True)
    ]


def _looked_up(said: Tensor, goals: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines (N, A) of what was said to all answers, and the same in whole steps of EQUAL: equal ones are ties."""
    cosines = F.normalize(said.float(), dim=1) @ F.normalize(goals.float(), dim=1).T
    cosines = torch.where(cosines.isfinite(), cosines, -1.0)  # what is no number is as far from everything as can be
    return cosines, (cosines / EQUAL).round()
