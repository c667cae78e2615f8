"""Reading files of somebody else's: what can't be used is one line."""

import contextlib
import json
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


def parse_table(data: bytes, where: object) -> dict[str, Any]:
    """Returns a JSON object.

    Args:
        data: JSON text.
        where: source of the text, for errors.

    Raises:
        InputError: the text is no JSON, or no object.
    """
    try:
        table = json.loads(data)
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
        InputError: the bytes are no safetensors file.
    """
    from safetensors.torch import load

    try:
        return load(data)
    # safetensors has errors of its own class; whichever it is, the file can't be used.
    except Exception as error:
        raise InputError(where, "safetensors", str(error) or type(error).__name__, "tensors") from None


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
