"""Atomic writes, digests and locks of files: a file or folder is there whole or not at all, even after a kill.

New content is written beside its place, synced, then renamed, so that readers see the old content or the new. A killed process
leaves files that say so by their names: NAME.tmp-PID is half written; NAME.old-PID is an old folder that was moved out of the
way before the new one could take its place. Standard library only; safetensors is imported inside a function.

Nothing here writes through a link, waits for a pipe or opens a device. Where somebody named the file, `refuse_odd` says so in
one line; where the name is ours and hours of work are behind it, `vacate` clears the place. The folders above may be links.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# How many bytes of a sealed record are read at most: whatever is there, it must not fill the memory.
LARGEST_RECORD = 16_000_000
# Names in a record that can't lead out of its folder: no "..", no absolute path.
_PLAIN = re.compile(r"([a-z]+/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_numbers = itertools.count()
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

# What stands at a place -----------------------------------------------------------------------------------------------


def odd(path: str | os.PathLike[str]) -> str:
    """Returns what stands where a file belongs: "" if it is a file or the name is free, else "a link", "a pipe" and so on.

    Nothing is opened or followed: opening a pipe may wait for ever, and opening a device may do something already.
    """
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):  # nothing is there, or the name is none
        return ""
    return _ODD.get(stat.S_IFMT(mode), "no regular file")


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


# Writing --------------------------------------------------------------------------------------------------------------


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


# Locks ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """A context that holds a lock file, whose text says who holds it.

    It is locked with flock, so that the kernel frees it when the process dies.

    Args:
        path: the lock file, which is removed at the end.

    Raises:
        InputError: another process holds it, or its folder can't be written to.
    """
    descriptor = _acquire(path)
    try:
        who = f"pid {os.getpid()} on {os.uname().nodename} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        os.ftruncate(descriptor, 0)
        os.write(descriptor, who.encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def refuse_locked(path: Path) -> None:
    """Checks a lock file without changing it.

    Raises:
        InputError: another process holds it; the message says which.
    """
    # Imported here: it is POSIX only, and importing nca3d must work elsewhere.
    import fcntl

    try:
        descriptor = open_own(path, os.O_RDONLY)
    except InputError as error:
        raise _unlockable(path, error.found) from None
    # No lock file: nobody holds it.
    except OSError:
        return
    with contextlib.suppress(OSError):
        _flock(path, descriptor, fcntl.LOCK_SH)
        os.close(descriptor)


def _unlockable(path: Path, found: object) -> InputError:
    """Returns the error of a place that can't be a lock file."""
    return InputError(path.parent, path.name, found, "a folder that can be locked")


def _flock(path: Path, descriptor: int, kind: int) -> None:
    """Locks an opened lock file, or closes it.

    Raises:
        InputError: another process holds it; the message says which.
        OSError: the file system has no locks.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BaseException as error:
        # Of the file that was opened: by now another thing may have its name.
        holder = os.read(descriptor, 200).decode(errors="replace").strip()
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise
        allowed = "a run folder that no other run is using"
        raise InputError(path.parent, path.name, f"held by {holder or 'another run'}", allowed) from None


def _acquire(path: Path) -> int:
    """Opens and locks a lock file; returns its descriptor, which holds the lock until it is closed."""
    import fcntl

    while True:
        try:
            # A link is not followed, and a second name is refused: the file that has it would be emptied.
            descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o644)
        except InputError as error:
            raise _unlockable(path, error.found) from None
        except OSError as error:
            raise _unlockable(path, error.strerror or error) from None
        try:
            _flock(path, descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise _unlockable(path, error.strerror or error) from None
        # The former holder may have removed the file between our open and our lock: then we hold a file without a name, which
        # nobody else can see, and try again.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.lstat()):
                return descriptor
        os.close(descriptor)


# Reading --------------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> bytes:
    """Returns the bytes of a regular file.

    Raises:
        InputError: there is no such file, or it can't be read.
    """
    with _readable(path):
        return path.read_bytes()


def parse_table(data: bytes, where: object) -> dict[str, Any]:
    """Returns a JSON object.

    Args:
        data: JSON text.
        where: source of the text, for errors.

    Raises:
        InputError: the text is no JSON, or no object.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "JSON", str(error) or type(error).__name__, "an object") from None
    if not isinstance(table, dict):
        raise InputError(where, "JSON", f"a {type(table).__name__}", "an object")
    return table


