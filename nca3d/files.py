"""Files that are there whole or not at all: how nca3d writes them, vouches for them, locks them and tidies up after a kill.

What is written stands beside its place at first, is synced, then renamed: whoever reads sees the old one or the new one. What
a killed process leaves says so by its name: NAME.tmp-PID is half written; NAME.old-PID stepped aside for what never came.
Standard library only; safetensors inside a function.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# Bytes of a sealed record that are read: no more, whatever lies there.
LARGEST_RECORD = 16_000_000
_PLAIN = re.compile(r"([a-z]+/)?[A-Za-z0-9_][A-Za-z0-9_.-]*")
_numbers = itertools.count()

# Writing --------------------------------------------------------------------------------------------------------------


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file; a link in its place is replaced, never followed.

    Raises:
        OSError: the disk is full or the folder can't be written; the old file is untouched.
    """
    if path.exists() and (path.parent == Path("/dev") or not path.is_file()):  # a terminal, a pipe: nothing to put in place of
        path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name[:40]}.{next(_numbers)}.tmp-{os.getpid()}")  # numbered: threads write at once
    try:
        beside.write_bytes(data)
        _sync(beside)
        os.replace(beside, path)
        _sync(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which stands at `path` when the block ends, or vanishes when it fails.

    An older folder there steps aside for the moment of the change.

    Raises:
        OSError: the disk is full or the folder can't be written; the older folder is untouched.
    """
    sweep(path.parent, re.escape(path.name))
    beside, aside = _left_behind(path, "tmp"), _left_behind(path, "old")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        for inside in (*beside.rglob("*"), beside):
            _sync(inside)
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
    """Remove a folder that counts as whole as long as it has its name: half removed, it doesn't have it any more."""
    doomed = _left_behind(path, "tmp")
    path.rename(doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def sweep(folder: Path, names: str) -> None:
    """Tidy up after killed writers: remove what is half written, put back what stepped aside and was not replaced.

    Args:
        folder: where they wrote.
        names: a regular expression over the names of the folders that they wrote, without groups.
    """
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            left = re.fullmatch(rf"\.?({names})\.(tmp|old)-(\d+)", path.name)  # with a dot: as 0.1.0 called exports
            if left is None or is_running(int(left[3])):
                continue
            if left[2] == "old" and not (folder / left[1]).exists():
                path.rename(folder / left[1])
            else:
                shutil.rmtree(path, ignore_errors=True)


def is_running(pid: int) -> bool:
    """Whether another process of this number lives: it may be writing."""
    if pid == os.getpid() or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _left_behind(path: Path, kind: str) -> Path:
    return path.with_name(f"{path.name}.{kind}-{os.getpid()}")


def _sync(path: Path) -> None:
    """Have the disk keep what a file holds, or which files a folder holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems can't sync a folder, and say so
            raise
    finally:
        os.close(descriptor)


# Locks ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file: by flock, so that the kernel frees it when the process dies. Its text says who holds it.

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
    """Look at a lock file without touching it.

    Raises:
        InputError: another process holds it; the line says which.
    """
    import fcntl  # POSIX only; importing nca3d must work elsewhere

    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _is_locked(path) from None
    except OSError:
        return


def _is_locked(path: Path) -> InputError:
    try:
        holder = path.read_text(errors="replace").strip()
    except OSError:
        holder = ""
    return InputError(path.parent, path.name, f"held by {holder or 'another run'}", "a run folder that no other run is using")


def _acquire(path: Path) -> int:
    import fcntl

    while True:
        try:
            # a link is not followed: what it leads to would be emptied
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                os.close(descriptor)
                raise
        except BlockingIOError:
            raise _is_locked(path) from None
        except OSError as error:
            found = "a link" if error.errno == errno.ELOOP else error.strerror or error
            raise InputError(path.parent, path.name, found, "a folder that can be locked") from None
        # the former holder may have removed the file between our open and our lock: then the lock is on nothing
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


# Reading --------------------------------------------------------------------------------------------------------------


def read_file(path: Path) -> bytes:
    """The bytes of a regular file.

    Raises:
        InputError: there is none, or it can't be read.
    """
    with _readable(path):
        return path.read_bytes()


def parse_table(data: bytes, where: object) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: no JSON, or no object.
    """
    try:
        table = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(where, "JSON", str(error) or type(error).__name__, "an object") from None
    if not isinstance(table, dict):
        raise InputError(where, "JSON", f"a {type(table).__name__}", "an object")
    return table


def load_tensors(data: bytes, where: object) -> "dict[str, Tensor]":
    """The tensors of a safetensors file's bytes.

    Raises:
        InputError: the bytes are something else.
    """
    from safetensors.torch import load

    try:
        return load(data)
    except Exception as error:  # safetensors has errors of its own kind; whatever it is, the file is no good
        raise InputError(where, "safetensors", str(error) or type(error).__name__, "tensors") from None


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        if not path.is_file():  # a pipe would block for ever
            found = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "no such file"
            raise InputError(path, "file", found, "a file")
        yield
    except OSError as error:
        raise InputError(path, "file", error.strerror or error, "a file that can be read") from None


# Digests --------------------------------------------------------------------------------------------------------------


def sha256(data: bytes) -> str:
    """As 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_entry(data: bytes) -> dict[str, Any]:
    """What a record says of a file: its size and digest. Neither torch nor safetensors notices a flipped bit."""
    return {"size": len(data), "sha256": sha256(data)}


def read_verified(record: Path, name: str, entry: Any) -> bytes:
    """The bytes of a file beside a record, which are those that the record's entry vouches for.

    Raises:
        InputError: they are not, or there is no such file.
    """
    if not _PLAIN.fullmatch(name) or not isinstance(entry, dict) or entry.keys() != {"size", "sha256"}:
        raise InputError(record, "files", repr(name), "plain file names, each with size and sha256")
    path = record.parent / name
    with _readable(path):
        if path.stat().st_size != entry["size"]:  # looked at first: whatever lies there may be too large to read
            raise InputError(path, "size", f"{path.stat().st_size} bytes", f"{entry['size']}, as {record.name} says")
        data = path.read_bytes()
    if sha256(data) != entry["sha256"]:
        raise InputError(path, "sha256", f"another digest than that in {record.name}", "the file as it was written")
    return data


def seal(record: Mapping[str, Any]) -> bytes:
    """A record as JSON with its own digest, so that a flipped bit in it is noticed too."""
    body = {key: value for key, value in record.items() if key != "sha256"}
    digest = sha256(json.dumps(body, indent=1).encode())
    return json.dumps({**body, "sha256": digest}, indent=1).encode()


def read_sealed(path: Path, kinds: Mapping[str, type], version: int) -> dict[str, Any]:
    """A record that was `seal`.

    Args:
        path: of its file.
        kinds: the keys that it must have, each with its type; `format`, the first, must be `version`.
        version: of the format.

    Raises:
        InputError: no such file, another format, a key that is missing or of another type, a flipped bit.
    """
    with _readable(path), path.open("rb") as file:
        data = file.read(LARGEST_RECORD)
    record = parse_table(data, path)
    for key, kind in kinds.items():
        if type(record.get(key)) is not kind:
            raise InputError(path, key, repr(record[key]) if key in record else "nothing", kind.__name__)
        if key == "format" and record[key] != version:
            hint = "; update nca3d to read a newer one" if record[key] > version else ""
            raise InputError(path, key, record[key], f"{version}{hint}")
    if seal(record) != data:
        raise InputError(path, "sha256", "another digest than the one written", f"{path.name} as it was written")
    return record


# Places ---------------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where what can be made again is kept: $NCA3D_CACHE, else nca3d in the user's cache folder."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("NCA3D_CACHE") or user_cache_path("nca3d", appauthor=False))
