"""Whole experiments, one TOML file each, called by their bare name (`nca3d train quick`); and how such a file is read.

Imports the standard library and `nca3d.errors` only.
"""

import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from nca3d.errors import InputError, nearest

MAX_BYTES = 1_000_000
# What a run calls the body that it was given as an array.
KEPT = "target.npy"
HOUSE = Path(__file__).parents[1]


@cache
def files() -> dict[str, Path]:
    """The shipped configs by name: those of this folder, and those that lie beside a `wing.py`."""
    folders = [HOUSE / "config", *(wing.parent for wing in HOUSE.glob("*/wing.py"))]
    return {file.stem: file for folder in folders for file in folder.glob("*.toml")}


def names() -> list[str]:
    """The names of the shipped configs, sorted."""
    return sorted(files())


def read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """The raw keys of a TOML file or shipped config, and its path; what the keys hold is not checked here.

    Raises:
        InputError: missing, a folder, over 1 MB, not UTF-8, not TOML (with line and column).
    """
    name = os.fspath(source)
    file = files().get(name, Path(name))
    where = one_line(str(file))
    data = _bytes(file, one_line(name))
    if len(data) > MAX_BYTES:
        raise InputError(where, "size", f"more than {MAX_BYTES:,} bytes", f"a TOML file of at most {MAX_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(where, f"line {line}", f"byte 0x{data[error.start]:02x}", "a TOML file in UTF-8") from None
    table = _parsed(text, where)
    for fields in (table, table.get("body")):
        if isinstance(fields, dict) and isinstance(target := fields.get("target"), str):
            fields["target"] = moved(target, file.parent)
    return table, where


def moved(file: str, folder: Path) -> str:
    """The path of the body that a run keeps beside its config: where the run was moved, it lies there still.

    Only of that: any other file that is gone must be told, not guessed.
    """
    beside, path = folder.absolute() / KEPT, Path(file)
    gone = path.name == KEPT and path.is_absolute() and not path.exists()
    return str(beside) if gone and beside.is_file() else file


def one_line(text: str) -> str:
    """A name from outside, safe to print within one line."""
    return (text if text.isprintable() else ascii(text))[:200]


def _bytes(file: Path, name: str) -> bytes:
    allowed = f"a TOML file or a shipped config ({', '.join(names())}){nearest(file.stem, names())}"
    try:
        if not file.is_file():  # a pipe would block for ever
            found = "a folder" if file.is_dir() else "a device or pipe" if file.exists() else "no such file"
            raise InputError(name, "config", found, allowed)
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(name, "config", error.strerror or error, allowed) from None


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError(where, "depth", "lists or tables nested too deep", "a flat table of fields") from None
    except tomllib.TOMLDecodeError as error:
        lines = text.split("\n")
        message, found = str(error).split(" (at ")[0], "the end of the file"
        row, column = len(lines), len(lines[-1]) + 1
        if at := re.search(r"\(at line (\d+), column (\d+)\)", str(error)):
            row, column = int(at[1]), int(at[2])
            found = repr(lines[row - 1].strip()[:80])
        if message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
            message = f"each key once ({message})"
        raise InputError(where, f"line {row}, column {column}", found, f"TOML: {message}") from None
    except ValueError as error:  # a number of thousands of digits, a date that is none
        raise InputError(where, "number", str(error), "numbers of ordinary length") from None
