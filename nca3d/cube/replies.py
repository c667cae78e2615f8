"""What any cube that can be asked gives, however it is run: answers with scores. And what all of them refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch.nn.functional as F
from torch import Tensor

from nca3d.errors import InputError, RunError
from nca3d.fire import check_seed

LONGEST = 10_000
"""Steps that a cube may think."""


EQUAL = 1e-6
"""Scores that differ by less are equal: the answer that stands first in the set comes first."""


class Reply(NamedTuple):
    """An answer, and the cosine of its surface to what the cube said, −1 to 1."""

    answer: str
    score: float


class Askable(Protocol):
    """A cube that can be asked: `cube.ask.Cube` thinks by PyTorch, `cube.export.folder.SurfaceCube` by ONNX Runtime."""

    def ask(
        self, questions: Sequence[str], *, best: int = 5, steps: int | None = None, random_seed: int = 0
    ) -> list[list[Reply]]:
        """The likest answers to each question, the likest first.

        Args:
            questions: texts, none of them empty.
            best: how many answers.
            steps: how long the cube thinks; default the horizon of its training.
            random_seed: chooses which cells fire.

        Raises:
            InputError: an empty question, a number out of range.
        """

    def about(self) -> dict[str, Any]:
        """What is asked: model (of its weights), size, cells, weights, answers, horizon, teacher, runtime."""


def check_questions(questions: Sequence[str], best: int, steps: int | None, random_seed: int) -> None:
    """Refuse what no cube can be asked.

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


def likest(said: Tensor, goals: Tensor, answers: Sequence[str], best: int) -> list[list[Reply]]:
    """Look up what was said among all answers.

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
    alike = F.normalize(said, dim=1) @ F.normalize(goals, dim=1).T
    # Rounded, so that which of equals comes first is not a matter of how a product was summed up.
    places = (alike / EQUAL).round().argsort(dim=1, descending=True, stable=True)[:, :best]
    scores = alike.gather(1, places)
    return [
        [Reply(answers[place], score) for score, place in zip(row, at, strict=True)]
        for row, at in zip(scores.tolist(), places.tolist(), strict=True)
    ]


def name_of(weights: Mapping[str, Tensor]) -> str:
    """The name of a model by the content of its weights: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()[:16]
