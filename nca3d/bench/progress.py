"""A bar with the time left, over jobs of very unequal length."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

# Seconds between two drawings of the bar.
REDRAWN = 0.2


class Progress:
    """Counts seconds, not jobs: each kind of job says how long it may take, and its first run says how long it does take.

    Args:
        shown: whether to draw the bar at all.
        name: the verb that stands before each job.
    """

    def __init__(self, shown: bool = True, name: str = "bench") -> None:
        self._seconds: dict[str, float] = {}
        self._left: dict[str, int] = {}
        self._drawn = 0.0
        self._name = name
        # What runs at the moment, since when, and where the bar stood then.
        self._running: tuple[str, float, float] | None = None
        layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"
        self._bar = tqdm(total=0.0, disable=not shown, bar_format=layout, desc=name)

    def expect(self, job: str, seconds: float, times: int = 1) -> None:
        """`job` is to run `times` times, of about so many seconds each."""
        self._seconds.setdefault(job, seconds)
        self._left[job] = self._left.get(job, 0) + times
        self._refresh()

    def forget(self, start: str) -> None:
        """Jobs whose names begin so will not run after all."""
        for job in self._left:
            if job.startswith(start):
                self._left[job] = 0
        self._refresh()

    @contextmanager
    def doing(self, job: str) -> Iterator[None]:
        """One run of `job`."""
        self._bar.set_description(f"{self._name} {job}", refresh=False)
        self._refresh()
        start = time.perf_counter()
        self._running = job, start, self._bar.n
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._seconds[job] = seconds
            self._left[job] = max(0, self._left.get(job, 0) - 1)
            self._bar.n, self._running = self._running[2] + seconds, None
            self._refresh()

    def tick(self) -> None:
        """Moves the bar within a job, as far as the job was thought to take; for jobs that another process does."""
        if self._running is not None:
            job, start, before = self._running
            self._bar.n = before + min(time.perf_counter() - start, self._seconds.get(job, 0.0))
            # Its total counts this job as a whole.
            self._bar.refresh()

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.leave = False
        self._bar.close()

    def _refresh(self) -> None:
        self._bar.total = self._bar.n + sum(self._seconds[job] * times for job, times in self._left.items())
        if time.perf_counter() - self._drawn > REDRAWN:
            self._bar.refresh()
            self._drawn = time.perf_counter()
