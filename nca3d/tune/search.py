"""Which points are measured: batches up and down from the config's, then the ways to keep steps in memory at the best one."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.tune.choice import NEAR, best_batch
from nca3d.tune.point import MIB, Point, memory_words

# A batch whose throughput is below this share of the best one ends a direction.
FALLEN = 0.9
# Doublings in a row that bring nothing more (`NEAR`), after which no larger batch is tried.
IN_VAIN = 2
# The share of waiting for cores from which a machine is busy.
BUSY = 0.1
# Of the memory that is free, the share that a training may take where no limit is given.
MARGIN = 0.8


def config_at(config: Config, batch: int, memory: int | str | None = None) -> Config:
    """Returns the config of a point; its pool is no smaller than its batch.

    Args:
        config: The experiment.
        batch: Samples in one iteration.
        memory: What a rollout keeps; None = as the config says.

    Raises:
        InputErrors: The config has fields that don't go with this batch.
    """
    pool_size = max(config.pool_size, batch) if config.kind.pooled else config.pool_size
    return config.replace(batch=batch, pool_size=pool_size, memory=config.memory if memory is None else memory)


@dataclass
class Search:
    """What is measured so far, and what comes next.

    Attributes:
        config: The experiment.
        measure: Measures the point of a config.
        seconds: How long the iterations of a point may take: a batch that would take longer is not tried.
        limit: Bytes that a training may take; None = not known before the first point, which tells what was free.
        points: The points, in the order in which they were measured.
        ends: Why no larger or smaller batch was tried, a line each.
    """

    config: Config
    measure: Callable[[Config], Point]
    seconds: float
    limit: int | None = None
    points: list[Point] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def along(self, batches: Iterable[int]) -> None:
        """Measures these batches, from the smallest up; those that can't fit are left out."""
        for batch in sorted(batches):
            # Asked for by name: it may take its time.
            self._visit(batch, patient=True)

    def around(self) -> None:
        """Measures batches around the config's: half of it, then twice and so on, then less than half."""
        start = self.config.batch
        self._visit(start)
        # Before the larger ones: two points say how memory grows.
        if start > 1:
            self._visit(start // 2)
        if self._fits(start):
            self._upwards(start)
        self._downwards(start // 2)

    def keepings(self, batch: int) -> None:
        """Measures the other ways to keep steps in memory at one batch, where they differ from what was measured there."""
        at_batch = [point for point in self.points if point.batch == batch and point.segment is not None]
        root = max(1, round(self.config.horizon**0.5))
        for memory, segment in (("keep", 0), (root, root), ("recompute", 1)):
            if not any(point.segment == segment for point in at_batch):
                self._visit(batch, memory)

    def _upwards(self, batch: int) -> None:
        in_vain, best = 0, max(point.rate for point in self.points)
        while self._visit(batch := 2 * batch):
            rate = self.points[-1].rate
            if rate < FALLEN * best:
                self.ends.append(f"no larger batch: throughput falls at {batch}")
                return
            in_vain = 0 if rate > NEAR * best else in_vain + 1
            best = max(best, rate)
            if in_vain == IN_VAIN:
                self.ends.append(f"no larger batch: {IN_VAIN} doublings brought less than {100 * (NEAR - 1):.0f} % more")
                return

    def _downwards(self, batch: int) -> None:
        """Goes on below a batch that was visited, as long as throughput doesn't fall clearly, or nothing fits."""
        while batch > 1:
            best = max(point.rate for point in self.points)
            last = self.points[-1] if self.points[-1].batch == batch else self._at(batch)
            if last is None or (last.fits(self.limit) and last.rate < FALLEN * best):
                if last is not None:
                    self.ends.append(f"no smaller batch: throughput falls at {batch}")
                return
            self._visit(batch := batch // 2)

    def _visit(self, batch: int, memory: int | str | None = None, patient: bool = False) -> bool:
        """Measures one batch, if it can be; returns whether it was measured and fits."""
        try:
            config = config_at(self.config, batch, memory)
            why = self._refused(config, patient) if memory is None else ""
            point = Point(batch, config.memory, config.pool_size, trouble=why) if why else self.measure(config)
        except InputError as error:
            # The first batch is the config's own, which must be right.
            if not self.points:
                raise
            self.ends.append(f"batch {batch}: {error.errors[0].field}: allowed {error.errors[0].allowed}")
            return False
        best = max((known.rate for known in self.points), default=0.0)
        fallen = point.rate < FALLEN * best and all(batch > known.batch for known in self.points)
        # A busy spell of the machine must not end a direction.
        if point.fits(self.limit) and fallen:
            point = min(point, self.measure(config), key=lambda again: again.seconds or float("inf"))
        if self.limit is None and point.free is not None:
            self.limit = int(MARGIN * point.free)
        self.points.append(point)
        if not point.fits(self.limit):
            said = point.trouble or f"takes {(point.peak or 0) / MIB:,.0f} MiB, more than the limit"
            self.ends.append(f"batch {batch}, memory {memory_words(config.memory)}: {said}")
        return point.fits(self.limit)

    def busy(self) -> str:
        """Returns in words how busy the machine was, where times are less certain for it; "" on a quiet one."""
        most = max((point.waited for point in self.points), default=0.0)
        if most < BUSY:
            return ""
        return f"the machine was busy: up to {100 * most:.0f} % of the time went by waiting for cores, and is not counted"

    def _refused(self, config: Config, patient: bool) -> str:
        """Returns why a batch is not even tried: it would not fit, or take too long; "" = it is."""
        known = sorted((p for p in self.points if p.seconds and p.memory == config.memory), key=lambda p: p.batch)
        below = [point for point in known if point.batch < config.batch]
        if not below:
            return ""
        last = below[-1]
        seconds = (last.seconds or 0.0) * config.batch / last.batch
        # The fewest that a point has: the longest, and one of each kind.
        if not patient and seconds * (last.longest / (last.steps or 1) + 1 + bool(last.aged_all)) > self.seconds:
            return f"not tried: an iteration would take about {seconds:.0f} s (--seconds)"
        needed = self._predicted(below, config)
        if self.limit is not None and needed > self.limit:
            return f"not tried: would take about {needed / MIB:,.0f} MiB"
        return ""

    def _predicted(self, below: list[Point], config: Config) -> float:
        """Returns the bytes that a batch will take: on the line through the two points below it, or in proportion to one."""
        known = [(point.batch, point.peak) for point in below if point.peak is not None][-2:]
        if not known:
            return 0.0
        batch, peak = known[-1]
        slope = (peak - known[0][1]) / (batch - known[0][0]) if len(known) == 2 else peak / batch
        line = peak + max(slope, 0.0) * (config.batch - batch)
        # Beyond its budget it keeps ends of segments alone, and the line bends.
        return min(line, peak + config.memory_budget * MIB) if config.memory == "auto" else line

    def _at(self, batch: int) -> Point | None:
        return next((point for point in self.points if point.batch == batch), None)

    def _fits(self, batch: int) -> bool:
        point = self._at(batch)
        return point is not None and point.fits(self.limit)


def chosen_batch(search: Search) -> int | None:
    """Returns the batch to look at more closely; None = none fits."""
    best = best_batch(search.points, search.limit)
    return None if best is None else best.batch
