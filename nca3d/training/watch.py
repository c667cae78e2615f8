"""What a run watches in its numbers: a loss far above what it has been, and weights that no longer move.

Neither is a fault by itself: the iteration counts, and both are told. A spike leads back where the config asks for it, and so
do weights that have stood still for long: what comes of them is no trained rule.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

# How many losses a median is of, and how many there must be.
RECENT, LEAST = 51, 20
# A spike is so many times the median and so many times all but a tenth of the last losses. In a run that falls fast, a loss of
# ten times the one before is no more than six times the median.
TIMES, ABOVE, MOST = 5, 2, 0.9
# From how many times the median on a spike has a line of its own; each one is in the log.
TOLD = 10
# After how many iterations weights are looked at: if they have all stayed, that long.
STILL = 50
# After how many a run is lost, unless its loss is zero and nothing is left to learn.
LOST = 100
# How many weights are looked at at once.
PART = 1 << 20


@dataclass(frozen=True)
class Watch:
    """What was seen so far; saved with each checkpoint, so that a resumed run sees the same (law 11).

    Attributes:
        losses: The losses of the last iterations without a fault whose states were all old, oldest first.
        seeded: The same of those that had a fresh seed: where seeds come now and then, a grown body's loss is far lower.
        spikes: How many of all losses were spikes.
        digest: A number that follows from all weights; None = they were not looked at yet.
        unmoved: For how many iterations no weight has moved, as far as was looked.
    """

    losses: tuple[float, ...] = ()
    seeded: tuple[float, ...] = ()
    spikes: int = 0
    digest: float | None = None
    unmoved: int = 0

    def times(self, loss: float, fresh: bool) -> float:
        """Returns how many times the median of the last losses a loss is, if it is a spike; else 0.

        Args:
            loss: The loss of an iteration.
            fresh: Whether that had a fresh seed: it is compared with its like.
        """
        recent = self.seeded if fresh else self.losses
        if len(recent) < LEAST or not math.isfinite(loss):
            return 0.0
        median, high = statistics.median(recent), sorted(recent)[int(MOST * (len(recent) - 1))]
        # Losses with learned weights may be negative: then it is the distance from the median that counts.
        size = max(abs(median), 1e-12)
        times = (loss - median) / size + 1
        return times if times > TIMES and loss - median > ABOVE * (high - median) + (ABOVE - 1) * size else 0.0

    @property
    def alone(self) -> bool:
        """Whether at most one of the last losses is a spike: where a loss stays high, each one is, until the median follows."""
        both = ((loss, fresh) for fresh, losses in ((False, self.losses), (True, self.seeded)) for loss in losses)
        return sum(bool(self.times(loss, fresh)) for loss, fresh in both) <= 1

    def after(self, loss: float, fresh: bool) -> "Watch":
        """Returns what has been seen after one loss more; see `times`."""
        known = replace(self, spikes=self.spikes + bool(self.times(loss, fresh)))
        if fresh:
            return replace(known, seeded=(*self.seeded, loss)[-RECENT:])
        return replace(known, losses=(*self.losses, loss)[-RECENT:])

    def looked(self, weights: Iterable[Tensor]) -> "Watch":
        """Returns what has been seen after a look at the weights, of any shape; due every `STILL` iterations."""
        digest = sum(map(_digest, weights))
        return replace(self, digest=digest, unmoved=self.unmoved + STILL if digest == self.digest else 0)

    def plain(self) -> dict[str, Any]:
        """Returns it as JSON can hold it."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Self:
        """Returns what `plain` wrote."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
        return cls(**values)


def spike_told(loss: float, times: float) -> str:
    """Returns what to say of a spike: as a line of its own, or as the cause of going back."""
    return f"loss spike: {loss:.4g}, {times:.3g} times its median"


def unmoved_told(iterations: int) -> str:
    """Returns the line about weights that don't move."""
    return (
        f"no weight has moved for {iterations} iterations: no gradient reaches them; look at the losses and their weights, at "
        "what is alive, and at precision fp16"
    )


def lost_told(iterations: int) -> str:
    """Returns why a run whose weights stand still goes back."""
    return f"no weight has moved for {iterations} iterations"


@torch.no_grad()
def _digest(weight: Tensor) -> float:
    """Returns a number that changes when any weight does: its place counts, so that two that change places count too."""
    total = 0.0
    # Part by part: in double precision at once, the weights of a large cube would take as much memory again.
    for number, part in enumerate(weight.detach().flatten().split(PART)):
        places = torch.linspace(1.0, 2.0, len(part), dtype=torch.float64, device=part.device)
        total += (number + 1) * float((part.double() * places).sum())
    return total