def load_tensors(data: bytes, where: object) -> "dict[str, Tensor]":
    """Returns the tensors in the bytes of a safetensors file, of any shape, by name.

    Args:
        data: content of the file.
        where: source of the bytes, for errors.

    Raises:
        InputError: the bytes are no safetensors file.
    """
    from safetensors.torch import load

    try:
        return load(data)
    # safetensors has errors of its own class; whichever it is, the file can't be used.
    except Exception as error:
        raise InputError(where, "safetensors", str(error) or type(error).__name__, "tensors") from None


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """A context that turns what goes wrong in reading a file into an InputError."""
    try:
        # Asked first, because reading a pipe would block for ever.
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "no such file"
            raise InputError(path, "file", found, "a file")
        yield
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a file that can be read") from None


# Digests --------------------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    """Returns the SHA-256 digest as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_entry(data: bytes) -> dict[str, Any]:
    """Returns a file's entry in a record, its size and digest: neither torch nor safetensors notices a flipped bit."""
    return {"size": len(data), "sha256": sha256(data)}


def read_verified(record: Path, name: str, entry: object) -> bytes:
    """Returns the bytes of a file beside a record, once they are known to be those of the record's entry.

    Args:
        record: path of the record.
        name: name of the file.
        entry: the file's entry in the record, see `file_entry`.

    Raises:
        InputError: the file is missing, or its size or digest is not the entry's.
    """
    if not _PLAIN.fullmatch(name) or not isinstance(entry, dict) or entry.keys() != {"size", "sha256"}:
        raise InputError(record, "files", repr(name), "plain file names, each with size and sha256")
    path = record.parent / name
    with _readable(path):
        # Checked before reading: whatever is there may be too large to read.
        if path.stat().st_size != entry["size"]:
            raise InputError(path, "size", f"{path.stat().st_size} bytes", f"{entry['size']}, as {record.name} says")
        data = path.read_bytes()
    if sha256(data) != entry["sha256"]:
        raise InputError(path, "sha256", f"another digest than that in {record.name}", "the file as it was written")
    return data


def seal(record: Mapping[str, Any]) -> bytes:
    """Returns a record as JSON with its own digest in it, so that a flipped bit in the record is noticed, too."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    digest = sha256(json.dumps(body, indent=1).encode())
    return json.dumps({**body, "sha256": digest}, indent=1).encode()


def read_sealed(path: Path, kinds: Mapping[str, type], version: int) -> dict[str, Any]:
    """Reads a record that `seal` made, and verifies it.

    Args:
        path: the record's file.
        kinds: the keys that it must have, each with its type; `format`, the first one, must be `version`.
        version: version of the format.

    Raises:
        InputError: there is no such file, the format is another, a key is missing or of another type, or a bit flipped.
    """
    with _readable(path), path.open("rb") as file:
        data = file.read(LARGEST_RECORD)
    record = parse_table(data, path)
    for key, kind in kinds.items():
        # Not isinstance: True is no version.
        if type(record.get(key)) is not kind:
            raise InputError(path, key, repr(record[key]) if key in record else "no such key", kind.__name__)
        if key == "format" and record[key] != version:
            hint = "; update nca3d to read a newer one" if record[key] > version else ""
            raise InputError(path, key, record[key], f"{version}{hint}")
    if seal(record) != data:
        raise InputError(path, "sha256", "another digest than the one written", f"{path.name} as it was written")
    return record


# Places ---------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Returns the folder for files that can be made again: $NCA3D_CACHE, else nca3d in the user's cache folder.

    Raises:
        OSError: it lies in the user's home, and there is none.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("NCA3D_CACHE")
    return Path(named) if named else _in_home(user_cache_path)


def state_folder() -> Path:
    """Returns the folder for what this user alone may decide: nca3d in the user's state folder.

    Raises:
        OSError: it lies in the user's home, and there is none.
    """
    from platformdirs import user_state_path

    return _in_home(user_state_path)


def _in_home(find: Callable[..., Path]) -> Path:
    """Returns nca3d's folder of the kind that a function of platformdirs finds."""
    try:
        folder = Path(find("nca3d", appauthor=False))
    # Newer versions say so; to older ones, the home of a user without one is "~", in the current folder.
    except RuntimeError as error:
        raise OSError(errno.ENOENT, str(error), "~") from None
    if not folder.is_absolute():
        raise OSError(errno.ENOENT, "no absolute path, so there is no home", str(folder))
    return folder


def private_folder(path: Path) -> Path:
    """Makes a folder that only this user can enter, with the folders above it; returns its path.

    Raises:
        OSError: it can't be made, or what is there is a link, belongs to somebody else, or others may write into it.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "is a link, where a folder of one's own is needed", str(path))
    # Windows has neither owners as numbers nor these bits; there a user's folders are the user's own.
    if hasattr(os, "geteuid"):
        if found.st_uid != os.geteuid():
            raise OSError(errno.EPERM, f"belongs to user {found.st_uid}, not to this one", str(path))
        if found.st_mode & 0o022:
            raise OSError(errno.EPERM, f"can be written to by others (mode {found.st_mode & 0o777:o}; chmod 700)", str(path))
    return path
