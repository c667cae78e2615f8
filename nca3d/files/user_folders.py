"""The user's own folders: one for what can be made again, one for what the user alone may decide."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path


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
