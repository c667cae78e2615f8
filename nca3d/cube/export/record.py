"""The folder that `nca3d export --surface` writes: its files, and the record with their digests.

    rule.json            what the cube is, how many steps it thinks, the sha256 of every other file and of itself; and, as far
                         as they are known, the threshold below which it is not sure, and a few questions to try it with
    rule.safetensors     its weights
    cube.onnx            its computation, from question to surface; the weights are those in rule.safetensors
    teacher/             what turns questions into embeddings
    answers.json         the texts to choose from
    answers.safetensors  `goals` (A, H·W): the surfaces of the answers

This module does not import torch, so that a wrong folder is refused before anything heavy loads.
"""

from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files import file_entry, read_file, read_sealed, read_verified

# The version of the folder's layout: a reader refuses any other.
FORMAT = 1
RECORD, WEIGHTS, GRAPH, GOALS = "rule.json", "rule.safetensors", "cube.onnx", "answers.safetensors"
# The keys that the record may have: older versions wrote none of them, and pass over them.
THRESHOLD, SAMPLES = "threshold", "samples"
# The keys that the record must have, and the types of their values.
_KEYS = {
    "format": int,
    "id": str,
    "rule": dict,
    "card": dict,
    "horizon": int,
    "size": list,
    "fire_rate": float,
    "cells": int,
    "weights": int,
    "embedding": int,
    "pixels": int,
    "teacher": str,
    "versions": dict,
    "files": dict,
    "sha256": str,
}


def is_surface_folder(place: str | Path) -> bool:
    """Returns whether a folder has a record, and so is meant to be such a folder; nothing in it is checked."""
    return (Path(place) / RECORD).is_file()


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns size and digest of every file in a folder, by its path in it."""
    # Sorted, and with "/" on every system: the same files must give the same record.
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_entry(read_file(path)) for path in files}


def read_record(folder: str | Path) -> dict[str, Any]:
    """Reads the record of such a folder.

    Raises:
        InputError: There is no record, or it is not as it was written.
    """
    return read_sealed(Path(folder) / RECORD, _KEYS, FORMAT)


def verify(folder: str | Path, record: dict[str, Any]) -> None:
    """Checks that every file that the record names is there and is as it was written.

    Args:
        folder: The folder.
        record: Its record, from `read_record`.

    Raises:
        InputError: A file is missing or was changed; the message names the first one.
    """
    path = Path(folder) / RECORD
    # A record that names too few files would leave the others unchecked.
    for name in {WEIGHTS, GRAPH, GOALS} - record["files"].keys():
        raise InputError(path, "files", f"no {name}", "all that nca3d export --surface writes")
    for name, entry in record["files"].items():
        read_verified(path, name, entry)
