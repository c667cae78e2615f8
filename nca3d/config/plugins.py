"""Plug-ins: Python files that register a user's own rules, losses, targets and damages, and who may run which.

A folder is data: a config that lies in a file can't run code. A plug-in runs if the caller names it (`--plugins mine.py`,
`plugins=["mine.py"]`), or if exactly these bytes were confirmed before (`nca3d trust mine.py`). What is run are the bytes whose
digest was looked at. No torch here.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from nca3d.errors import ErrorCollector, InputError
from nca3d.files import private_folder, read_file, sha256, state_folder, write_atomic
from nca3d.process.supervise import execute

# Bytes of a plug-in, at most: it is a text that somebody wrote.
LARGEST = 16_000_000

# Digests of what the caller has named in this process: what ran once may run again.
_named: set[str] = set()


def check(files: Iterable[str], source: str | None) -> dict[str, bytes]:
    """Returns the content of plug-ins that may be run, by path; runs nothing.

    Args:
        files: their paths.
        source: the file that names them; None = the caller does.

    Raises:
        InputErrors: files are missing, or named by a file and not confirmed; there is one line for each.
    """
    contents: dict[str, bytes] = {}
    with ErrorCollector() as errors:
        for file in files:
            if not Path(file).is_file():
                errors.append(InputError(source or "config", "plugins", repr(file), "Python files that exist"))
            elif Path(file).stat().st_size > LARGEST:
                errors.append(InputError(file, "plugin", f"{Path(file).stat().st_size:,} bytes", f"at most {LARGEST:,}"))
            elif (data := errors.of(read_file, Path(file))) is not None:
                contents[file] = data
        allowed = _named | confirmed().keys() if source is not None else set()
        for file, data in contents.items():
            if source is not None and sha256(data) not in allowed:
                found = f"code that this file wants to run, sha256 {sha256(data)}: {file}"
                way = "name it in this command (--plugins FILE; plugins=[…] in Python) or, after reading it, nca3d trust FILE; "
                errors.append(InputError(source, "plugins", found, f"only what you ask for: {way}--plugins alone runs none"))
    return contents


def run(files: Iterable[str], source: str | None = None) -> None:
    """Runs plug-ins, one after the other.

    Args:
        files: their paths.
        source: the file that names them; None = the caller does.

    Raises:
        InputError: a plug-in may not be run, is missing, fails, exits or doesn't end; the message has its error.
    """
    for file, data in check(files, source).items():
        if source is None:
            _named.add(sha256(data))
        execute(file, data, "plugin")


# What was confirmed ---------------------------------------------------------------------------------------------------


def confirmed() -> Mapping[str, str]:
    """Returns the digests that were confirmed, each with the path of the file at that time."""
    place = _store()
    # A look makes no folder.
    if not os.path.lexists(place):
        return {}
    # A list that others could have written confirms nothing.
    with contextlib.suppress(OSError, InputError):
        private_folder(place.parent)
        found = place.lstat()
        if not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022):
            lines = read_file(place).decode(errors="replace").splitlines()
            return {digest: path for digest, _, path in (line.partition("  ") for line in lines) if len(digest) == 64}
    return {}


def confirm(files: Iterable[str]) -> dict[str, str]:
    """Confirms plug-ins for good, by their digests; returns these, each with the path of its file.

    Raises:
        InputErrors: a file is missing.
        OSError: the list can't be kept: its folder can't be written to, or others can write to it.
    """
    new = {sha256(data): str(Path(file).absolute()) for file, data in check(files, None).items()}
    _write({**confirmed(), **new})
    return new


def forget(digests: Iterable[str]) -> None:
    """Takes confirmations back.

    Raises:
        OSError: the list can't be written.
    """
    gone = set(digests)
    _write({digest: path for digest, path in confirmed().items() if digest not in gone})


def _store() -> Path:
    return state_folder() / "trusted-plugins"


def _write(entries: Mapping[str, str]) -> None:
    private_folder(_store().parent)
    # As `sha256sum` prints it. A name with a line break in it would be two lines.
    lines = (f"{digest}  {path if path.isprintable() else ascii(path)}\n" for digest, path in entries.items())
    write_atomic(_store(), "".join(lines).encode(errors="replace"))
