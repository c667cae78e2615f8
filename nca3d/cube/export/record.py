"""The folder that `nca3d export --surface` writes: which files it holds, and the record that vouches for them.

    rule.json            what the cube is, how long it thinks, the sha256 of every other file and of itself
    rule.safetensors     its weights
    cube.onnx            its whole thinking; the weights are those in rule.safetensors
    teacher/             what turns questions into embeddings
    answers.json         the texts to choose from
    answers.safetensors  `goals` (A, H·W): their surfaces

No torch here: what is no such folder is refused before anything heavy loads.
"""

from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files import file_entry, read_file, read_sealed, read_verified

FORMAT = 1
RECORD, WEIGHTS, GRAPH, GOALS = "rule.json", "rule.safetensors", "cube.onnx", "answers.safetensors"
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
    """Whether this is such a folder, by its record."""
    return (Path(place) / RECORD).is_file()


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file in a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_entry(read_file(path)) for path in files}


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of such a folder.

    Raises:
        InputError: none, or not what was written.
    """
    return read_sealed(Path(folder) / RECORD, _KEYS, FORMAT)


def verify(folder: str | Path, record: dict[str, Any]) -> None:
    """Every file that the record names is there, and is what was written.

    Raises:
        InputError: the first that is not.
    """
    path = Path(folder) / RECORD
    for name in {WEIGHTS, GRAPH, GOALS} - record["files"].keys():
        raise InputError(path, "files", f"no {name}", "all that nca3d export --surface writes")
    for name, entry in record["files"].items():
        read_verified(path, name, entry)
