"""How bodies come back after a cut: one small panel for each wound, all on the same axes."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.arguments import as_whole
from visualize.charts.figure import COLOURS, INK, QUIET, heading, literal, new_figure, quiet
from visualize.charts.measured import MOST_ZOOM, Numbers, mark_missing, numbers, over_bodies
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, ROW = 9.2, 1.5  # inches
HEALED, OPEN = COLOURS[0], COLOURS[1]
LETTERS = 104  # of a title, across the whole width
GOAL_STYLE: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (5, 3))}
HORIZON_STYLE: dict[str, Any] = {"color": QUIET, "linewidth": 0.9, "linestyle": (0, (1, 2))}


def recovery(
    curves: Mapping[str, tuple[Any, Any]] | None,
    *,
    goal: float | None = 0.95,
    horizon: float | None = None,
    columns: int = 4,
    title: str | None = None,
    notes: Mapping[str, str] | None = None,
) -> "Figure":
    """A Figure of small panels, one a wound: quality relative to that before the cut, median and range over bodies.

    Args:
        curves: wound → (steps since the cut (T,), q / q before (T,B) or (T,)); None or NaN where not measured.
        goal: the relative quality at which a body has recovered, drawn across. A panel in which a body ends below
            it takes another colour, and the body's end a triangle.
        horizon: steps; upright marks stand at one and two of it.
        columns: panels side by side.
        title: a line above.
        notes: wound → a second line under its name, such as "8 of 8 healed".

    Raises:
        ValueError: steps and qualities don't belong together, or no column.
    """
    columns = as_whole(columns, "recovery", "columns", 1, 1000, "1 or more")
    checked = {name: _checked(name, pair) for name, pair in (curves or {}).items()}
    count, across = max(len(checked), 1), min(columns, max(len(checked), 1))
    down = -(-count // across)
    titles = {name: textwrap.fill(name, LETTERS // across) for name in checked}
    tall = max((text.count("\n") + 1 for text in titles.values()), default=1)
    figure = new_figure(WIDTH, down * (ROW + 0.17 * tall + (0.17 if notes else 0)) + 0.9 + (1.0 if down == 1 else 0))
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, (steps, quality)) in zip(grid, checked.items(), strict=False):
        _panel(axes, steps, quality, goal, horizon)
        note = (notes or {}).get(name)
        axes.set_title(titles[name], color=INK, fontsize=9.5, loc="left", pad=15 if notes else 5)
        if note:
            axes.annotate(
                note, (0, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points", color=QUIET, fontsize=8.5
            )
    if not checked:
        quiet(grid[0])
        mark_missing(grid[0], alone=True)
    else:
        _share(grid, checked, horizon, goal, across)
    figure.supxlabel("steps since the cut", color=INK, fontsize=10)
    figure.supylabel("q / q before", color=INK, fontsize=10)
    _key(figure, checked, goal, horizon, title)
    literal(figure)
    return figure


def _checked(name: str, pair: tuple[Any, Any]) -> tuple[Numbers, Numbers]:
    steps, quality = (None, None) if pair is None else pair
    at, values = numbers(steps, f"recovery: {name}: steps"), numbers(quality, f"recovery: {name}: quality")
    if at.size == 0 or values.size == 0:
        return np.empty(0), np.empty((0, 1))
    if at.ndim != 1 or values.ndim not in (1, 2) or len(values) != len(at):
        found = f"{values.shape} for steps {at.shape}"
        raise ArgumentError(f"recovery: {name}", "quality", found, "(T,) or (T,B) for (T,)")
    known = np.isfinite(at)
    return at[known], values.reshape(len(at), -1)[known]


def _open(quality: Numbers, goal: float | None) -> list[tuple[int, float]]:
    """(index, quality) where a body was last measured, for each body that is below the goal there."""
    lasts = [(int(np.flatnonzero(np.isfinite(body))[-1]), body) for body in quality.T if np.isfinite(body).any()]
    return [(last, float(body[last])) for last, body in lasts if goal is not None and body[last] < goal]


def _panel(axes: "Axes", steps: Numbers, quality: Numbers, goal: float | None, horizon: float | None) -> None:
    quiet(axes)
    for times in (1, 2) if horizon else ():
        axes.axvline(times * (horizon or 0), gid="horizon", **HORIZON_STYLE)
    if goal is not None:
        axes.axhline(goal, gid="goal", **GOAL_STYLE)
    if not np.isfinite(quality).any():
        mark_missing(axes, alone=False)
        return
    missed = _open(quality, goal)
    colour = OPEN if missed else HEALED
    worst, median, best = over_bodies(quality)
    marker = "o" if len(steps) == 1 else None
    axes.fill_between(steps, worst, best, color=colour, alpha=0.22, linewidth=0)
    axes.plot(steps, median, color=colour, linewidth=1.8, marker=marker, markersize=4, gid="median")
    for last, end in missed:
        axes.plot(steps[last], end, color=colour, marker="v", markersize=6, clip_on=False, gid="open", zorder=4)


def _share(
    grid: Any, checked: Mapping[str, tuple[Numbers, Numbers]], horizon: float | None, goal: float | None, across: int
) -> None:
    """One scale for all panels; places without a wound go, and the panels above them get the words of the axis."""
    ends = [steps.max() for steps, _ in checked.values() if len(steps)] + ([2.0 * horizon] if horizon else [])
    start = min([0.0] + [steps.min() for steps, _ in checked.values() if len(steps)])
    found = [values[np.isfinite(values)] for _, values in checked.values()]
    every = np.concatenate([*found, [1.0 if goal is None else goal]])
    low = min(MOST_ZOOM, np.floor((every.min() - 0.02) * 10) / 10)
    low, high = low if every.min() < 0 else max(low, 0.0), max(every.max(), 1.0)
    grid[0].set_ylim(low, high + 0.04 * (high - low))
    grid[0].set_xlim(start, 1.02 * max(ends, default=1.0) or 1.0)
    grid[0].locator_params(axis="both", nbins=4)
    grid[0].xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    for place, axes in enumerate(grid):
        if place >= len(checked):
            axes.remove()
        elif place + across >= len(checked):
            axes.tick_params(labelbottom=True)


def _key(
    figure: "Figure",
    checked: Mapping[str, tuple[Numbers, Numbers]],
    goal: float | None,
    horizon: float | None,
    title: str | None,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    signs: list[Any] = []
    if checked:
        signs.append(Line2D([], [], color=HEALED, linewidth=1.8, label="median body"))
        signs.append(Patch(color=HEALED, alpha=0.22, linewidth=0, label="worst to best"))
    if any(_open(quality, goal) for _, quality in checked.values()):
        signs.append(Line2D([], [], color=OPEN, linewidth=1.8, marker="v", label="a body ends below the goal"))
    if goal is not None and checked:
        signs.append(Line2D([], [], label=f"goal {goal:g}", **GOAL_STYLE))
    if horizon and checked:
        signs.append(Line2D([], [], label=f"1, 2 horizons ({horizon:,g}, {2 * horizon:,g} steps)", **HORIZON_STYLE))
    heading(figure, signs, title, len(signs), fontsize=9, columnspacing=1.4, handlelength=1.8)
