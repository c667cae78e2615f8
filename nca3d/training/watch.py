"""What a run watches in its numbers: a loss far above what it has been, and weights that no longer move.

Neither is a fault by itself: the iteration counts, and both are told. A spike leads back where the config asks for it, and so
do weights that have stood still for long: what comes of them is no trained rule.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from nca3d.training.recovery import UNMOVED

# How many losses a median is of, and how many there must be.
RECENT, LEAST = 51, 12
# A spike is so many times the median and so many times all but a tenth of the last losses. In a run that falls fast, a loss of
# ten times the one before is no more than six times the median.
TIMES, ABOVE, MOST = 5, 2, 0.9
# Each is in the log. One that is told, and that a run goes back for, is so many times all but a tenth, and so many times all.
FAR, BEYOND = 3, 2
# As long as it is compared with others than its like, it must be so many times their median to be told.
UNLIKE = 10
# After how many iterations weights are looked at: if they have all stayed, that long.
STILL = 50
# After how many a run is lost, unless its loss is zero and nothing is left to learn.
LOST = 100
# At less than this share of a run's rate weights may well stand still: a schedule may end at zero.
AT_WORK = 0.01
# How many weights are looked at at once.
PART = 1 << 20


@dataclass(frozen=True)
class Watch:
    """What was seen so far; saved with each checkpoint, so that a resumed run sees the same (law 11).

    A loss is compared with its like: a batch with a fresh seed has a far higher one than grown bodies, and so have aged ones.

    Attributes:
        losses: The losses of the last iterations without a fault whose states were all from the pool, oldest first.
        seeded: The same of those that had a fresh seed.
        aged: The same of those whose states were aged.
        spikes: How many of all losses were spikes.
        told: Whether the last one is to be told.
        digest: A number that follows from all weights; None = they were not looked at yet.
        unmoved: For how many iterations no weight has moved, as far as was looked.
        silent: For how many iterations all gradients have been zero.
    """

    losses: tuple[float, ...] = ()
    seeded: tuple[float, ...] = ()
    aged: tuple[float, ...] = ()
    spikes: int = 0
    told: bool = False
    digest: float | None = None
    unmoved: int = 0
    silent: int = 0

    def times(self, loss: float, like: str = "losses") -> float:
        """Returns how many times the median of the last losses a loss is, if it is a spike; else 0.

        Args:
            loss: The loss of an iteration.
            like: What it is compared with: "losses", "seeded" or "aged".
        """
        recent = self._recent(like)
        if len(recent) < LEAST or not math.isfinite(loss):
            return 0.0
        times, high = _measure(loss, recent)
        return times if times > TIMES and times > ABOVE * high else 0.0

    def after(self, loss: float, like: str = "losses") -> "Watch":
        """Returns what has been seen after one loss more; see `times`."""
        times, recent = self.times(loss, like), self._recent(like)
        # Where the loss stays up there, or is noise, one line is enough: the next one must be far beyond it.
        told = times > 0 and times >= FAR * _measure(loss, recent)[1]
        told = told and times >= BEYOND * max(_measure(one, recent)[0] for one in recent)
        own: tuple[float, ...] = getattr(self, like)
        told = told and (times >= UNLIKE or len(own) >= LEAST)
        more: dict[str, Any] = {like: (*own, loss)[-RECENT:]}
        return replace(self, spikes=self.spikes + bool(times), told=told, **more)

    def usual(self, loss: float) -> bool:
        """Whether a loss is no more than a batch with a fresh seed costs: a grown body that was badly hurt costs as much."""
        return len(self.seeded) >= LEAST and loss <= statistics.median(self.seeded)

    def _recent(self, like: str) -> tuple[float, ...]:
        """Returns what a loss is compared with: as long as there are few of its like, all of them."""
        own: tuple[float, ...] = getattr(self, like)
        return own if len(own) >= LEAST else self.losses + self.seeded + self.aged

    def after_gradient(self, norm: float) -> "Watch":
        """Returns what has been seen after one gradient more, of this norm."""
        return replace(self, silent=self.silent + 1 if norm == 0 else 0)

    def looked(self, weights: Iterable[Tensor], sum_up: Callable[[float], float] = float) -> "Watch":
        """Returns what has been seen after a look at the weights; due every `STILL` iterations.

        Args:
            weights: tensors of any shape.
            sum_up: adds up the numbers of several processes that have some of the weights each.
        """
        digest = sum_up(sum(map(_digest, weights)))
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


def silent_told(iterations: int) -> str:
    """Returns the line about gradients that are all zero, while the optimizer's momentum may still move the weights."""
    return f"all gradients have been zero for {iterations} iterations: look at the losses, and at what is alive"


def lost_told(iterations: int) -> str:
    """Returns why a run whose weights stand still goes back."""
    return f"{UNMOVED} for {iterations} iterations"


def _measure(loss: float, recent: Sequence[float]) -> tuple[float, float]:
    """Returns how many times the median of the last losses a loss is, and how many times that all but a tenth of them are.

    Losses with learned weights may be negative: then it is the distance from the median that counts.
    """
    median, high = statistics.median(recent), sorted(recent)[int(MOST * (len(recent) - 1))]
    size = max(abs(median), 1e-12)
    return (loss - median) / size + 1, (high - median) / size + 1


@torch.no_grad()
def _digest(weight: Tensor) -> float:
    """Returns a number that changes when any weight does: its place counts, so that two that change places count too."""
    total = 0.0
    # Part by part: in double precision at once, the weights of a large cube would take as much memory again.
    for number, part in enumerate(weight.detach().flatten().split(PART)):
        places = torch.linspace(1.0, 2.0, len(part), dtype=torch.float64, device=part.device)
        total += (number + 1) * float((part.double() * places).sum())
    return total
