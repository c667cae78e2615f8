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
    """

    def __init__(self, shown: bool = True) -> None:
        self._seconds: dict[str, float] = {}
        self._left: dict[str, int] = {}
        self._drawn = 0.0
        layout = "{desc} {percentage:3.0f}% |{bar}| {elapsed} gone, {remaining} left"
        self._bar = tqdm(total=0.0, disable=not shown, bar_format=layout, desc="bench")

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
        self._bar.set_description(f"bench {job}", refresh=False)
        self._refresh()
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self._seconds[job] = seconds
            self._left[job] = max(0, self._left.get(job, 0) - 1)
            self._bar.n += seconds
            self._refresh()

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.leave = False
        self._bar.close()

    def _refresh(self) -> None:
        self._bar.total = self._bar.n + sum(self._seconds[job] * times for job, times in self._left.items())
        if time.perf_counter() - self._drawn > REDRAWN:
            self._bar.refresh()
            self._drawn = time.perf_counter()
