"""The other wing: a cube of gMLP cells that gets a question at one face and answers at the opposite one.

Start with `gmlp.py` (what one cell computes), `cell.py` (the rule: a lattice of such cells), `asked.py` and `faces.py` (a
question in, an answer out) and `task.py` (its training). The wing registers itself by `wing.py`; nothing outside this folder
names it.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nca3d.cube.adapters import ADAPTERS, Adapter
    from nca3d.cube.ask import Cube
    from nca3d.cube.cell import GMLPRule
    from nca3d.cube.questions import Pair, Questions, read_questions
    from nca3d.cube.teacher.embeddings import Embeddings, embeddings_of, read_embeddings, write_embeddings
    from nca3d.cube.teacher.teacher import Teacher
    from nca3d.cube.teacher.teachers import load_saved_teacher, load_teacher
    from nca3d.cube.teacher.transformer import shape_of

# Where each name is defined, as it is imported when it is first used: questions can be read without torch, which takes seconds.
_HOMES = {
    "ADAPTERS": "adapters",
    "Adapter": "adapters",
    "Cube": "ask",
    "Embeddings": "teacher.embeddings",
    "GMLPRule": "cell",
    "Pair": "questions",
    "Questions": "questions",
    "Teacher": "teacher.teacher",
    "embeddings_of": "teacher.embeddings",
    "load_saved_teacher": "teacher.teachers",
    "load_teacher": "teacher.teachers",
    "read_embeddings": "teacher.embeddings",
    "read_questions": "questions",
    "shape_of": "teacher.transformer",
    "write_embeddings": "teacher.embeddings",
}

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Cube",
    "Embeddings",
    "GMLPRule",
    "Pair",
    "Questions",
    "Teacher",
    "embeddings_of",
    "load_saved_teacher",
    "load_teacher",
    "read_embeddings",
    "read_questions",
    "shape_of",
    "write_embeddings",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'nca3d.cube' has no attribute {name!r}")
    globals()[name] = value = getattr(importlib.import_module(f"nca3d.cube.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
