"""Whose fault it was: when a rank is lost, the others find out which one, what it was about, and end with that as the cause.

A rank that fails writes its cause into the launcher's store before it goes; one that was killed can't, and is known by its
process, or by having said nothing for longest. What the others see by themselves ("connection closed") names neither.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from nca3d.errors import InputError, RunError
from nca3d.process.supervise import called
from nca3d.ranks.group import LostRankError, Ranks
from nca3d.ranks.telling import LEFT, at_leisure, record

# Seconds for which a rank waits to learn the cause from whoever has failed; who has not answered for long will hardly say one.
WORD, LATE_WORD = 3.0, 0.5
# Seconds between two signs of life.
BEAT = 0.5
FAILED = "failed"


class Ending:
    """What one rank knows of how the others ended.

    Args:
        ranks: The ranks, as this one sees them.
        store: What all of them write to and read from.
        timeout: How many seconds a rank waits for another one.
    """

    def __init__(self, ranks: Ranks, store: Any, timeout: float) -> None:
        self.ranks, self.store, self.timeout = ranks, store, timeout
        # By rank, the machine that it is on and the number of its process.
        self._others: dict[int, tuple[str, int]] = {}
        self._over = threading.Event()

    def sign_in(self) -> None:
        """Leaves word of where this rank is."""
        self.store.set(f"who/{self.ranks.rank}", json.dumps((socket.gethostname(), os.getpid())))

    def meet(self) -> None:
        """Learns where the others are; all have signed in."""
        for rank in range(self.ranks.size):
            host, process = json.loads(self.store.get(f"who/{rank}"))
            self._others[rank] = host, process

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """A context whose error, where another rank has caused it, becomes one that names that rank and its cause.

        Nobody leaves it before all are done, however long the last one takes: rank 0 may have a report to write.

        Raises:
            InputError: Another rank was given something that it can't use.
            RunError: Another rank failed, was killed, or has not answered in time.
        """
        beat = threading.Thread(target=self._beat, daemon=True)
        beat.start()
        try:
            yield
            self._farewell()
        except LostRankError as error:
            with at_leisure():
                lost = self._lost(error)
                record(str(lost))
            raise lost from error
        except BaseException as error:
            with at_leisure():
                stopped = isinstance(error, SystemExit | KeyboardInterrupt) and self.ranks.stopped is not None
                word: dict[str, Any] = {"rank": self.ranks.stopped if stopped else self.ranks.rank, "cause": self._cause(error)}
                if isinstance(error, InputError):
                    word["input"] = [str(part) for part in (error.where, error.field, error.found, error.allowed)]
                self._say(word)
                told = isinstance(error, InputError | RunError | OSError | MemoryError) or not isinstance(error, Exception)
                record(str(self._error_of(word)), None if told else error)
            raise
        finally:
            self._over.set()
            # A thread that is in the library when Python ends would abort the process.
            beat.join(WORD)

    def _farewell(self) -> None:
        """Waits until all ranks are done.

        Raises:
            LostRankError: One of them failed, or was killed.
        """
        left, pause = list(range(self.ranks.size)), 0.02
        while left:
            try:
                self.store.set(f"done/{self.ranks.rank}", "")
                left = [rank for rank in left if not self.store.check([f"done/{rank}"])]
            # The store is gone with the launcher: what there was to do is done.
            except RuntimeError:
                return
            if left and (self._said() or self._gone(left)):
                raise LostRankError("one rank did not come to its end")
            time.sleep(pause if left else 0)
            pause = min(2 * pause, 0.5)

    def _lost(self, error: LostRankError) -> InputError | RunError:
        """Returns what is told about the rank that was lost."""
        until = time.monotonic() + (LATE_WORD if "timed out" in str(error).lower() else WORD)
        while time.monotonic() < until:
            if word := self._said():
                return self._error_of(word)
            if word := self._gone(range(self.ranks.size)):
                return self._error_of(self._say(word))
            time.sleep(0.1)
        waited = "timed out" in str(error).lower()
        return self._error_of(self._say(self._late(waited) or {"line": f"another rank was lost at {self._at()}: {error}"}))

    def _cause(self, error: BaseException) -> str:
        """Returns why this rank fails: what follows its name in a line."""
        if isinstance(error, KeyboardInterrupt):
            return f" {LEFT} SIGINT at {self._at()}"
        if isinstance(error, SystemExit):
            number = error.code - 128 if isinstance(error.code, int) else 0
            stopped = number in list(signal.Signals)
            how = f"{LEFT} {signal.Signals(number).name}" if stopped else f"called {called(error)}"
            return f" {how} at {self._at()}"
        line = " ".join(str(error).split())[:300]
        # A line of ours says where it was.
        return f": {line}" if isinstance(error, RunError) else f" failed at {self._at()}: {type(error).__name__}: {line}"

    def _error_of(self, word: dict[str, Any]) -> InputError | RunError:
        """Returns what is told of a rank by what it, or another one of it, has said."""
        if "line" in word:
            return RunError(word["line"])
        name = f"rank {word['rank']} of {self.ranks.size}"
        if "input" in word:
            where, field, found, allowed = word["input"]
            return InputError(f"{name}: {where}" if where else name, field, found, allowed)
        return RunError(f"{name}{word['cause']}")

    def _at(self) -> str:
        return self.ranks.doing or "the beginning"

    def _say(self, word: dict[str, Any]) -> dict[str, Any]:
        """Tells the others whose fault it is, and returns what was said first: what follows are consequences."""
        with contextlib.suppress(Exception):
            first: dict[str, Any] = json.loads(self.store.compare_set(FAILED, "", json.dumps(word)))
            return first
        return word

    def _said(self) -> dict[str, Any] | None:
        """Returns what was said first; None where nobody has said anything."""
        with contextlib.suppress(Exception):
            if self.store.check([FAILED]):
                word: dict[str, Any] = json.loads(self.store.get(FAILED))
                return word
        return None

    def _gone(self, among: "range | list[int]") -> dict[str, Any] | None:
        """Returns what there is to say of a rank of this machine whose process is no more."""
        for rank in among:
            host, process = self._others[rank]
            if host == socket.gethostname() and not _runs(process):
                name = f"rank {rank} of {self.ranks.size}"
                return {"rank": rank, "line": f"{name} is gone at {self._at()}: its process {process} was killed, or crashed"}
        return None

    def _late(self, waited: bool) -> dict[str, Any] | None:
        """Returns what there is to say of the rank that has asked the others for the least; None where all have as often.

        Args:
            waited: Whether it has not answered in time; else the connection to it is broken.
        """
        done = {}
        for rank in range(self.ranks.size):
            with contextlib.suppress(Exception):
                done[rank] = int(self.store.get(f"beat/{rank}")) if self.store.check([f"beat/{rank}"]) else 0
        done[self.ranks.rank] = self.ranks.calls
        late = min(done, key=lambda rank: done[rank])
        if done[late] == self.ranks.calls:
            return None
        name, (host, process) = f"rank {late} of {self.ranks.size}", self._others[late]
        if not waited:
            return {"rank": late, "line": f"{name} is gone at {self._at()}: the connection to it, on {host}, is broken"}
        if host == socket.gethostname():
            # One that was stopped (Ctrl-Z, a debugger) can't obey its launcher, which would wait half a minute for it.
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGCONT)
        line = f"{name} has not answered for {self.timeout:g} s at {self._at()}"
        return {"rank": late, "line": f"{line}: it hangs, or needs longer: --timeout SECONDS"}

    def _beat(self) -> None:
        """Says now and then how often this rank has asked the others for something, until the others are no more."""
        while not self._over.wait(BEAT):
            try:
                self.store.set(f"beat/{self.ranks.rank}", str(self.ranks.calls))
            except Exception:
                return


def _runs(process: int) -> bool:
    """Whether a process of this machine is still at work: one that its launcher has not yet looked after is not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not os.path.isdir("/proc/self")
