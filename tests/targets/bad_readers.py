"""Readers that misbehave, to be run by `guard.in_child`: a child imports this module, and no test."""

import ctypes
import os
import sys
import time
from typing import Any

import numpy as np


def good(path: str, *rest: Any) -> dict[str, Any]:
    return {
        "path": path,
        "rest": rest,
        "none": np.zeros((0, 3)),
        "bools": np.array([True, False]),
        "turned": np.arange(24, dtype=">u2").reshape(2, 3, 4).transpose(2, 0, 1),
    }


def modules() -> dict[str, Any]:
    return {"modules": sorted(sys.modules), "path": sys.path, "nca3d": sys.modules["nca3d"].__file__}


def hungry() -> dict[str, Any]:
    return {"kept": [bytearray(1 << 28) for _ in range(64)]}


def endless() -> dict[str, Any]:
    while True:
        pass


def asleep() -> dict[str, Any]:
    time.sleep(1000)
    return {}


def crashed() -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def left(code: int) -> dict[str, Any]:
    os._exit(code)


def quits() -> dict[str, Any]:
    raise SystemExit(3)


def noisy() -> dict[str, Any]:
    for _ in range(10_000):
        os.write(1, b"a line of C++\n" * 10)
        os.write(2, b"a line of C++\n" * 10)
    print("a line of Python")
    return {"said": True}


def raises(name: str, text: str) -> dict[str, Any]:
    raise getattr(__import__("builtins"), name)(text)


def refuses(path: str) -> dict[str, Any]:
    from nca3d.errors import InputError

    raise InputError(f"{path}[inner]", "key", "7", "1..3")


def writes(path: str) -> dict[str, Any]:
    with open(path, "w") as file:
        file.write("something")
    return {}


def large() -> dict[str, Any]:
    # Never made: strides of 0 repeat one number.
    return {"numbers": np.broadcast_to(np.zeros(1), (1 << 28,))[::1]}


def texts() -> dict[str, Any]:
    return {"text": "x" * (1 << 25)}
