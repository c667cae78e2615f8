"""What cubes learn from: questions and answers with a teacher's embeddings, as a whole set and as one iteration's batch.

A run saves the teacher and the answers beside its checkpoints, so that its cube can be asked without its training set.
"""

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
from nca3d.files import read_file, read_sealed, refuse_odd, seal, write_atomic
from nca3d.load import CONFIG, run_folder

# The folder of the teacher and the file of the answers, within the folder of a run or of an exported cube.
TEACHER, ANSWERS = "teacher", "answers.json"
# The version of the file of answers, and the most bytes of it that are read.
FORMAT, LARGEST = 1, 512_000_000


# eq=False, here and below: comparing tensors gives a tensor, which is no answer to "equal or not".
@dataclass(frozen=True, eq=False)
class EmbeddedQuestions:
    """A set of questions with its embeddings: what cubes are trained on and judged by.

    Attributes:
        questions: The set itself, N pairs of texts.
        teacher: The teacher that embedded the texts.
        question_embeddings: The embedding of each pair's question, (N, E).
        answer_embeddings: The embedding of each distinct answer, (A, E), in the order of `questions.answers`.
        answer_index: Which of the distinct answers each pair has, int64 (N,).
    """

    questions: Questions
    teacher: Teacher
    question_embeddings: Tensor
    answer_embeddings: Tensor
    answer_index: Tensor

    @classmethod
    def of_teacher(
        cls, teacher: Teacher, questions: Questions, cache: Path | None = None, progress: bool = False
    ) -> "EmbeddedQuestions":
        """Returns a set with its embeddings by a teacher, which embeds only the texts that the cache lacks.

        Args:
            teacher: Embeds the texts.
            questions: The set.
            cache: The folder of saved embeddings; None = no cache.
            progress: Whether to show a progress bar.
        """
        # Answers repeat, often hundreds of times: each distinct text is embedded once, and pairs point to it.
        texts = [pair.question for pair in questions.pairs]
        question_embeddings, answer_embeddings = (
            embeddings_of(teacher, some, cache, progress) for some in (texts, list(questions.answers))
        )
        index = {answer: number for number, answer in enumerate(questions.answers)}
        answer_index = torch.tensor([index[pair.answer] for pair in questions.pairs])
        return cls(questions, teacher, question_embeddings, answer_embeddings, answer_index)

    def of(self, split: str) -> Tensor:
        """Returns the numbers of the pairs of a split, int64 (n,), in the order of the set; none for an unknown split."""
        return torch.tensor([n for n, pair in enumerate(self.questions.pairs) if pair.split == split], dtype=torch.int64)

    def some(self, split: str, count: int) -> Tensor:
        """Returns the numbers of at most `count` pairs of a split, int64 (n,), taken evenly from its whole length.

        A set stands in order of its kinds of questions: the first ones would all be of one kind.
        """
        pairs = self.of(split)
        return pairs[evenly(len(pairs), count)]


@dataclass(frozen=True, eq=False)
class Lesson:
    """The questions of one iteration, with the answers that the cube should give.

    Attributes:
        questions: The embeddings of the questions, (B, E).
        answers: The embeddings of their right answers, (B, E).
        answer_index: Which of the candidates each right answer is, int64 (B,).
        candidates: The embeddings of the distinct answers that the right one is chosen from, (N, E); all right answers of the
            batch are among them.
    """

    questions: Tensor
    answers: Tensor
    answer_index: Tensor
    candidates: Tensor

    def part(self, ids: Tensor) -> "Lesson":
        """Returns the questions with these numbers, ids int64 (n,), with the candidates of the whole batch.

        If each part had only the candidates of its own answers, the losses of the parts would not add up to that of the batch
        (law 8: accumulated gradients equal the plain ones).
        """
        return Lesson(self.questions[ids], self.answers[ids], self.answer_index[ids], self.candidates)

    def to(self, device: torch.device) -> "Lesson":
        """Returns the same lesson on another device."""
        return Lesson(*(tensor.to(device) for tensor in (self.questions, self.answers, self.answer_index, self.candidates)))


def evenly(length: int, count: int) -> Tensor:
    """Returns at most `count` places in a list of `length`, int64 (n,), spread evenly from its first to its last."""
    return torch.linspace(0, max(length - 1, 0), min(count, length)).round().long()


def save_teacher(folder: Path, teacher: Teacher, answers: Sequence[str]) -> None:
    """Writes a teacher and the distinct answers into a folder, unless an earlier call has.

    Args:
        folder: The folder of a run or of an exported cube.
        teacher: The teacher that embeds questions for the cube.
        answers: The texts that the cube chooses from.

    Raises:
        InputError: A link or something else that is no file or folder stands where they belong.
    """
    # The answers are written last: where they are, the teacher is whole.
    refuse_odd(folder / ANSWERS)
    if not (folder / ANSWERS).exists():
        refuse_odd(folder / TEACHER, folder=True)
        teacher.save(folder / TEACHER)
        write_atomic(folder / ANSWERS, seal({"format": FORMAT, "answers": list(answers)}))


def kept_teacher(folder: Path) -> Teacher | None:
    """Returns the teacher that a run keeps; None for a run that ended before it saved one.

    Args:
        folder: The run folder.

    Raises:
        InputError: The saved teacher is damaged.
    """
    return load_saved_teacher(folder / TEACHER) if (folder / ANSWERS).is_file() else None


def load_teacher_and_answers(folder: Path) -> tuple[Teacher, list[str]]:
    """Returns the teacher and the answers that `save_teacher` wrote.

    Args:
        folder: The folder of a run or of an exported cube.

    Raises:
        InputError: One of the two is missing or damaged.
    """
    answers = _answers(folder / ANSWERS)
    return load_saved_teacher(folder / TEACHER), answers


def _answers(file: Path) -> list[str]:
    """Returns the answers of a file with its own digest, or of a bare list, as version 0.1.0 wrote them."""
    refuse_odd(file)
    # Folders are passed on by people: the file is checked before anything else believes it.
    try:
        answers = json.loads(read_file(file).decode("utf-8"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(file, "answers", error, "the file that training a cube writes") from None
    if isinstance(answers, dict):
        answers = read_sealed(file, {"format": int, "answers": list}, FORMAT, LARGEST)["answers"]
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers) or not answers:
        raise InputError(file, "answers", type(answers).__name__, "a list of texts")
    return answers


def questions_of_run(name: str | Path) -> EmbeddedQuestions:
    """Returns the questions that the cube of a run was trained on, embedded by the teacher that its folder holds.

    Args:
        name: The run folder, or one of its checkpoints.

    Raises:
        InputError: This is not the run of a cube, or its file of questions is gone.
    """
    folder = run_folder(name)
    config = Config.load(folder / CONFIG)
    if config.kind.table != "cube":
        raise InputError(folder / CONFIG, "regime", repr(config.regime), "answering: the config of a run of a cube")
    questions = read_questions(CubeFields.of(config).questions)
    # The saved teacher, not one made anew: TF-IDF that is fitted on other texts gives other embeddings.
    return EmbeddedQuestions.of_teacher(load_teacher_and_answers(folder)[0], questions, embeddings_folder(), progress=True)
