"""Whose fault it was: when a rank is lost, the others find out which one, what it was about, and end with that as the cause.

A rank that fails writes its cause into the launcher's store before it goes; one that was killed can't, and is known by its
process, or by having said nothing for longest. What the others see by themselves ("connection closed") names neither.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from nca3d.errors import RunError
from nca3d.ranks.group import Ranks

# Seconds for which a rank waits to learn the cause from whoever has failed.
WORD = 3.0
# Seconds between two signs of life.
BEAT = 0.5
# What the errors of a broken or late connection have in common, in gloo and NCCL.
LOST = ("gloo", "nccl", "connection", "timed out", "timeout", "socket", "peer", "store", "process group")
FAILED = "failed"


class Ending:
    """What one rank knows of how the others ended.

    Args:
        ranks: The ranks, as this one sees them.
        timeout: How many seconds a rank waits for another one.
    """

    def __init__(self, ranks: Ranks, timeout: float) -> None:
        self.ranks, self.timeout = ranks, timeout
        self.store: Any = None
        self._over = threading.Event()

    def open(self) -> None:
        """Finds the launcher's store and signs in there.

        Raises:
            RunError: The others did not come in time.
        """
        import torch.distributed as dist

        try:
            store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=self.timeout)))
            # The launcher's store outlives its processes: what those of an earlier attempt said is of no use.
            self.store = dist.PrefixStore(f"nca3d/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
            self.store.set(f"who/{self.ranks.rank}", json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        except (RuntimeError, ValueError) as error:
            raise RunError(f"rank {self.ranks.rank}: the other ranks can't be reached: {_short(error)}") from error

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """A context whose error, where another rank has caused it, becomes one that names that rank and its cause.

        Raises:
            RunError: Another rank failed, was killed, or has not answered in time.
        """
        threading.Thread(target=self._beat, daemon=True).start()
        try:
            yield
        except KeyboardInterrupt:
            raise
        except SystemExit as error:
            self._say(f"it left with exit code {error.code}")
            raise
        except BaseException as error:
            if not _is_loss(error):
                self._say(_short(error))
                raise
            raise RunError(self._cause(error)) from error
        finally:
            self._over.set()

    def _say(self, cause: str) -> None:
        """Tells the others why this rank goes; the first one that fails is the cause, what follows are consequences."""
        with contextlib.suppress(Exception):
            word = json.dumps({"rank": self.ranks.rank, "doing": self.ranks.doing, "cause": cause})
            self.store.compare_set(FAILED, "", word)

    def _cause(self, error: BaseException) -> str:
        """Returns the line about the rank that was lost."""
        until = time.monotonic() + WORD
        while time.monotonic() < until:
            with contextlib.suppress(Exception):
                if self.store.check([FAILED]):
                    word = json.loads(self.store.get(FAILED))
                    if word["rank"] != self.ranks.rank:
                        at = f" at {word['doing']}" if word["doing"] else ""
                        return f"rank {word['rank']} of {self.ranks.size} failed{at}: {word['cause']}"
            if gone := self._gone():
                return f"rank {gone[0]} of {self.ranks.size} is gone at {self._at()}: its process {gone[1]} was killed"
            time.sleep(0.1)
        late = self._late()
        if late is not None:
            return (
                f"rank {late} of {self.ranks.size} has not answered for {self.timeout:g} s at {self._at()}: it hangs, or needs "
                "longer: --timeout SECONDS"
            )
        return f"another rank of {self.ranks.size} was lost at {self._at()}: {_short(error)}"

    def _at(self) -> str:
        return self.ranks.doing or "the beginning"

    def _gone(self) -> tuple[int, int] | None:
        """Returns a rank of this machine whose process is no more, and the number of that process."""
        for rank in range(self.ranks.size):
            with contextlib.suppress(Exception):
                who = json.loads(self.store.get(f"who/{rank}"))
                if who["host"] == socket.gethostname() and not _runs(who["pid"]):
                    return rank, who["pid"]
        return None

    def _late(self) -> int | None:
        """Returns the rank that has asked the others for the least; None where all have asked as often."""
        done = {}
        for rank in range(self.ranks.size):
            with contextlib.suppress(Exception):
                done[rank] = int(self.store.get(f"beat/{rank}")) if self.store.check([f"beat/{rank}"]) else 0
        done[self.ranks.rank] = self.ranks.calls
        late = min(done, key=lambda rank: done[rank])
        return late if late != self.ranks.rank and done[late] < self.ranks.calls else None

    def _beat(self) -> None:
        """Says now and then how often this rank has asked the others for something, until the others are no more."""
        while not self._over.wait(BEAT):
            try:
                self.store.set(f"beat/{self.ranks.rank}", str(self.ranks.calls))
            except Exception:
                return


def _runs(pid: int) -> bool:
    """Whether a process of this machine is still at work: one that its launcher has not yet looked after is not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not os.path.isdir("/proc/self")


def _is_loss(error: BaseException) -> bool:
    """Whether an error is that of a connection to another rank."""
    text = f"{type(error).__name__} {error}".lower()
    return (
        isinstance(error, RuntimeError)
        and type(error).__module__.startswith(("torch", "builtins"))
        and any(word in text for word in LOST)
    )


def _short(error: BaseException) -> str:
    line = " ".join(str(error).split())
    return f"{type(error).__name__}: {line[:300]}" if line else type(error).__name__
