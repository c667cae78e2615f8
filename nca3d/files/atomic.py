"""Atomic writes: a file or folder is there whole or not at all, even after a kill.

New content is written beside its place, synced, then renamed, so that readers see the old content or the new. A killed process
leaves files that say so by their names: NAME.tmp-PID is half written; NAME.old-PID is an old folder that was moved out of the
way before the new one could take its place.
"""

import contextlib
import errno
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from nca3d.files.place import odd, refuse_odd

_numbers = itertools.count()


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all; an old one is replaced, under another name (a hard link) it stays as it was.

    Args:
        path: the file; missing folders are made.
        data: its content.

    Raises:
        InputError: a link, a pipe, a socket, a device or a folder stands there; see `vacate`.
        OSError: the disk is full or the folder can't be written to; the old file is untouched.
    """
    refuse_odd(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Numbered, because threads of one process may write the same file at once.
    beside = path.with_name(f".{path.name[:40]}.{next(_numbers)}.tmp-{os.getpid()}")
    # The name can be guessed. What stands there is removed, and "x" makes the file or fails: it follows no link.
    _remove(beside)
    try:
        with beside.open("xb") as file:
            file.write(data)
        # Synced before it is renamed: after a power cut the new name must not lead to an empty file.
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A context with a new folder to fill, which takes the place of `path` when the block ends, or vanishes when it fails.

    Args:
        path: the final place; a folder or link that is there is replaced.

    Raises:
        OSError: the disk is full or the folder can't be written to; the older folder is untouched.
    """
    sweep(path.parent, re.escape(path.name))
    beside, aside = _temporary(path, "tmp"), _temporary(path, "old")
    try:
        # As with a file: whatever has these names is removed, and `mkdir` makes a folder or fails.
        for left in (beside, aside):
            _remove(left)
        beside.mkdir(parents=True)
        yield beside
        for inside in (*beside.rglob("*"), beside):
            _sync(inside)
        # A folder can't be renamed onto a full one. A kill between the two renames is what `sweep` repairs.
        if os.path.lexists(path):
            path.rename(aside)
        try:
            beside.rename(path)
        except BaseException:
            if os.path.lexists(aside) and not os.path.lexists(path):
                aside.rename(path)
            raise
        _sync(path.parent)
        # A file that was in the way is somebody's: it stays aside.
        if odd(aside):
            _remove(aside)
    finally:
        _remove(beside)


def remove_folder(path: Path) -> None:
    """Removes a folder; it is renamed first, so that a half-removed one doesn't pass for a whole one."""
    # If the process is killed below, `sweep` finds the rest by this name.
    doomed = _temporary(path, "tmp")
    path.rename(doomed)
    if odd(doomed):
        _remove(doomed)


def move_folder(path: Path, place: Path) -> None:
    """Moves a folder to a free place in the same file system: it is in one of the two at any moment."""
    path.rename(place)


def sweep(folder: Path, names: str) -> None:
    """Tidies up after killed writers: removes what is half written, and puts back old folders that were not replaced.

    Args:
        folder: the folder that they wrote into.
        names: a regular expression, without groups, that matches the names of what they wrote.
    """
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            # With a dot in front, as version 0.1.0 named exports.
            leftover = re.fullmatch(rf"\.?({names})\.(tmp|old)-(\d+)", path.name)
            if leftover is None or is_running(int(leftover[3])):
                continue
            if leftover[2] == "old" and not (folder / leftover[1]).exists():
                path.rename(folder / leftover[1])
            elif odd(path):  # a file is not ours: we leave folders
                _remove(path)


def is_running(pid: int) -> bool:
    """Returns whether another process of this number is running, and so may still be writing."""
    if pid == os.getpid() or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Another user's process: it can't be signalled, but it runs.
    except PermissionError:
        pass
    return True


def _temporary(path: Path, kind: str) -> Path:
    """Returns the temporary name beside `path`: kind "tmp" for new content, "old" for what is being replaced."""
    return path.with_name(f"{path.name}.{kind}-{os.getpid()}")


def _remove(path: Path) -> None:
    """Removes what stands at a temporary name: a folder with all that is in it, of a link only the link."""
    if odd(path) == "a folder":
        shutil.rmtree(path, ignore_errors=True)
        return
    # Not by `rmtree`: it opens a pipe, and waits.
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Makes the disk keep a file's content, or a folder's list of files, before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems can't sync a folder, and say so.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
