"""Keeps built libraries, and gives back none but those that were built here.

Loading a library runs its code, and a cache can be copied, shared, or come with a download. So what a cache holds is only
taken with a digest that was noted when it was built, and digests lie elsewhere, in the user's state folder: no cache has them.
"""

import os
import shutil
import stat
import sys
from pathlib import Path

from nca3d.files import cache_folder, private_folder, sha256, state_folder, write_atomic

# Bytes; ours have 200 thousand. Whatever lies there, it must not fill the memory.
LARGEST = 64_000_000


def kept(name: str) -> tuple[bytes, Path] | None:
    """Returns the bytes of a library that was built here, and the file that they lie in; None where there is no such library.

    Args:
        name: The name of its file.

    Raises:
        OSError: Nothing can be kept here: there is no folder for digests or for libraries that is this user's own.
    """
    note, path = _digests() / name, libraries_folder() / name
    digest, data = read_own(note), read_own(path)
    if digest is None or data is None or sha256(data).encode() != digest:
        return None
    return data, path


def keep(name: str, data: bytes) -> Path:
    """Keeps a library that was built just now; returns its file.

    Args:
        name: The name of its file, which says all that it was built from.
        data: The library.

    Raises:
        OSError: It can't be kept; what was there before is either whole or not taken for a library of ours.
    """
    note, path = _digests() / name, libraries_folder() / name
    for file, content in ((path, data), (note, sha256(data).encode())):
        try:
            _clear(file)
            write_atomic(file, content)
        # A full disk's error doesn't say where; temporary names are no help to people.
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(file.parent)) from None
    return path


def libraries_folder() -> Path:
    """Returns the folder of libraries, which is made if need be: `native` in nca3d's cache folder.

    Raises:
        OSError: It can't be made, or is not this user's own.
    """
    return private_folder(cache_folder() / "native")


def read_own(path: Path) -> bytes | None:
    """Returns the bytes of a regular file of this user's; None for anything else, such as a link, a pipe or a device."""
    try:
        # Not blocking: a pipe without a writer would never open. Windows has neither flag.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        foreign = hasattr(os, "geteuid") and found.st_uid != os.geteuid()
        if foreign or not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _digests() -> Path:
    """Returns the folder of digests, `native` in nca3d's state folder."""
    try:
        return private_folder(state_folder() / "native")
    except OSError as error:
        hint = "; $XDG_STATE_HOME names another place" if sys.platform == "linux" else ""
        raise OSError(error.errno, f"{error.strerror}{hint}", error.filename) from None


def _clear(path: Path) -> None:
    """Removes what is in the place of a file and is none: a write into a pipe or a device would go astray."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    elif not stat.S_ISREG(mode):
        path.unlink()
