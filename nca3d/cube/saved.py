"""The teacher and the answers of a run, beside its checkpoints: what it takes to ask a cube without its training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from nca3d.config import Config
from nca3d.cube.fields import CubeFields
from nca3d.cube.lesson import Taught
from nca3d.cube.questions import read_questions
from nca3d.cube.teacher.cache import embeddings_folder
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.teacher.teachers import load_saved_teacher
from nca3d.errors import InputError
from nca3d.files import write_whole
from nca3d.load import CONFIG, run_folder

TEACHER, ANSWERS = "teacher", "answers.json"


def keep_teacher(folder: Path, teacher: Teacher, answers: Sequence[str]) -> None:
    """Write both into a folder; once there, they stay."""
    if not (folder / ANSWERS).exists():
        teacher.save(folder / TEACHER)
        write_whole(folder / ANSWERS, (json.dumps(list(answers), indent=0, ensure_ascii=False) + "\n").encode())


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
