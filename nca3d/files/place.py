"""What stands at a place: nothing is written through a link, waits for a pipe or opens a device.

Where somebody named the file, `refuse_odd` says so in one line; where the name is ours and hours of work are behind it,
`vacate` clears the place. The folders above may be links.
"""

import contextlib
import os
import stat
from pathlib import Path

from nca3d.errors import InputError

# The file of a run folder that keeps the body of the run. It is named here, since config and targets don't know each other.
KEPT_TARGET = "target.safetensors"
# The same of each of several.
KEPT_SEVERAL = "target-[0-9][0-9].safetensors"

# What an entry of a folder is called where a file belongs.
_ODD = {
    stat.S_IFREG: "",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Opens a file itself and at once: not what a link leads to, nor when a pipe finds its other end. Windows has neither.
_ITSELF = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def names_path(name: str | os.PathLike[str]) -> bool:
    """Whether a target's name is that of a file, which has a suffix, or of a folder, which is written with a slash.

    What has neither is the name of a shipped body, even beside a file or folder that is called so.
    """
    text = os.fspath(name)
    return bool(Path(text).suffix) or "/" in text or os.sep in text


def odd(path: str | os.PathLike[str]) -> str:
    """Returns what stands where a file belongs: "" if it is a file or the name is free, else "a link", "a pipe" and so on.

    Nothing is opened or followed: opening a pipe may wait for ever, and opening a device may do something already.
    """
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # nothing is there, or the name is none
        return ""
    return _ODD.get(stat.S_IFMT(mode), "no regular file")


def unwritable(path: Path) -> str:
    """Returns why a file or folder can't be made or written at a place, before hours of work are done for it; "" if it can.

    Args:
        path: the place; folders above it that are missing would be made.
    """
    place = path.absolute()
    there = next(above for above in (place, *place.parents) if above.exists())
    fits = there.is_dir() or there == place
    # On a read-only file system nobody may write, not even root.
    may = fits and os.access(there, os.W_OK | (os.X_OK if there.is_dir() else 0))
    return "" if may else f"{path}: {there} can't be written to"


def refuse_odd(path: Path, *, folder: bool = False) -> None:
    """Checks that a place is free or holds a file, or a folder if that is what belongs there; hard links count as files.

    Args:
        path: the place.
        folder: whether a folder belongs there.

    Raises:
        InputError: something else stands there: a link, a pipe, a socket, a device.
    """
    found, kind = odd(path), "folder" if folder else "file"
    if folder:
        found = "" if found == "a folder" or not os.path.lexists(path) else found or "a file"
    if found:
        raise InputError(path, kind, found, f"a {kind} of its own, or a name that is free")


def vacate(path: Path) -> Path:
    """Clears a place for a file of ours, in a folder of ours, at the end of long work; returns the path.

    Somebody may have planted a link, a pipe, a socket or a device there: it is removed, and not what it leads to, so that it
    doesn't cost the work. A file stays until the new one takes its place; a folder stays, and is refused by `write_atomic`.
    """
    if odd(path) not in ("", "a folder"):
        with contextlib.suppress(OSError):
            path.unlink()
    return path


def open_own(path: Path, flags: int, mode: int = 0o666) -> int:
    """Opens a file of ours to lock or to extend it; returns its descriptor.

    Args:
        path: the file.
        flags: of `os.open`.
        mode: of a new file.

    Raises:
        InputError: it is a link, a pipe, a device, …, or has a second name, by which it is somebody else's file.
        OSError: it can't be opened.
    """
    refuse_odd(path)
    descriptor = os.open(path, flags | _ITSELF, mode)
    # What was opened is asked again: another thing may have taken the name in between.
    opened = os.fstat(descriptor)
    if stat.S_ISREG(opened.st_mode) and opened.st_nlink <= 1:
        return descriptor
    os.close(descriptor)
    found = "a file with a second name (a hard link)" if stat.S_ISREG(opened.st_mode) else "no regular file"
    raise InputError(path, "file", found, "a file of its own, or a name that is free")
