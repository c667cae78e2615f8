"""The file that `nca3d embed` writes: a set's questions and answers as vectors, and what they were made with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from nca3d.cube.questions import Questions
from nca3d.cube.teacher.tensors import check_vectors, pack, unpack
from nca3d.errors import InputError
from nca3d.files import read_file, write_whole

# What the file's metadata call it.
KIND = "embeddings"


class Embeddings(NamedTuple):
    """Pair i of the set is row i: `questions` (N, E), `answers` (N, E), float32; `metadata`: model, layer, pool, data, ..."""

    questions: Tensor
    answers: Tensor
    metadata: dict[str, str]


def write_embeddings(file: Path, found: Embeddings) -> None:
    """Write them, whole or not at all.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    write_whole(file, pack({"questions": found.questions, "answers": found.answers}, {**found.metadata, "nca3d": KIND}))


def read_embeddings(file: str | Path, questions: Questions | None = None) -> Embeddings:
    """Read them, and refuse whatever can't be trained on.

    Args:
        file: safetensors with `questions` (N, E) and `answers` (N, E), of `nca3d embed` or of one's own.
        questions: the set that they must be of, by count, and by digest if the file has one.

    Raises:
        InputError: no such file or tensor, another type than float32, wrong counts or widths, numbers that are not finite.
    """
    path = Path(file)
    tensors, metadata = unpack(read_file(path), path)
    count = None if questions is None else len(questions.pairs)
    if questions is not None and metadata.get("data", questions.digest) != questions.digest:
        raise InputError(path, "data", f"embeddings of another set, {metadata['data'][:12]}", questions.digest[:12])
    asked = check_vectors(tensors.get("questions"), path, "questions", count, None)
    answers = check_vectors(tensors.get("answers"), path, "answers", len(asked), asked.shape[1])
    if not len(asked):
        raise InputError(path, "questions", "0 rows", "at least one")
    return Embeddings(asked, answers, metadata)
