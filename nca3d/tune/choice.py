"""Which point is chosen, and why: the smallest batch that is nearly the fastest, with the least memory that is, too."""

from collections.abc import Sequence
from dataclasses import dataclass

from nca3d.config import Config
from nca3d.tune.point import MIB, Point, kept_words, memory_words

# Rates within this factor of the best are as good: repeats on a quiet machine differ by about as much.
NEAR = 1.03
# A setting that takes less than this share of the memory is worth changing to.
LESS = 0.9


@dataclass(frozen=True)
class Choice:
    """The chosen point.

    Attributes:
        point: The point.
        reasons: Why, a line for the batch and one for what is kept in memory.
        before: The point of the config as it was; None = it was not measured.
    """

    point: Point
    reasons: list[str]
    before: Point | None

    def changes(self, config: Config) -> dict[str, int | str]:
        """Returns the fields of the config that change, by name."""
        fields = {"batch": self.point.batch, "pool_size": self.point.pool_size, "memory": self.point.memory}
        return {name: value for name, value in fields.items() if getattr(config, name) != value}


def best_batch(points: Sequence[Point], limit: int | None) -> Point | None:
    """Returns the point of the smallest batch within `NEAR` of the best rate, of those that fit; None = none does.

    Args:
        points: The points, all of one memory setting.
        limit: Bytes that a training may take; None = no limit.
    """
    fitting = [point for point in points if point.fits(limit)]
    best = max((point.rate for point in fitting), default=0.0)
    return min((point for point in fitting if NEAR * point.rate >= best), key=lambda point: point.batch, default=None)


def choose(points: Sequence[Point], config: Config, limit: int | None) -> Choice | None:
    """Returns the choice among all points; None = nothing fits.

    Args:
        points: The points; those of other memory settings than the config's are looked at for the chosen batch alone.
        config: The experiment.
        limit: Bytes that a training may take; None = no limit.
    """
    own = [point for point in points if point.memory == config.memory]
    first = best_batch(own, limit)
    if first is None:
        return None
    point, reason = _keeping(first, [p for p in points if p.batch == first.batch and p.fits(limit)])
    before = next((p for p in own if p.batch == config.batch and p.seconds), None)
    return Choice(point, [_batch_reason(first, own, limit), reason], before)


def _batch_reason(chosen: Point, points: Sequence[Point], limit: int | None) -> str:
    fitting = [point for point in points if point.fits(limit)]
    best = max(fitting, key=lambda point: point.rate)
    what = f"batch {chosen.batch}: {chosen.rate:.3g} samples/s"
    if best.batch == chosen.batch:
        return f"{what}, the most of {len(fitting)} batches that were measured and fit"
    return (
        f"{what}, within {100 * (NEAR - 1):.0f} % of the most ({best.rate:.3g} at batch {best.batch}), and the smallest that is"
    )


def _keeping(own: Point, points: Sequence[Point]) -> tuple[Point, str]:
    """Returns the best memory setting at one batch, and why.

    Args:
        own: The point with the config's own setting.
        points: All that fit there.
    """
    fastest = max(points, key=lambda point: point.rate)
    near = [point for point in points if NEAR * point.rate >= fastest.rate]
    least = min(near, key=lambda point: point.peak or 0)
    own_kept = kept_words(own.segment)
    name = f"memory {memory_words(own.memory)}" + (
        f" ({own_kept})" if own_kept and own_kept != memory_words(own.memory) else ""
    )
    if len(points) == 1:
        return own, f"{name}: the only way that was measured and fits"
    if own in near and (own is least or (least.peak or 0) > LESS * (own.peak or 0)):
        rest = [point for point in points if point is not own]
        others = ", ".join(f"{memory_words(p.memory)} {p.rate / own.rate:.2f}× the rate{_times(p, own)}" for p in rest)
        return own, f"{name} stays: {others}"
    if own in near:
        way = f"as fast, with {(least.peak or 0) / MIB:,.0f} instead of {(own.peak or 0) / MIB:,.0f} MiB"
        return least, f"memory {memory_words(least.memory)}: {way}"
    best = fastest if (least.peak or 0) > LESS * (fastest.peak or 0) else least
    return best, f"memory {memory_words(best.memory)}: {best.rate / own.rate:.2f}× the rate of {name}{_times(best, own)}"


def _times(point: Point, own: Point) -> str:
    return f" at {point.peak / own.peak:.2f}× the memory" if point.peak and own.peak else ""
