"""Whether a file can be written at a place: asked before anything is drawn or grown for it, and said when it fills up."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from visualize.errors import ArgumentError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # disk, largest file, quota


def writable(path: str | os.PathLike[str], where: str, suffixes: Sequence[str], *, folder: bool = False) -> Path:
    """The path, if a file can be written there: a temporary one is made beside it and removed.

    Args:
        path: of the file; its folder must exist.
        where: who asks, for errors.
        suffixes: what the name may end with, in small letters.
        folder: whether the name may be that of an existing folder.

    Raises:
        ValueError: nothing can be written there; one line says why.
    """
    try:
        target = Path(path)
    except TypeError:
        raise ArgumentError(where, "path", repr(path), "a path") from None
    name = target.name.lower()
    if not any(name.endswith(suffix) and name != suffix for suffix in suffixes):
        raise ArgumentError(where, "path", f"suffix {target.suffix!r}", ", ".join(suffixes))
    refused = _refused(target)
    if refused == "missing":
        raise ArgumentError(where, "path", f"missing folder {shown(target.parent)}", "an existing folder")
    if refused == "folder" and not folder:
        raise ArgumentError(where, "path", f"a folder named {shown(target)}", "a file's name")
    if refused not in ("", "folder"):
        raise ArgumentError(where, "path", f"{shown(target)} ({refused})", "a file that can be written")
    return target


def beside(target: Path) -> Path:
    """Where a file is written before it takes its name: in the same folder, so that renaming it is one step."""
    return target.with_name(f".{target.stem}.tmp-{os.getpid()}{target.suffix}")


@contextmanager
def room_for(path: Path, where: str) -> Iterator[None]:
    """Says in one line that a place filled up while `path` was written; `where` is who asked.

    Raises:
        ValueError: it did.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ArgumentError(where, "path", f"{shown(path)} ({error.strerror})", "a place with room") from error


def shown(path: Path) -> str:
    """A path as one line of an error shows it."""
    return str(path) if str(path).isprintable() else repr(str(path))


def _refused(target: Path) -> str:
    """Why a file can't be made there, in the system's words; "missing" folder, "folder" of that name, "" if it can."""
    try:
        if not target.parent.is_dir():
            return "missing"
        probe = beside(target)
        probe.touch()
        probe.unlink(missing_ok=True)
        return "folder" if target.is_dir() else ""
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # a zero byte in the name
        return str(error)
