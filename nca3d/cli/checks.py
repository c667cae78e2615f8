"""Numbers and files that flags name, looked at before torch takes its seconds to load."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from nca3d.errors import InputError

SEEDS = (0, 2**32 - 1)


def flag_of(name: str) -> str:
    """learning_rate -> --learning-rate."""
    return f"--{name.replace('_', '-')}"


def wrong_numbers(args: argparse.Namespace, **ranges: tuple[float, float | None]) -> Iterator[InputError]:
    """Flags out of their range: name=(low, high), both inclusive; high None = any. What wasn't given is not wrong."""
    for name, (low, high) in ranges.items():
        value = getattr(args, name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            between, highest = " .. " if isinstance(low, int) else " to ", "2**32 - 1" if high == SEEDS[1] else high
            yield InputError(flag_of(name), "number", value, f"{low} or more" if high is None else f"{low}{between}{highest}")


def wrong_file(flag: str, file: Path | None, *, may: str = "") -> Iterator[InputError]:
    """A file that can't be written; `may` says what else would do."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        yield InputError(flag, "file", file, f"a file name in a folder that exists{may}")
    elif file is not None:
        yield from _read_only(flag, file)


def wrong_folder(flag: str, folder: Path | None) -> Iterator[InputError]:
    """A folder that can't be made or written to."""
    if folder is not None and folder.exists() and not folder.is_dir():
        yield InputError(flag, "folder", folder, "a folder, or a name that is free")
    elif folder is not None:
        yield from _read_only(flag, folder)


def _read_only(flag: str, path: Path) -> Iterator[InputError]:
    place = path.absolute()
    there = next(above for above in (place, *place.parents) if above.exists())
    fits = there.is_dir() or there == place
    if not fits or not os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0)):
        yield InputError(flag, "place", f"{path}: {there} can't be written to", "a place that can")
