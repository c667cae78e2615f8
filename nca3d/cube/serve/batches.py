"""Questions that wait are computed together: a cube takes little longer for many than for one, since it reads weights once.

Nobody waits for a batch to fill: whatever waits when the cube becomes free is the next batch. Only where some wait already do
those who have just been answered get a moment to ask again, or eight clients would be a batch of one and one of seven.

Whose turn it is, is decided by fair queueing (start-time fair queueing, Goyal et al. 1996): each client's questions follow each
other, and those of a client that asks little stand before the many of another.
"""

import asyncio
import heapq
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

from nca3d.cube.answers import AT_ONCE, Askable, Verdict
from nca3d.cube.serve.limits import CLIENTS

# Seconds that clients which have just been answered get to ask again: a small part of the least time of a batch.
AGAIN = 0.005


class Stopping(Exception):
    """The server is stopped before a request's turn has come."""


@dataclass(order=True)
class Job:
    """A request that waits.

    Attributes:
        turn: Where in line it stands: how many questions every client will have been answered before it, at least.
        number: Which of all requests it is.
        questions: Its questions.
        best: How many answers to each.
        future: Where its verdicts go; it is cancelled when the client has gone away.
    """

    turn: int
    number: int
    questions: Sequence[str] = field(compare=False)
    best: int = field(compare=False)
    future: "asyncio.Future[list[Verdict]]" = field(compare=False)


class Batches:
    """The line in front of a cube.

    Args:
        cube: The cube, which computes in a thread of its own.

    Attributes:
        waiting: How many requests wait or are computed.
    """

    def __init__(self, cube: Askable) -> None:
        self.cube = cube
        self.waiting = 0
        self._line: list[Job] = []
        self._worker = ThreadPoolExecutor(1, "cube")  # one thread: the cube takes every core as it is
        self._numbers, self._turn, self._turns = count(), 0, dict[str, int]()
        self._is_resting = False
        self._running: asyncio.Future[list[list[Verdict] | Exception]] | None = None

    async def verdicts(self, questions: Sequence[str], best: int, client: str) -> list[Verdict]:
        """Returns what the cube answers to a request once its turn has come.

        Args:
            questions: The questions of the request.
            best: How many answers to return to each.
            client: Who asks; see `connections.client_of`.

        Raises:
            Stopping: The server is stopped before.
            Exception: Whatever the cube raised for these questions.
        """
        turn = max(self._turn, self._turns.get(client, 0))
        self._turns[client] = turn + len(questions)
        if len(self._turns) > CLIENTS:  # all that are not ahead of the others: they begin where everybody does
            self._turns = {name: ahead for name, ahead in self._turns.items() if ahead > self._turn}
        job = Job(turn, next(self._numbers), questions, best, asyncio.get_running_loop().create_future())
        heapq.heappush(self._line, job)
        self.waiting += 1
        try:
            self._start()
            return await job.future
        finally:
            self.waiting -= 1

    def stop(self) -> None:
        """Sends away all whose turn has not come."""
        while self._line:
            job = heapq.heappop(self._line)
            if not job.future.done():
                job.future.set_exception(Stopping())

    def close(self) -> None:
        """Ends the thread, after the batch that it computes."""
        self.stop()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _start(self, rested: bool = False) -> None:
        """Gives the cube the next batch if it is free."""
        self._is_resting &= not rested
        if self._running is not None or self._is_resting:
            return
        jobs = self._next()
        if not jobs:
            self._turns.clear()  # nobody waits: all are equal again, and no client is remembered
            return
        self._turn = jobs[-1].turn
        self._running = asyncio.get_running_loop().run_in_executor(self._worker, compute, self.cube, jobs)
        self._running.add_done_callback(lambda done: self._finish(jobs, done))

    def _next(self) -> list[Job]:
        """Takes the next batch off the line: as many requests as fit, one at least, without clients that have gone away."""
        jobs: list[Job] = []
        room = AT_ONCE
        while self._line and (not jobs or len(self._line[0].questions) <= room):
            job = heapq.heappop(self._line)
            if not job.future.done():
                jobs.append(job)
                room -= len(job.questions)
        return jobs

    def _finish(self, jobs: list[Job], done: "asyncio.Future[list[list[Verdict] | Exception]]") -> None:
        """Hands out the verdicts of a batch, and begins with the next one."""
        self._running = None
        results = [Stopping()] * len(jobs) if done.cancelled() else done.result()
        for job, result in zip(jobs, results, strict=True):
            if job.future.done():  # the client went away while the cube was at it
                continue
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
        if 0 < sum(len(job.questions) for job in self._line) < AT_ONCE:
            self._is_resting = True
            asyncio.get_running_loop().call_later(AGAIN, self._start, True)
        else:
            self._start()


def compute(cube: Askable, jobs: Sequence[Job]) -> list[list[Verdict] | Exception]:
    """Returns the verdicts of each request, all computed together, or what went wrong with it alone."""
    questions = [question for job in jobs for question in job.questions]
    try:
        verdicts = iter(cube.verdicts(questions, best=max(job.best for job in jobs)))
    except Exception as error:  # whatever a request brings about must not end the server, nor hit the others
        if len(jobs) == 1:
            return [error]
        # By halves: one bad request among many costs a few computations more, not one for each.
        middle = len(jobs) // 2
        return compute(cube, jobs[:middle]) + compute(cube, jobs[middle:])
    found: list[list[Verdict] | Exception] = []
    for job in jobs:
        mine = [next(verdicts) for _ in job.questions]
        found.append([verdict._replace(replies=verdict.replies[: job.best]) for verdict in mine])
    return found
