"""Five questions to try a cube with, some that it was trained on and some that it never saw.

It imports no torch, so that an exported cube can be asked without what training needs.
"""

from pathlib import Path
from typing import NamedTuple

from nca3d.config import Config
from nca3d.cube.questions import Pair, Questions, read_questions
from nca3d.cube.regime import CubeFields
from nca3d.errors import InputError
from nca3d.load import CONFIG

# How many samples there are.
SAMPLES = 5


class Sample(NamedTuple):
    """One question to try a cube with.

    Attributes:
        question: The question's text.
        answer: Its right answer.
        split: The split that it is of: the cube was trained on "train" alone.
    """

    question: str
    answer: str
    split: str


def samples_of(questions: Questions) -> tuple[Sample, ...]:
    """Returns five questions of a set: by turns of split train and of a held-out one, and of one kind after the other.

    Nobody picks them for their answers: each is the one in the middle of its split and kind.
    """
    usual: list[str] = ["test", "compose", "validation"]
    held_out = [split for split in usual if split in questions.splits]
    held_out = held_out or [split for split in questions.splits if split != "train"]
    kinds = list(dict.fromkeys(pair.kind for pair in questions.pairs))
    chosen: dict[str, Pair] = {}
    for number in range(SAMPLES):
        turn = number // 2 % max(len(held_out), 1)
        splits = ["train"] if number % 2 == 0 else [*held_out[turn:], *held_out[:turn], "train"]
        kind = kinds[number % len(kinds)]
        groups = [[pair for pair in questions.of(split) if pair.question not in chosen] for split in splits]
        # First the groups of the kind whose turn it is; where no split has it, any kind will do.
        groups = [[pair for pair in group if pair.kind == kind] for group in groups] + groups
        for group in groups:
            if group:
                chosen[group[len(group) // 2].question] = group[len(group) // 2]
                break
    return tuple(Sample(pair.question, pair.answer, pair.split) for pair in chosen.values())


def samples_of_run(folder: Path, digest: str | None) -> tuple[Sample, ...]:
    """Returns samples of the set that a run's config names; none where the set is gone or was changed.

    Args:
        folder: The run folder.
        digest: The digest of the set that the cube was trained on; None = it is not known, and the set is trusted.
    """
    try:
        questions = read_questions(CubeFields.of(Config.load(folder / CONFIG)).questions)
    except InputError:
        return ()
    return samples_of(questions) if digest in (None, questions.digest) else ()


def samples_of_record(rows: object) -> tuple[Sample, ...]:
    """Returns the samples in the record of an exported cube; none where it has none, as in those of older versions."""
    found = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    samples = [Sample(row.get("question", ""), row.get("answer", ""), row.get("split", "")) for row in found]
    return tuple(sample for sample in samples if all(isinstance(text, str) and text.strip() for text in sample))
