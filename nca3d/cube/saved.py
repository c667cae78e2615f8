"""The teacher and the answers of a run, beside its checkpoints: what it takes to ask a cube without its training."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

from nca3d.cube.questions import read_questions
from nca3d.cube.taught import Taught
from nca3d.cube.teacher.cache import embeddings_folder
from nca3d.cube.teacher.teachers import Teacher, load_saved_teacher
from nca3d.errors import InputError

TEACHER, ANSWERS = "teacher", "answers.json"


def keep_teacher(folder: Path, taught: Taught) -> None:
    """Write both into a run folder; once there, they stay."""
    if not (folder / ANSWERS).exists():
        taught.teacher.save(folder / TEACHER)
        temporary = folder / f".{ANSWERS}.tmp-{os.getpid()}"
        temporary.write_text(json.dumps(list(taught.questions.answers), indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(folder / ANSWERS)


def saved_teacher(folder: Path) -> tuple[Teacher, list[str]]:
    """The teacher and the answers of a run folder.

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
    folder = Path(name)
    folder = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    try:
        config = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        questions = config["questions"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(folder / "config.toml", "questions", error, "the config of a run of regime answering") from None
    return Taught.by(saved_teacher(folder)[0], read_questions(questions), embeddings_folder(), progress=True)
