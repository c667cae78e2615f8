"""Files of pictures: whether one can be written at a place, asked before anything is drawn; there whole or not at all.

What is written stands beside its place first, is on the disk, and then takes its name in one step. Nothing is written through a
link, into a pipe or into a device: `writable` refuses them, and who plants one later finds it replaced.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from visualize.errors import ArgumentError

# What an entry of a folder is called where a file belongs; as in nca3d/files/place.py, of which a leaf imports nothing.
ODD = {
    stat.S_IFREG: "",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # disk, largest file, quota


def odd(path: Path) -> str:
    """What stands where a file belongs: "" if it is a file or the name is free, else "a link", "a pipe" and so on.

    Nothing is opened or followed: opening a pipe may wait for ever.
    """
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # nothing is there, or the name is none
        return ""
    return ODD.get(stat.S_IFMT(mode), "no regular file")


def writable(path: str | os.PathLike[str], where: str, suffixes: Sequence[str], *, folder: bool = False) -> Path:
    """The path, if a file can be written there: a temporary one is made beside it and removed.

    Args:
        path: of the file; its folder must exist. It is no link, pipe, socket or device.
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
    found = odd(target)
    if found not in ("", "a folder"):
        raise ArgumentError(where, "path", f"{found} named {shown(target)}", "a file's name, or one that is free")
    refused = _refused(target)
    if refused == "missing":
        raise ArgumentError(where, "path", f"missing folder {shown(target.parent)}", "an existing folder")
    if refused == "folder" and not folder:
        raise ArgumentError(where, "path", f"a folder named {shown(target)}", "a file's name")
    if refused not in ("", "folder"):
        raise ArgumentError(where, "path", f"{shown(target)} ({refused})", "a file that can be written")
    return target


def check_folder(path: Path, ours: Callable[[list[str]], bool], kind: str) -> None:
    """Refuses to replace a folder that holds something else.

    Raises:
        ValueError: `path` is there and is a link, or `ours`, asked about the names in it, says no.
    """
    if odd(path) not in ("", "a folder"):
        raise ArgumentError("save", "path", f"{shown(path)}, which is {odd(path)}", f"a new name or an earlier {kind}")
    if path.exists() and not (path.is_dir() and ours(os.listdir(path))):
        raise ArgumentError("save", "path", f"{path} with other content", f"a new name or an earlier {kind}")


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """An empty file beside `path` to write to; it takes the place of `path` when the block ends well."""
    half = _beside(path)
    _make(half)
    try:
        yield half
        _settle(half)
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` to write in; it takes the place of `path` when the block ends well.

    No system call swaps two folders everywhere, so that an old one steps aside first and is deleted last.
    """
    new, old = (path.with_name(f".{path.name}.{word}-{os.getpid()}") for word in ("tmp", "old"))
    # The names can be guessed. What stands there is removed, and `mkdir` makes a folder or fails: it follows no link.
    _remove(new)
    if odd(old) != "a folder":
        _remove(old)
    try:
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            _settle(file)
        if os.path.lexists(path):
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if os.path.lexists(old):
                os.rename(old, path)
            raise
    finally:
        for left in (new, old):
            _remove(left)


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
        probe = _beside(target)
        _make(probe)
        probe.unlink(missing_ok=True)
        return "folder" if target.is_dir() else ""
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:  # a zero byte in the name
        return str(error)


def _beside(target: Path) -> Path:
    """Where a file is written before it takes its name: in the same folder, so that renaming it is one step."""
    return target.with_name(f".{target.stem}.tmp-{os.getpid()}{target.suffix}")


def _make(half: Path) -> None:
    """Makes an empty file, which others then open by its name; that can be guessed, so what stands there is removed."""
    _remove(half)
    # It makes the file or fails: it follows no link.
    half.touch(exist_ok=False)


def _remove(path: Path) -> None:
    """Removes what stands at a temporary name: a folder with all that is in it, of a link only the link."""
    if odd(path) == "a folder":
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _settle(file: Path) -> None:
    """Waits until a file is on the disk: a name that outlives a power cut must not stand for an empty file."""
    if file.is_file():
        with open(file, "rb+") as stream:
            os.fsync(stream.fileno())
