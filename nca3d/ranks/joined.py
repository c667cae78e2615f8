"""How a command that torchrun has started becomes one of several ranks, and how it leaves them."""

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from nca3d.errors import InputError, RunError
from nca3d.ranks import launcher
from nca3d.ranks.ending import Ending
from nca3d.ranks.group import ALONE, Ranks, current, set_current

LAST_PORT = 65_535
# How often this process has joined others: a script may train several times.
_joins = itertools.count()
# Whether this process is one of several at the moment, even where it does something alone.
_inside = False
# The launcher's store, once it was found: a second look for it would be one of a second launcher.
_store: Any = None


@contextlib.contextmanager
def joined(timeout: float) -> Iterator[Ranks]:
    """A context in which this process is one of those that torchrun has started; without torchrun it is alone.

    When one of them is lost, the others end too, and say which one and what it was about. Only rank 0 prints. All leave the
    context together.

    Args:
        timeout: How many seconds a rank waits for another one before that counts as lost.

    Raises:
        InputError: The launcher's variables make no sense, or another rank was given something that it can't use.
        RunError: Another rank failed, was killed, or has not answered in time.
    """
    global _inside
    if _inside or launcher.expected() == 1:
        yield current()
        return
    launcher.end_with_launcher()
    ranks = Ranks(launcher.own_rank(), launcher.expected(), launcher.local_rank())
    with _group(ranks, timeout) as ending:
        set_current(ranks)
        _inside = True
        try:
            with ending.told(), _quiet(ranks):
                yield ranks
        finally:
            set_current(ALONE)
            _inside = False


@contextlib.contextmanager
def _group(ranks: Ranks, timeout: float) -> Iterator[Ending]:
    """A context in which torch's process group is there: that of the script that trains, or one of our own."""
    import torch.distributed as dist

    given = dist.is_initialized()
    try:
        yield _met(ranks, timeout, given)
    finally:
        if not given:
            with contextlib.suppress(Exception):
                dist.destroy_process_group()


def _met(ranks: Ranks, timeout: float, given: bool) -> Ending:
    """Returns what a rank knows of the others, once all have come and can talk to each other.

    Raises:
        InputError: Nothing says where the others are.
        RunError: They did not come in time.
    """
    import torch.distributed as dist

    global _store
    limit = timedelta(seconds=timeout)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if not os.environ.get(name):
            raise InputError("environment", name, "nothing", "where the other processes are, as torchrun sets it")
    port = os.environ["MASTER_PORT"]
    if not (port.isascii() and port.isdigit() and int(port) <= LAST_PORT):
        raise InputError("environment", "MASTER_PORT", repr(port), f"0 .. {LAST_PORT}, as torchrun sets it")
    with _signals_end_it():
        try:
            if _store is None:
                _store, _, _ = next(dist.rendezvous("env://", timeout=limit))
            # The store outlives processes and trainings: what was said of earlier ones is of no use.
            store = dist.PrefixStore(f"nca3d/{launcher.attempt()}/{next(_joins)}", _store)
            ending = Ending(ranks, store, timeout)
            ending.sign_in()
            backend = "cpu:gloo,cuda:nccl" if _has_cuda() else "gloo"
            if not given:
                dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=ranks.size, timeout=limit)
            ending.meet()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise RunError(
                f"rank {ranks.rank} of {ranks.size}: the others did not come within {timeout:g} s: {reason}"
            ) from error
    return ending


@contextlib.contextmanager
def _signals_end_it() -> Iterator[None]:
    """A context in which signals end this process at once: Python's handlers would wait until the library has the others."""
    former = {}
    if threading.current_thread() is threading.main_thread():
        former = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available() and torch.distributed.is_nccl_available()


@contextlib.contextmanager
def _quiet(ranks: Ranks) -> Iterator[None]:
    """A context in which ranks but the first print nothing: what they have to say of a run, the first one says."""
    if ranks.first:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
