"""Files and folders that are there whole or not at all: written beside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from visualize.errors import ArgumentError
from visualize.writable import beside


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it takes the place of `path` when the block ends well."""
    half = beside(path)
    try:
        yield half
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to write in; it takes the place of `path` when the block ends well.

    No system call swaps two folders everywhere, so that an old one steps aside first and is deleted last.
    """
    new, old = (path.with_name(f".{path.name}.{word}-{os.getpid()}") for word in ("tmp", "old"))
    try:
        new.mkdir()
        yield new
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def check_folder(path: Path, ours: Callable[[list[str]], bool], kind: str) -> None:
    """Refuses to replace a folder that holds something else.

    Raises:
        ValueError: `path` is there and `ours`, asked about the names in it, says no.
    """
    if path.exists() and not (path.is_dir() and ours(os.listdir(path))):
        raise ArgumentError("save", "path", f"{path} with other content", f"a new name or an earlier {kind}")
