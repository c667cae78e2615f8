"""What a launcher such as torchrun has told this process: which of how many it is, and where their common folder is.

No torch here: the shell command asks first whether there are several processes at all.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from nca3d.errors import InputError, RunError

# What torchrun and its like set for each process; SLURM and others set some of them for jobs of one process.
RANK, SIZE = "RANK", "WORLD_SIZE"
# Linux: the signal that a process gets when the one that started it ends.
PR_SET_PDEATHSIG = 1


def expected() -> int:
    """Returns how many processes there are; 1 without a launcher.

    Raises:
        InputError: The launcher's variables make no sense.
    """
    if not os.environ.get(RANK) or not os.environ.get(SIZE):
        return 1
    size, rank = _number(SIZE), own_rank()
    if rank >= max(size, 1):
        raise InputError("environment", RANK, rank, f"below {SIZE}, which is {size}, as torchrun sets it")
    return max(size, 1)


def own_rank() -> int:
    """Returns the number of this process, 0 without a launcher."""
    return _number(RANK, 0)


def local_rank() -> int:
    """Returns the number of this process among those of its machine."""
    return _number("LOCAL_RANK", 0)


def attempt() -> int:
    """Returns how often the launcher has started its processes anew."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def error_file() -> Path | None:
    """Returns the file in which the launcher looks for the reason when this process fails; None = it wants none."""
    name = os.environ.get("TORCHELASTIC_ERROR_FILE", "")
    return Path(name) if name else None


def common_folder(*, of_attempt: bool) -> Path | None:
    """Returns a folder of the launcher that all its processes on this machine know, gone when it ends; None = there is none.

    Args:
        of_attempt: Whether that of this attempt alone is meant.
    """
    # …/attempt_1/0/error.json
    file = error_file()
    above = 1 if of_attempt else 2
    return file.parents[above] if file and len(file.parents) > above + 1 and file.parents[above].is_dir() else None


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment in which a process is alone."""
    own = (RANK, SIZE, "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in environment.items() if name not in own and "TORCHELASTIC" not in name}


def leave_launcher() -> None:
    """Makes this process, and what it starts from now on, one that is alone."""
    for name in os.environ.keys() - without_launcher(os.environ).keys():
        del os.environ[name]


def end_with_launcher() -> None:
    """Has this process stopped when its launcher is killed: nobody would be left to end it.

    A stop, not a kill: what is trained is saved first.

    Raises:
        RunError: The launcher is gone already.
    """
    launcher = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # It may have ended before that was asked for.
    if os.getppid() != launcher:
        raise RunError("the launcher has ended before its processes began")


def _number(name: str, default: int | None = None) -> int:
    value = os.environ.get(name, "") or ("" if default is None else str(default))
    if not (value.isascii() and value.isdigit()):
        raise InputError("environment", name, repr(value), "a whole number, as torchrun sets it")
    return int(value)
