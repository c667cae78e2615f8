"""How well bodies keep over a long hold: the worst and the best of every window of steps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from visualize.charts.figure import COLOURS, INK, QUIET, heading, literal, new_figure, quiet
from visualize.charts.measured import Numbers, mark_missing, numbers, over_bodies, zoomed
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 9.2, 3.4  # inches
BODIES, WORST = COLOURS[0], COLOURS[1]


def envelope(
    steps: ArrayLike | None,
    worst: ArrayLike | None,
    best: ArrayLike | None,
    *,
    goal: float | None = None,
    marks: Mapping[int, str] | None = None,
    title: str | None = None,
    label: str = "quality",
) -> "Figure":
    """A Figure of a long hold: a band from the worst to the best of all bodies, the median body, the worst one.

    Lines show each window's worst; the worst body is named by its column, counted from 0.
    The vertical axis is zoomed in on the data, but begins at 0.9 or below: a drift of a thousandth stays small.

    Args:
        steps: (W,) absolute step of each window.
        worst: (W,B) or (W,), each body's lowest quality in the window; None or NaN where not measured.
        best: (W,B) or (W,), its highest.
        goal: a level drawn across; a body keeps if it never falls below it.
        marks: {step: word}, upright lines.
        title: a line above.
        label: what the vertical axis says.

    Raises:
        ValueError: steps, worst and best don't belong together.
    """
    at, low, high = _checked(steps, worst, best)
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    quiet(axes)
    axes.set_xlabel("step")
    axes.set_ylabel(label)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if goal is not None:
        axes.axhline(
            goal, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), label=f"goal {goal:g}: kept if never below", gid="goal"
        )
    if np.isfinite(low).any() or np.isfinite(high).any():
        _draw(axes, at, low, high)
    else:
        mark_missing(axes, alone=True)
    every = np.concatenate([low[np.isfinite(low)], high[np.isfinite(high)], [] if goal is None else [goal]])
    axes.set_ylim(*zoomed(every.min(), every.max()) if len(every) else (0, 1))
    axes.margins(x=0.01)
    _mark(axes, marks or {})
    handles, _ = axes.get_legend_handles_labels()
    if handles or title:
        heading(figure, handles, title, len(handles), fontsize=9, columnspacing=1.4, handlelength=1.8)
    literal(figure)
    return figure


def _checked(steps: ArrayLike | None, worst: ArrayLike | None, best: ArrayLike | None) -> tuple[Numbers, Numbers, Numbers]:
    at = numbers(steps, "envelope: steps")
    low, high = numbers(worst, "envelope: worst"), numbers(best, "envelope: best")
    if low.size == 0 or high.size == 0:  # one of them alone still tells something
        low, high = (low if low.size else np.full(high.shape, np.nan)), (high if high.size else np.full(low.shape, np.nan))
    if at.size == 0 or low.size == 0:
        return np.empty(0), np.empty((0, 1)), np.empty((0, 1))
    if at.ndim != 1 or low.ndim not in (1, 2) or len(low) != len(at) or low.shape != high.shape:
        found = f"{low.shape} and {high.shape} for steps {at.shape}"
        raise ArgumentError("envelope", "worst and best", found, "(W,) or (W,B), the same for both, for (W,)")
    known = np.isfinite(at)
    return at[known], low.reshape(len(at), -1)[known], high.reshape(len(at), -1)[known]


def _draw(axes: "Axes", at: Numbers, low: Numbers, high: Numbers) -> None:
    bodies = low.shape[1]
    lowest, median, _ = over_bodies(low)
    highest = over_bodies(high)[2]
    marker = "o" if len(at) == 1 else None
    several = f" of {bodies} bodies" if bodies > 1 else ""
    axes.fill_between(
        at,
        np.where(np.isfinite(lowest), lowest, highest),
        np.where(np.isfinite(highest), highest, lowest),
        color=BODIES,
        alpha=0.2,
        linewidth=0,
        label=f"worst to best{several}",
    )
    if not np.isfinite(low).any():
        return
    name = "median body's worst" if bodies > 1 else "worst of each window"
    axes.plot(at, median, color=BODIES, linewidth=1.8, marker=marker, markersize=4, label=name, gid="median")
    if bodies > 1:
        which = int(np.argmin(np.where(np.isfinite(low), low, np.inf).min(axis=0)))
        name = f"worst body (no. {which})"
        axes.plot(at, low[:, which], color=WORST, linewidth=1.0, marker=marker, markersize=4, label=name, gid="worst")


def _mark(axes: "Axes", marks: Mapping[int, str]) -> None:
    """Upright lines with words above the axes; a word too near to the one before goes a line higher."""
    left, right = axes.get_xlim()
    taken = [-np.inf, -np.inf]
    for step, word in sorted(marks.items()):
        place = (step - left) / ((right - left) or 1)
        level = 0 if place >= taken[0] else 1
        taken[level] = place + 0.01 * (len(word) + 2)
        axes.axvline(step, color=QUIET, linewidth=0.9, gid="mark")
        axes.annotate(
            word,
            (step, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3 + 11 * level),
            textcoords="offset points",
            color=QUIET,
            fontsize=9,
            ha="right" if place > 0.9 else "left" if place < 0.1 else "center",
            va="bottom",
        )
