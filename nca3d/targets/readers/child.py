"""What runs in a child of `guard.in_child`: the reader, within limits; what comes of it goes into a pipe.

Sent is the length of a head (8 bytes, little-endian); the head, JSON with all values but the arrays, and their names, types and
shapes; and the bytes of the arrays one after the other. A refusal is a head with "error".
"""

import contextlib
import importlib
import json
import os
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.readers.guard import parsing


def answer(task: dict[str, Any]) -> NoReturn:
    """Does the task of `in_child` in the child, sends what comes of it, and ends the process."""
    out, nowhere = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):  # C++ prints there too
        os.dup2(nowhere, number)
    where, allowed = task["where"], task["allowed"]
    _limit(task["memory"], task["seconds"])
    try:
        with parsing(where, allowed):
            values = _values(task)
    except InputError as error:
        found = str(error.found)
        if isinstance(error.__cause__, MemoryError):
            found = f"unreadable (it asks for more than {task['memory'] >> 20:,} MiB of memory)"
        values = {"error": [str(error.where), error.field, found, error.allowed]}
    with open(out, "wb") as pipe:
        _send(pipe, values)
    os._exit(0)  # libraries in C++ crash on the way out


def _values(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what the reader returns.

    Raises:
        InputError: If its arrays take too much room.
    """
    module, name = task["read"]
    values: Mapping[str, Any] = getattr(importlib.import_module(module), name)(*task["arguments"])
    # Asked before a copy is made of them.
    if sum(value.nbytes for value in values.values() if isinstance(value, np.ndarray)) > MAX_BYTES:
        most = f"at most {MAX_BYTES:,} bytes of them; {task['allowed']}"
        raise InputError(task["where"], "file", "more numbers than there is room for", most)
    return values


def _send(pipe: IO[bytes], values: Mapping[str, Any]) -> None:
    """Writes values as the module says."""
    arrays = {name: np.ascontiguousarray(value) for name, value in values.items() if isinstance(value, np.ndarray)}
    assert all(array.dtype.kind in "biuf" for array in arrays.values()), "numbers alone cross the pipe"
    head = {
        "values": {name: value for name, value in values.items() if name not in arrays},
        "arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()],
    }
    text = json.dumps(head).encode()
    pipe.write(len(text).to_bytes(8, "little") + text)
    for array in arrays.values():
        pipe.write(array.reshape(-1).view(np.uint8).data)


def _limit(memory: int, seconds: int) -> None:
    """Limits this process, as far as the system can: memory, time, and no file, not even one of a crash, is written."""
    with contextlib.suppress(ImportError):
        import resource

        for kind, most in (("AS", memory), ("CPU", seconds), ("CORE", 0), ("FSIZE", 0)):
            with contextlib.suppress(AttributeError, ValueError, OSError):
                number = getattr(resource, f"RLIMIT_{kind}")
                hard = resource.getrlimit(number)[1]
                soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
                resource.setrlimit(number, (soft, soft))
