"""What cubes are taught: questions and answers with a teacher's embeddings of them, a whole set and one iteration's part; and
what a run keeps of it beside its checkpoints, so that its cube can be asked without its training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nca3d.config import Config
from nca3d.cube.questions import Questions, read_questions
from nca3d.cube.regime import CubeFields
from nca3d.cube.teacher.embeddings import embeddings_folder, embeddings_of
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.teacher.teachers import load_saved_teacher
from nca3d.errors import InputError
from nca3d.files import write_atomic
from nca3d.load import CONFIG, run_folder

TEACHER, ANSWERS = "teacher", "answers.json"


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
    def by(cls, teacher: Teacher, questions: Questions, cache: Path | None = None, progress: bool = False) -> "Taught":
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

    def part(self, ids: Tensor) -> "Lesson":
        """The questions with these numbers, with all rivals: so that parts of a batch add up to the whole (law 8)."""
        return Lesson(self.asked[ids], self.wanted[ids], self.right[ids], self.rivals)

    def to(self, device: torch.device) -> "Lesson":
        """The same on another device."""
        return Lesson(*(tensor.to(device) for tensor in (self.asked, self.wanted, self.right, self.rivals)))


def evenly(length: int, count: int) -> Tensor:
    """int64, at most `count` places in a list of that length, evenly from end to end."""
    return torch.linspace(0, max(length - 1, 0), min(count, length)).round().long()


def keep_teacher(folder: Path, teacher: Teacher, answers: Sequence[str]) -> None:
    """Write both into a folder; once there, they stay."""
    if not (folder / ANSWERS).exists():
        teacher.save(folder / TEACHER)
        write_atomic(folder / ANSWERS, (json.dumps(list(answers), indent=0, ensure_ascii=False) + "\n").encode())


def saved_teacher(folder: Path) -> tuple[Teacher, list[str]]:
    """The teacher and the answers of a folder.

    Raises:
        InputError: not there, or not what was written.
    """
    try:
        answers = json.loads((folder / ANSWERS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(folder / ANSWERS, "answers", error, "the file that training a cube writes") from None
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers) or not answers:
        raise InputError(folder / ANSWERS, "answers", type(answers).__name__, "a list of texts")
    return load_saved_teacher(folder / TEACHER), answers


def taught_of_run(name: str | Path) -> Taught:
    """What the cube of a run was taught, by the teacher that its folder keeps.

    Args:
        name: the run folder, or one of its checkpoints.

    Raises:
        InputError: no run of a cube, or its questions are gone.
    """
    folder = run_folder(name)
    config = Config.load(folder / CONFIG)
    if config.kind.table != "cube":
        raise InputError(folder / CONFIG, "regime", repr(config.regime), "answering: the config of a run of a cube")
    questions = read_questions(CubeFields.of(config).questions)
    return Taught.by(saved_teacher(folder)[0], questions, embeddings_folder(), progress=True)
