"""Rhythms in time and in space: how much power each frequency has, and which one leads."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from visualize.charts.figure import COLOURS, INK, literal, new_figure, quiet
from visualize.charts.measured import Numbers, mark_missing, numbers, over_bodies
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 9.2, 3.2  # inches
POWER, PEAK = COLOURS[0], COLOURS[1]


def spectrum(
    frequencies: ArrayLike | None,
    power: ArrayLike | None,
    *,
    x_label: str,
    mark: str | None = None,
    title: str | None = None,
    y_label: str = "power",
) -> "Figure":
    """A Figure of a power spectrum on a logarithmic scale, its leading peak marked.

    The peak is the highest local maximum of the median over bodies. Frequency 0 (the mean) and the lowest one above it
    (the trend) don't count; the highest one does: cells that blink every other step have their power there.

    Args:
        frequencies: (F,), rising, in cycles for each unit.
        power: (F,) or (F,B), above 0; anything else is left out.
        x_label: the horizontal axis with its unit, such as "frequency (1/step)".
        mark: words at the peak with {} for its 1 / frequency, such as "period {} steps" or "wavelength {} cells".
        title: a line above.
        y_label: the vertical axis.

    Raises:
        ValueError: frequencies and power don't belong together, or mark without {}.
    """
    if mark is not None and mark.count("{}") != 1:
        raise ArgumentError("spectrum", "mark", repr(mark), "words with one {} in them")
    at, values = _checked(frequencies, power)
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    quiet(axes)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    if np.isfinite(values).any():
        axes.set_yscale("log")
        _draw(axes, at, values, mark or "1 / frequency = {}")
    else:
        mark_missing(axes, alone=True)
    axes.margins(x=0.01)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left", pad=8)
    literal(figure)
    return figure


def peak(frequencies: Numbers, power: Numbers) -> int | None:
    """Index of the highest local maximum of (F,) power above the lowest frequency; None where it only falls."""
    at = np.flatnonzero(np.isfinite(power) & (frequencies > 0))
    found = np.append(power[at], -np.inf)  # so that the highest frequency can be a top too
    tops = np.flatnonzero((found[1:-1] > found[:-2]) & (found[1:-1] >= found[2:])) + 1
    return int(at[tops[np.argmax(found[tops])]]) if len(tops) else None


def _checked(frequencies: ArrayLike | None, power: ArrayLike | None) -> tuple[Numbers, Numbers]:
    at, values = numbers(frequencies, "spectrum: frequencies"), numbers(power, "spectrum: power")
    if at.size == 0 or values.size == 0:
        return np.empty(0), np.empty((0, 1))
    if at.ndim != 1 or values.ndim not in (1, 2) or len(values) != len(at):
        found = f"{values.shape} for frequencies {at.shape}"
        raise ArgumentError("spectrum", "power", found, "(F,) or (F,B) for (F,)")
    known = np.isfinite(at)
    values = values.reshape(len(at), -1)[known]
    return at[known], np.where(values > 0, values, np.nan)


def _draw(axes: "Axes", at: Numbers, values: Numbers, mark: str) -> None:
    lowest, median, highest = over_bodies(values)
    marker = "o" if len(at) == 1 else None
    if values.shape[1] > 1:
        name = f"lowest to highest of {values.shape[1]} bodies"
        axes.fill_between(at, lowest, highest, color=POWER, alpha=0.2, linewidth=0, label=name)
    axes.plot(at, median, color=POWER, linewidth=1.8, marker=marker, label="median body", gid="median")
    top = peak(at, median)
    if top is not None:
        axes.plot(at[top], median[top], color=PEAK, marker="D", markersize=6, gid="peak", zorder=4)
        late = at[top] > at.min() + 0.7 * np.ptp(at)
        axes.annotate(
            mark.replace("{}", f"{1 / at[top]:.3g}"),
            (at[top], highest[top]),
            xytext=(-8 if late else 8, 8),
            textcoords="offset points",
            color=PEAK,
            fontsize=10,
            ha="right" if late else "left",
        )
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.12)  # room for the words
    if values.shape[1] > 1:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="best")
