"""What figures of a study share: numbers with gaps in them, how they are printed, and the mark of what wasn't measured."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.charts.figure import QUIET
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]
NOT_MEASURED = "not measured"
MOST_ZOOM = 0.9  # no axis of qualities begins above it: noise in the third decimal mustn't look like a fall


def numbers(values: ArrayLike | None, name: str) -> Numbers:
    """Values as floats of the same shape; None and what isn't finite become NaN, and None in place of all is empty.

    Raises:
        ValueError: ragged rows, or something that isn't a number; `name` says where.
    """
    if values is None:
        return np.empty(0)
    try:
        found = np.array(values, dtype=float)
    except (TypeError, ValueError):
        raise ArgumentError("", name, "ragged rows or words", "numbers (None where not measured)") from None
    return np.where(np.isfinite(found), found, np.nan)


def number(value: ArrayLike | None, name: str) -> float:
    """One float, NaN for a scalar None and for what isn't finite.

    Raises:
        ValueError: not one number.
    """
    found = numbers(float("nan") if value is None else value, name)
    if found.ndim:
        raise ArgumentError("", name, f"shape {found.shape}", "one number")
    return float(found)


def over_bodies(values: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Lowest, median and highest (T,) over the bodies of (T,B); NaN only where no body has a value."""
    found = np.full((3, len(values)), np.nan)
    some = np.isfinite(values).any(axis=1)
    if some.any():
        found[:, some] = [reduce(values[some], axis=1) for reduce in (np.nanmin, np.nanmedian, np.nanmax)]
    return found[0], found[1], found[2]


def shown(value: float, goal: float | None = None) -> str:
    """A number in print: two decimals, more where two would lift it over a goal that it misses."""
    if not np.isfinite(value):
        return "—"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10 or 0 < abs(value) < 0.01:
        return f"{value:.3g}"
    for decimals in (2, 3, 4):
        text = f"{value:.{decimals}f}"
        if goal is None or value >= goal or float(text) < goal:
            break
    return text


def zoomed(lowest: float, highest: float) -> tuple[float, float]:
    """Limits of an axis around data, without making much of noise.

    Qualities (0 to about 1) begin at 0.9 or below, anything else gets a margin,
    and an axis is never shorter than a fifth of its numbers.
    """
    if lowest >= 0 and 0.8 < highest <= 1.5:
        low = min(MOST_ZOOM, np.floor((lowest - 0.01) * 20) / 20)
        low, high = max(low, 0.0), max(highest, 1.0)
        return (low - 0.02 * (high - low) if low == 0 else low), high + 0.05 * (high - low)
    margin = max(0.06 * (highest - lowest), 0.1 * max(abs(lowest), abs(highest))) or 1.0
    return lowest - margin, highest + margin


def mark_missing(axes: "Axes", *, alone: bool) -> None:
    """Says in the middle of empty axes that nothing was measured; without ticks if no neighbour shares them."""
    if alone:
        axes.set_xticks([])
        axes.set_yticks([])
    axes.text(
        0.5,
        0.5,
        NOT_MEASURED,
        transform=axes.transAxes,
        ha="center",
        va="center",
        color=QUIET,
        fontsize=10,
        style="italic",
        backgroundcolor="white",
    )
