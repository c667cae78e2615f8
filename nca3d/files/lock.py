"""Lock files: who works in a folder, and that nobody else does."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from nca3d.errors import InputError
from nca3d.files.place import open_own


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
