"""The folder that `nca3d export --surface` writes: which files it holds, and the record that vouches for them.

    rule.json            what the cube is, how long it thinks, the sha256 of every other file and of itself
    rule.safetensors     its weights
    cube.onnx            its whole thinking; the weights are those in rule.safetensors
    teacher/             what turns questions into embeddings
    answers.json         the texts to choose from
    answers.safetensors  `goals` (A, H·W): their surfaces

No torch here: what is no such folder is refused before anything heavy loads.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files import parse_table, read_file

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
_FILE = re.compile(r"([a-z]+/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")


def is_surface_folder(place: str | Path) -> bool:
    """Whether this is such a folder, by its record."""
    return (Path(place) / RECORD).is_file()


def sealed(record: dict[str, Any]) -> bytes:
    """The record as JSON with its own digest, so that a flipped bit in it is noticed too."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(body, indent=1).encode()).hexdigest()
    return json.dumps({**body, "sha256": digest}, indent=1).encode()


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file in a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _entry(path) for path in files}


def read_record(folder: str | Path) -> dict[str, Any]:
    """The record of such a folder.

    Raises:
        InputError: none, or not what was written.
    """
    path = Path(folder) / RECORD
    data = read_file(path)
    record = parse_table(data, path)
    for key, kind in _KEYS.items():
        if type(record.get(key)) is not kind:
            raise InputError(path, key, repr(record[key]) if key in record else "nothing", kind.__name__)
    if record["format"] != FORMAT:
        hint = "; update nca3d to read a newer one" if record["format"] > FORMAT else ""
        raise InputError(path, "format", record["format"], f"{FORMAT}{hint}")
    if sealed(record) != data:
        raise InputError(path, "sha256", "another digest than the one written", "the record as it was written")
    return record


def verify(folder: str | Path, record: dict[str, Any]) -> None:
    """Every file that the record names is there, and is what was written.

    Raises:
        InputError: the first that is not.
    """
    place = Path(folder)
    for name in {WEIGHTS, GRAPH, GOALS} - record["files"].keys():
        raise InputError(place / RECORD, "files", f"no {name}", "all that nca3d export --surface writes")
    for name, entry in record["files"].items():
        if not _FILE.fullmatch(name) or not isinstance(entry, dict):
            raise InputError(place / RECORD, "files", repr(name), "plain file names, each with size and sha256")
        path = place / name
        if not path.is_file():
            raise InputError(path, "file", "no such file", "the file that was written with the others")
        if _entry(path) != entry:
            raise InputError(path, "sha256", "another digest than the record's", "the file as it was written")


def _entry(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return {"size": os.fstat(file.fileno()).st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a file that can be read") from None
