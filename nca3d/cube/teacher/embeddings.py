"""Embeddings on disk: the file that `nca3d embed` writes, and a cache, so that each text is embedded once.

The cache finds an embedding by the text's digest and the teacher's id. Each teacher has a folder; each call that embeds new
texts adds one safetensors file to it, with the texts' digests in `texts` (n, 32) and their embeddings in `embeddings` (n, E). A
file is named by the sha256 of its bytes: a flipped bit shows, and the texts are embedded again. An undamaged file that does not
belong in the folder is refused.
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
from nca3d.files import cache_folder, read_file, refuse_odd, sha256, write_atomic

# The mark in the metadata of a file that `nca3d embed` writes.
KIND = "embeddings"
# The bytes of a sha256.
DIGEST = 32
# After so many texts the cache is written: an interrupted run loses no more than these.
CHUNK = 1024

# The file -------------------------------------------------------------------------------------------------------------


class Embeddings(NamedTuple):
    """The embeddings of a set, pair by pair.

    Attributes:
        questions: The embedding of each pair's question, float32 (N, E).
        answers: The embedding of each pair's answer, float32 (N, E).
        metadata: Where they come from: model, layer, pool, digest of the data and so on.
    """

    questions: Tensor
    answers: Tensor
    metadata: dict[str, str]


def write_embeddings(file: Path, embeddings: Embeddings) -> None:
    """Writes embeddings into a file, whole or not at all.

    Args:
        file: The safetensors file.
        embeddings: What to write.

    Raises:
        OSError: The disk is full or the folder can't be written.
    """
    tensors = {"questions": embeddings.questions, "answers": embeddings.answers}
    write_atomic(file, pack(tensors, {**embeddings.metadata, "nca3d": KIND}))


def read_embeddings(file: str | Path, questions: Questions | None = None) -> Embeddings:
    """Reads embeddings from a file, and refuses what can't be trained on.

    Args:
        file: A safetensors file with `questions` (N, E) and `answers` (N, E), of `nca3d embed` or of your own making.
        questions: The set that they must belong to, by count, and by digest if the file has one; None = any.

    Raises:
        InputError: The file or a tensor is missing, has another type than float32 or a wrong shape, holds numbers that are not
            finite, or belongs to another set.
    """
    path = Path(file)
    tensors, metadata = unpack(read_file(path), path)
    count = None if questions is None else len(questions.pairs)
    if questions is not None and metadata.get("data", questions.digest) != questions.digest:
        raise InputError(path, "data", f"embeddings of another set, {metadata['data'][:12]}", questions.digest[:12])
    rows = check_vectors(tensors.get("questions"), path, "questions", count, None)
    answers = check_vectors(tensors.get("answers"), path, "answers", len(rows), rows.shape[1])
    if not len(rows):
        raise InputError(path, "questions", "0 rows", "at least one")
    return Embeddings(rows, answers, metadata)


# The cache ------------------------------------------------------------------------------------------------------------


def embeddings_of(teacher: Teacher, texts: Sequence[str], cache: Path | None, progress: bool = False) -> Tensor:
    """Returns the embeddings of n texts, float32 (n, E), from the cache where it has them.

    Args:
        teacher: Embeds the texts that the cache lacks.
        texts: The texts, which may repeat each other.
        cache: The folder of the cache, made if needed; None = no cache.
        progress: Whether to show a progress bar.

    Raises:
        InputError: A file in the cache holds something else than this teacher's embeddings; the message names file and field.
    """
    return count_embeddings_of(teacher, texts, cache, progress)[0]


def count_embeddings_of(
    teacher: Teacher, texts: Sequence[str], cache: Path | None, progress: bool = False
) -> tuple[Tensor, int]:
    """Returns the embeddings of n texts, float32 (n, E), and how many of the texts the cache had.

    Args:
        teacher: See `embeddings_of`.
        texts: See `embeddings_of`.
        cache: See `embeddings_of`.
        progress: See `embeddings_of`.

    Raises:
        InputError: See `embeddings_of`.
    """
    digests = [hashlib.sha256(text.encode()).digest() for text in texts]
    folder = None if cache is None else cache / sha256(teacher.id.encode())[:16]
    known = {} if folder is None else _read(folder, teacher)
    from_cache = sum(digest in known for digest in digests)
    missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    new = list(missing)
    for first in range(0, len(new), CHUNK):
        chunk = new[first : first + CHUNK]
        vectors = teacher.embed([missing[digest] for digest in chunk], progress=progress)
        # A teacher of the user's own may return anything: what enters the cache has been checked.
        vectors = check_vectors(vectors, f"teacher {teacher.id}", "embeddings", len(chunk), teacher.width)
        known.update(zip(chunk, vectors, strict=True))
        if folder is not None:
            _save(folder, teacher, chunk, vectors)
    rows = [known[digest] for digest in digests]
    return torch.stack(rows) if rows else torch.zeros(0, teacher.width), from_cache


def embeddings_folder() -> Path:
    """Returns the folder of the cache: `embeddings` in nca3d's cache folder."""
    return cache_folder() / "embeddings"


def _save(folder: Path, teacher: Teacher, digests: list[bytes], vectors: Tensor) -> None:
    texts = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, DIGEST)
    data = pack({"texts": texts, "embeddings": vectors}, {"teacher": teacher.id})
    try:
        refuse_odd(folder, folder=True)
        write_atomic(folder / f"{sha256(data)}.safetensors", data)
    # A full disk, or a link in the way, is no reason to lose embeddings that are already in memory.
    except (OSError, InputError) as error:
        print(f"{folder}: embeddings are not cached: {getattr(error, 'strerror', None) or error}", file=sys.stderr)


def _read(folder: Path, teacher: Teacher) -> dict[bytes, Tensor]:
    """Returns all embeddings of a teacher that the cache has, (E,) each, by the text's digest."""
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
        vectors = check_vectors(tensors.get("embeddings"), file, "embeddings", len(texts), teacher.width)
        known.update((bytes(digest.numpy()), row) for digest, row in zip(texts, vectors, strict=True))
    return known
