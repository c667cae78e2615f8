"""Reading files of somebody else's: what can't be used is one line."""

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def read_file(path: Path) -> bytes:
    """Returns the bytes of a regular file.

    Raises:
        InputError: there is no such file, or it can't be read.
    """
    with readable(path):
        return path.read_bytes()


def parse_table(data: str | bytes, where: object) -> dict[str, Any]:
    """Returns a JSON object.

    Args:
        data: JSON text.
        where: source of the text, for errors.

    Raises:
        InputError: the text is no JSON or no object, a name stands twice in one of its tables, or a number is not finite.
    """
    try:
        table = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "JSON", str(error) or type(error).__name__, "an object") from None
    if not isinstance(table, dict):
        raise InputError(where, "JSON", f"a {type(table).__name__}", "an object")
    return table


def load_tensors(data: bytes, where: object) -> "dict[str, Tensor]":
    """Returns the tensors in the bytes of a safetensors file, of any shape, by name.

    Args:
        data: content of the file.
        where: source of the bytes, for errors.

    Raises:
        InputError: the bytes are no safetensors file, or have two tensors of one name, of which another reader sees the other.
    """
    from safetensors.torch import load

    _refuse_twice(data, where)
    try:
        return load(data)
    # safetensors has errors of its own class; whichever it is, the file can't be used.
    except Exception as error:
        raise InputError(where, "safetensors", str(error) or type(error).__name__, "tensors") from None


class _Twice(ValueError):
    """A name stands twice in a table: one reader takes the first of the two, another one the last."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the table that a JSON parser has found, or raises `_Twice`."""
    table = dict(pairs)
    if len(table) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise _Twice(f"{name!r} twice")
    return table


def _no_number(name: str) -> float:
    """Refuses what Python's writers call NaN and Infinity: no JSON has them."""
    raise ValueError(f"{name}, which is no number of JSON")


def _finite(text: str) -> float:
    """Returns a number, or raises where it is beyond those that a float can be."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]}, which is beyond all floats")
    return number


def _refuse_twice(data: bytes, where: object) -> None:
    """Checks that the header of a safetensors file has each name once; whatever else may be wrong is for the library to say."""
    length = int.from_bytes(data[:8], "little")
    try:
        json.loads(data[8 : 8 + length] if length <= len(data) else b"", object_pairs_hook=_once)
    except _Twice as error:
        raise InputError(where, "safetensors", f"a name, {error}", "each name once") from None
    except (ValueError, RecursionError):
        return


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """A context that turns what goes wrong in reading a file into an InputError.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file, or it can't be read.
    """
    try:
        # Asked first, because reading a pipe would block for ever.
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "no such file"
            raise InputError(path, "file", found, "a file")
        yield
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a file that can be read") from None
