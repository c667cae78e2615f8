"""What cubes are taught: questions and answers with a teacher's embeddings of them, a whole set and one iteration's part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nca3d.cube.questions import Questions
from nca3d.cube.teacher.cache import embeddings_of
from nca3d.cube.teacher.teacher import Teacher


@dataclass(frozen=True, eq=False)
class Taught:
    """A set of questions, embedded: what cubes are trained on and judged by.

    Args:
        questions: the texts.
        teacher: whose embeddings these are.
        asked: (N, E), of the question of each pair.
        answers: (A, E), of each distinct answer, in the order of `questions.answers`.
        right: int64 (N,), which answer each pair has.
    """

    questions: Questions
    teacher: Teacher
    asked: Tensor
    answers: Tensor
    right: Tensor

    @classmethod
    def by(cls, teacher: Teacher, questions: Questions, cache: Path | None = None, progress: bool = False) -> Taught:
        """Embed all texts that are not in the cache yet."""
        texts = [pair.question for pair in questions.pairs]
        asked, answers = (embeddings_of(teacher, some, cache, progress) for some in (texts, list(questions.answers)))
        number = {answer: index for index, answer in enumerate(questions.answers)}
        return cls(questions, teacher, asked, answers, torch.tensor([number[pair.answer] for pair in questions.pairs]))

    def of(self, split: str) -> Tensor:
        """int64, the numbers of the pairs of a split."""
        return torch.tensor([n for n, pair in enumerate(self.questions.pairs) if pair.split == split], dtype=torch.int64)

    def some(self, split: str, count: int) -> Tensor:
        """At most so many of a split, from its whole length: sets stand in order of their kinds."""
        pairs = self.of(split)
        return pairs[evenly(len(pairs), count)]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is asked in one iteration, and what should be said.

    Args:
        asked: (B, E), embeddings of the questions.
        wanted: (B, E), embeddings of their answers.
        right: int64 (B,), which of the rivals the right answer is.
        rivals: (N, E), embeddings of distinct answers, all of the batch's among them.
    """

    asked: Tensor
    wanted: Tensor
    right: Tensor
    rivals: Tensor

    def part(self, ids: Tensor) -> Lesson:
        """The questions with these numbers, with all rivals: so that parts of a batch add up to the whole (law 8)."""
        return Lesson(self.asked[ids], self.wanted[ids], self.right[ids], self.rivals)

    def to(self, device: torch.device) -> Lesson:
        """The same on another device."""
        return Lesson(*(tensor.to(device) for tensor in (self.asked, self.wanted, self.right, self.rivals)))


def evenly(length: int, count: int) -> Tensor:
    """int64, at most `count` places in a list of that length, evenly from end to end."""
    return torch.linspace(0, max(length - 1, 0), min(count, length)).round().long()
