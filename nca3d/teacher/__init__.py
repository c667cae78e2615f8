"""Text to hidden states to a surface: questions with answers, teachers that embed them, adapters onto the face of a cube.

    questions.py generate.py sets/    what is asked and what is right
    teachers.py named.py tfidf.py transformer.py    who turns text into vectors
    cache.py embeddings.py command.py    embedded once, kept; `nca3d embed`
    adapters.py adapter.py linear.py hierarchical.py autoencoder.py attention.py    vectors to the pixels of a face

May import `nca3d.errors`, `nca3d.registry`, `nca3d.lattice` and torch; transformers and scikit-learn (extra `teacher`) only
inside functions. Names are looked up when they are first used: questions are read without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nca3d.teacher.adapter import Adapter
    from nca3d.teacher.adapters import ADAPTERS
    from nca3d.teacher.cache import embeddings_of
    from nca3d.teacher.embeddings import Embeddings, read_embeddings, write_embeddings
    from nca3d.teacher.questions import Pair, Questions, read_questions
    from nca3d.teacher.teachers import Teacher, load_saved_teacher, load_teacher
    from nca3d.teacher.transformer import shape_of

_HOMES = {
    "ADAPTERS": "adapters",
    "Adapter": "adapter",
    "Embeddings": "embeddings",
    "Pair": "questions",
    "Questions": "questions",
    "Teacher": "teachers",
    "embeddings_of": "cache",
    "load_saved_teacher": "teachers",
    "load_teacher": "teachers",
    "read_embeddings": "embeddings",
    "read_questions": "questions",
    "shape_of": "transformer",
    "write_embeddings": "embeddings",
}

__all__ = [
    "ADAPTERS",
    "Adapter",
    "Embeddings",
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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nca3d.teacher' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nca3d.teacher.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
