"""The shipped configs, one TOML file each, which go by their bare name (`nca3d train frog`), and the reader of such files.

Imports the standard library, `nca3d.errors` and `nca3d.files` only.
"""

import os
import re
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from nca3d.errors import InputError, nearest
from nca3d.files import KEPT_SEVERAL, KEPT_TARGET

# A config has a few kilobytes: a larger file is a mistake, and is not read into memory.
MAX_BYTES = 1_000_000
# The files of a run folder that a config may name for a body which came as an array; the second in runs of version 0.1.0.
OWN_TARGETS = (KEPT_TARGET, "target.npy")
PACKAGE = Path(__file__).parents[1]
# Names that shipped configs had before, in 0.1.0: still taken, and not listed.
OLD_NAMES = {"quick": "default"}


@cache
def files() -> dict[str, Path]:
    """Returns the shipped configs by name: those in this folder, and those beside a `wing.py`."""
    folders = [PACKAGE / "config", *(wing.parent for wing in PACKAGE.glob("*/wing.py"))]
    return {file.stem: file for folder in folders for file in folder.glob("*.toml")}


def names() -> list[str]:
    """Returns the names of the shipped configs, sorted."""
    return sorted(files())


def read(source: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """Reads a TOML file; what its keys hold is not checked here.

    Args:
        source: the path of a file, or the name of a shipped config, which wins over a file of that name without a suffix.

    Returns:
        The table, and the path of the file.

    Raises:
        InputError: the file is missing, a folder, over 1 MB, not UTF-8, or not TOML (with line and column).
    """
    name = os.fspath(source)
    file = files().get(OLD_NAMES.get(name, name), Path(name))
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
    # Version 0.1.0 wrote `target` at the top, later ones write it in [body].
    for fields in (table, table.get("body")):
        if isinstance(fields, dict):
            fields |= moved_targets(fields, file.parent)
    return table, where


def moved_targets(fields: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns the field `target` of a config's fields with the paths of a run's own files as they are now; {} without one.

    Args:
        fields: fields by name, as a file has them.
        folder: the folder of the config.
    """
    target = fields.get("target")
    if isinstance(target, str):
        return {"target": moved_target(target, folder)}
    if isinstance(target, list):
        return {"target": [moved_target(one, folder) if isinstance(one, str) else one for one in target]}
    return {}


def moved_target(file: str, folder: Path) -> str:
    """Returns the path of a run's own target file, also where the run folder was moved after training.

    Any other file that is gone is left as it is: a missing file must be reported, not guessed.

    Args:
        file: the target that the config names.
        folder: the folder of the config.
    """
    path = Path(file)
    beside = folder.absolute() / path.name
    ours = path.name in OWN_TARGETS or fnmatchcase(path.name, KEPT_SEVERAL)
    gone = ours and path.is_absolute() and not path.exists()
    return str(beside) if gone and beside.is_file() else file


def located(card: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Returns a rule's card with the paths of what its run keeps, wherever the run folder is now.

    Args:
        card: the card of a checkpoint, which names files of its run by their names alone, or by where they were once.
        folder: the run folder.
    """
    card = dict(card)
    if isinstance(card.get("target"), str):
        card["target"] = moved_target(card["target"], folder)
    if isinstance(card.get("targets"), list):
        card["targets"] = [located(one, folder) for one in card["targets"]]
    if isinstance(body := card.get("body"), dict):
        card["body"] = {**body, "file": str(folder.absolute() / Path(str(body.get("file"))).name)}
    return card


def one_line(text: str) -> str:
    """Returns a name from outside that is safe to print: one line, without control characters, at most 200 characters."""
    return (text if text.isprintable() else ascii(text))[:200]


def _bytes(file: Path, name: str) -> bytes:
    old = ", ".join(f"{before}, the old name of {now}" for before, now in OLD_NAMES.items())
    allowed = f"a TOML file or a shipped config ({', '.join(names())}; {old}){nearest(file.stem, names())}"
    try:
        # Asked first, because reading a pipe would block for ever.
        if not file.is_file():
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
