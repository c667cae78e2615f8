"""One measured point: what an iteration of training takes at one batch and one memory setting. Imports no torch."""

from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True)
class Point:
    """A point of the curve; what is None was not measured, and `trouble` says why.

    Attributes:
        batch: Samples in one iteration.
        memory: What a rollout keeps for its backward pass, as the config field `memory` says it.
        pool_size: Pooled states: the config's, or the batch where that is larger.
        seconds: Seconds of an iteration, the mean over one in five that ages pooled states and four that don't.
        peak: Bytes that training took at most above what the imports had taken.
        free: Bytes that were free before it began.
        segment: Steps of a segment that are kept at once; 0 = all steps are kept.
        steps: Steps of the iterations that were timed.
        longest: Steps of the iteration that comes first, for its memory.
        aged_steps: Steps without gradient in the iterations that age pooled states; 0 = none do.
        living: Share of the lattice's cells that are alive, 0..1.
        plain_all: Seconds of each timed iteration without ageing.
        aged_all: Seconds of each timed iteration with ageing.
        waited: Share of the time in which it waited for a core that other processes had, 0..1; it is not in `seconds`.
        trouble: Why there is no time here; "" = there is one.
    """

    batch: int
    memory: int | str
    pool_size: int
    seconds: float | None = None
    peak: int | None = None
    free: int | None = None
    segment: int | None = None
    steps: int = 0
    longest: int = 0
    aged_steps: int = 0
    living: float | None = None
    plain_all: list[float] = field(default_factory=list)
    aged_all: list[float] = field(default_factory=list)
    waited: float = 0.0
    trouble: str = ""

    @property
    def rate(self) -> float:
        """The samples that are trained on in a second; 0 where no time was measured."""
        return self.batch / self.seconds if self.seconds else 0.0

    def fits(self, limit: int | None) -> bool:
        """Whether it was measured, and took no more bytes than the limit (None = no limit)."""
        return bool(self.seconds) and (limit is None or self.peak is None or self.peak <= limit)

    def plain(self) -> dict[str, Any]:
        """Returns all numbers as JSON can hold them, with the samples a second."""
        return {**vars(self), "samples_per_second": self.rate or None}


def memory_words(memory: int | str) -> str:
    """Returns a memory setting in words, such as "keep" or "segments of 5"."""
    return f"segments of {memory}" if isinstance(memory, int) else memory


def kept_words(segment: int | None) -> str:
    """Returns what a rollout kept, in words."""
    return "" if segment is None else "all steps kept" if segment == 0 else f"segments of {segment}"
