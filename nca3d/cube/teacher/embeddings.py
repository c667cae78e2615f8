"""Embeddings on disk: the file that `nca3d embed` writes, and the cache, for which each text is embedded once.

The cache finds what a teacher made of a text by the text's digest and the teacher's id. A teacher has a folder; each call that
embeds something new adds one safetensors file to it, with the texts' digests in `texts` (n, 32) and what became of them in
`embeddings` (n, E). A file is called by the sha256 of its bytes: a flipped bit shows, and the texts are embedded again. A file
that is what was written, but not what belongs here, is refused.
"""

import contextlib
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from nca3d.cube.questions import Questions
from nca3d.cube.teacher.teacher import Teacher
from nca3d.cube.teacher.tensors import check_vectors, pack, unpack
from nca3d.errors import InputError
from nca3d.files import cache_folder, read_file, sha256, write_atomic

# What the metadata of the file of `nca3d embed` call it.
KIND = "embeddings"
# Bytes of a sha256.
DIGEST = 32
# Texts that are kept at once: what was embedded before a stop is not lost.
CHUNK = 1024

# The file -------------------------------------------------------------------------------------------------------------


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
    write_atomic(file, pack({"questions": found.questions, "answers": found.answers}, {**found.metadata, "nca3d": KIND}))


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


# The cache ------------------------------------------------------------------------------------------------------------


def embeddings_of(teacher: Teacher, texts: Sequence[str], cache: Path | None, progress: bool = False) -> Tensor:
    """Texts (n) -> float32 (n, E), from the cache where it knows them.

    Args:
        teacher: embeds the rest.
        texts: may repeat each other.
        cache: a folder, made if needed; None = no cache.
        progress: whether a bar is drawn.

    Raises:
        InputError: a file in the cache holds something else than this teacher's embeddings; the line names file and field.
    """
    return count_embeddings_of(teacher, texts, cache, progress)[0]


def count_embeddings_of(
    teacher: Teacher, texts: Sequence[str], cache: Path | None, progress: bool = False
) -> tuple[Tensor, int]:
    """The same, and how many of the texts (n) the cache knew."""
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    folder = None if cache is None else cache / sha256(teacher.id.encode())[:16]
    known = {} if folder is None else _read(folder, teacher)
    from_cache = sum(digest in known for digest in digests)
    missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    wanted = list(missing)
    for first in range(0, len(wanted), CHUNK):
        chunk = wanted[first : first + CHUNK]
        made = teacher.embed([missing[digest] for digest in chunk], progress=progress)
        made = check_vectors(made, f"teacher {teacher.id}", "embeddings", len(chunk), teacher.width)
        known.update(zip(chunk, made, strict=True))
        if folder is not None:
            _keep(folder, teacher, chunk, made)
    rows = [known[digest] for digest in digests]
    return torch.stack(rows) if rows else torch.zeros(0, teacher.width), from_cache


def embeddings_folder() -> Path:
    """Where embeddings are kept: `embeddings` in nca3d's cache folder."""
    return cache_folder() / "embeddings"


def _keep(folder: Path, teacher: Teacher, digests: list[bytes], made: Tensor) -> None:
    texts = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, DIGEST)
    data = pack({"texts": texts, "embeddings": made}, {"teacher": teacher.id})
    try:
        write_atomic(folder / f"{sha256(data)}.safetensors", data)
    except OSError as error:  # a full disk is no reason to lose what was embedded
        print(f"{folder}: not kept: {error.strerror or error}", file=sys.stderr)


def _read(folder: Path, teacher: Teacher) -> dict[bytes, Tensor]:
    """All that the cache knows of this teacher's: text digest -> (E,)."""
    known: dict[bytes, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        data = read_file(file)
        if sha256(data) != file.stem:
            print(f"{file}: damaged, its texts are embedded again", file=sys.stderr)
            with contextlib.suppress(OSError):
                file.unlink()
            continue
        tensors, metadata = unpack(data, file)
        if metadata.get("teacher") != teacher.id:
            raise InputError(file, "teacher", metadata.get("teacher", "nothing"), teacher.id)
        texts = tensors.get("texts")
        if texts is None or texts.dtype != torch.uint8 or texts.ndim != 2 or texts.shape[1] != DIGEST:
            found = "nothing" if texts is None else f"{texts.dtype} {tuple(texts.shape)}"
            raise InputError(file, "texts", found.removeprefix("torch."), f"uint8 (N, {DIGEST})")
        made = check_vectors(tensors.get("embeddings"), file, "embeddings", len(texts), teacher.width)
        known.update((bytes(digest.numpy()), row) for digest, row in zip(texts, made, strict=True))
    return known
