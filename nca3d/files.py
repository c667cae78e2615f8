"""Atomic writes, digests and locks of files: a file or folder is there whole or not at all, even after a kill.

New content is written beside its place, synced, then renamed, so that readers see the old content or the new. A killed process
leaves files that say so by their names: NAME.tmp-PID is half written; NAME.old-PID is an old folder that was moved out of the
way before the new one could take its place. Standard library only; safetensors is imported inside a function.
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

# Writing --------------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all; a link in its place is replaced, never followed.

    Args:
        path: the file; missing folders are made.
        data: its content.

    Raises:
        OSError: the disk is full or the folder can't be written to; the old file is untouched.
    """
    # A terminal or a pipe can't be replaced, only written to.
    if path.exists() and (path.parent == Path("/dev") or not path.is_file()):
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # Numbered, because threads of one process may write the same file at once.
    beside = path.with_name(f".{path.name[:40]}.{next(_numbers)}.tmp-{os.getpid()}")
    try:
        beside.write_bytes(data)
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
        path: the final place; a folder that is there is replaced.

    Raises:
        OSError: the disk is full or the folder can't be written to; the older folder is untouched.
    """
    sweep(path.parent, re.escape(path.name))
    beside, aside = _temporary(path, "tmp"), _temporary(path, "old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        for inside in (*beside.rglob("*"), beside):
            _sync(inside)
        # A folder can't be renamed onto a full one. A kill between the two renames is what `sweep` repairs.
        if path.exists():
            path.rename(aside)
        try:
            beside.rename(path)
        except BaseException:
            if aside.exists() and not path.exists():
                aside.rename(path)
            raise
        _sync(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder; it is renamed first, so that a half-removed one doesn't pass for a whole one."""
    # If the process is killed below, `sweep` finds the rest by this name.
    doomed = _temporary(path, "tmp")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


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
            else:
                shutil.rmtree(path, ignore_errors=True)


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
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _locked_error(path) from None
    # No lock file: nobody holds it.
    except OSError:
        return


def _locked_error(path: Path) -> InputError:
    """Returns the error that says who holds a lock."""
    try:
        holder = path.read_text(errors="replace").strip()
    except OSError:
        holder = ""
    return InputError(path.parent, path.name, f"held by {holder or 'another run'}", "a run folder that no other run is using")


def _acquire(path: Path) -> int:
    """Opens and locks a lock file; returns its descriptor, which holds the lock until it is closed."""
    import fcntl

    while True:
        try:
            # A link is not followed: the file that it leads to would be emptied.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            raise _locked_error(path) from None
        except OSError as error:
            found = "a link" if error.errno == errno.ELOOP else error.strerror or error
            raise InputError(path.parent, path.name, found, "a folder that can be locked") from None
        # The former holder may have removed the file between our open and our lock: then we hold a file without a name, which
        # nobody else can see, and try again.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
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
