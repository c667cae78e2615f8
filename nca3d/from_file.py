"""A rule that is nobody's but the user's, by the name it has in a Python file."""

from __future__ import annotations

import runpy
from pathlib import Path

from torch import nn

from nca3d.errors import InputError, nearest


def resolve(text: str) -> nn.Module:
    """The rule that "FILE.py:NAME" names: a module, or a class or function without arguments that makes one.

    Raises:
        InputError: no such file or name, a file or call that fails, something that is no module.
    """
    file, colon, name = text.rpartition(":")
    if not colon or not file or not name:
        raise InputError("laws", "rule", repr(text), "FILE.py:NAME")
    if not Path(file).is_file():
        raise InputError(file, "file", "no such file", "a Python file that exists")
    try:
        there = runpy.run_path(file)
    except Exception as error:
        raise InputError(file, "file", f"{type(error).__name__}: {error}", "a Python file that runs") from error
    if name not in there:
        own = [known for known, thing in there.items() if isinstance(thing, nn.Module) or _makes(thing)]
        raise InputError(file, "name", repr(name), (", ".join(own) or "a name that the file defines") + nearest(name, own))
    thing = there[name]
    if callable(thing) and not isinstance(thing, nn.Module):
        try:
            thing = thing()
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
            raise InputError(file, name, found, "a class or function that makes a module without arguments") from error
    if not isinstance(thing, nn.Module):
        raise InputError(file, name, type(thing).__name__, "a torch.nn.Module, or a class or function that makes one")
    return thing


def _makes(thing: object) -> bool:
    """Whether a file's own class or function could be meant: defined there, not imported."""
    return callable(thing) and getattr(thing, "__module__", None) == "<run_path>"
