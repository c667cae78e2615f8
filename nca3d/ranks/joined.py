"""How a command that torchrun has started becomes one of several ranks, and how it leaves them."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator
from datetime import timedelta

from nca3d.errors import InputError, RunError
from nca3d.ranks.ending import Ending
from nca3d.ranks.group import ALONE, Ranks, current, expected, set_current

# Linux: the signal that a process gets when the one that started it ends.
PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def joined(timeout: float) -> Iterator[Ranks]:
    """A context in which this process is one of those that torchrun has started; without torchrun it is alone.

    When one of them is lost, the others end too, and say which one and what it was about. Only rank 0 prints.

    Args:
        timeout: How many seconds a rank waits for another one before that counts as lost.

    Raises:
        InputError: The launcher's variables make no sense.
        RunError: Another rank failed, was killed, or has not answered in time.
    """
    if expected() == 1 or current().size > 1:
        yield current()
        return
    import torch.distributed as dist

    _die_with_launcher()
    ranks = Ranks(_number("RANK"), _number("WORLD_SIZE"), _number("LOCAL_RANK", 0))
    ending = Ending(ranks, timeout)
    ending.open()
    backend = "cpu:gloo,cuda:nccl" if _has_cuda() else "gloo"
    dist.init_process_group(
        backend, store=ending.store, rank=ranks.rank, world_size=ranks.size, timeout=timedelta(seconds=timeout)
    )
    set_current(ranks)
    try:
        with ending.told(), _quiet(ranks):
            yield ranks
    finally:
        set_current(ALONE)
        with contextlib.suppress(Exception):
            dist.destroy_process_group()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available() and torch.distributed.is_nccl_available()


def _number(name: str, default: int | None = None) -> int:
    value = os.environ.get(name, "" if default is None else str(default))
    if not value.isdigit():
        raise InputError("environment", name, repr(value), "a whole number, as torchrun sets it")
    return int(value)


def _die_with_launcher() -> None:
    """Has this process stopped when its launcher is killed: nobody would be left to end it.

    A stop, not a kill: what is trained is saved first.
    """
    launcher = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # It may have ended before that was asked for.
    if os.getppid() != launcher:
        raise RunError("the launcher has ended before its processes began")


@contextlib.contextmanager
def _quiet(ranks: Ranks) -> Iterator[None]:
    """A context in which ranks but the first print nothing: what they have to say of a run, the first one says."""
    if ranks.first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
