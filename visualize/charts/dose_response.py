"""What is left after damage, over how much was destroyed: a small panel for each kind, in it a line for each state."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.arguments import as_whole, quoted
from visualize.charts.costs import MARKERS
from visualize.charts.figure import COLOURS, INK, heading, literal, new_figure, quiet
from visualize.charts.measured import Numbers, mark_missing, numbers, shown
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line = tuple[Any, Any, Any, Any]
WIDTH, ROW = 7.2, 1.75  # inches
LINE_COLOURS = (COLOURS[1], COLOURS[0], COLOURS[3], COLOURS[2])
REFERENCES: tuple[Any, ...] = ("solid", (0, (5, 3)), (0, (1, 2)))
APART = 0.13  # of the way from one dose to the next: lines that meet are still all seen


def dose_response(
    panels: Mapping[str, Mapping[str, Line]],
    *,
    references: Mapping[str, float | None] | None = None,
    x_label: str,
    y_label: str,
    limits: tuple[float, float] = (0.0, 1.0),
    columns: int = 3,
    title: str | None = None,
) -> "Figure":
    """A Figure of small panels on the same axes; doses stand side by side in their order, whatever lies between them.

    Args:
        panels: kind → {state: (doses (N,), values (N,), low (N,), high (N,))}; doses are shares, written as percentages,
            low and high an interval or None; None or NaN where not measured. At most four states.
        references: {name: level}, three at most, drawn across all panels; None is left out.
        x_label: what stands below the horizontal axis.
        y_label: what stands beside the vertical axis.
        limits: of the vertical axis.
        columns: panels side by side.
        title: a line above.

    Raises:
        ValueError: doses and values don't belong together, or too many states or references.
    """
    columns = as_whole(columns, "dose_response", "columns", 1, 1000, "1 or more")
    states = list(dict.fromkeys(state for lines in panels.values() for state in lines))
    levels = {name: float(level) for name, level in (references or {}).items() if level is not None and np.isfinite(level)}
    for what, found, most in (("panels", states, len(LINE_COLOURS)), ("references", list(levels), len(REFERENCES))):
        if len(found) > most:
            raise ArgumentError("dose_response", what, quoted(found), f"at most {most}")
    checked = {kind: {state: _checked(kind, state, line) for state, line in lines.items()} for kind, lines in panels.items()}
    every = sorted({float(dose) for lines in checked.values() for at, *_ in lines.values() for dose in at})
    across = min(columns, max(len(checked), 1))
    down = -(-max(len(checked), 1) // across)
    figure = new_figure(WIDTH, ROW * down + 1.0 + (0.3 if title else 0) + (0.5 if down == 1 else 0))
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.06)
    grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (kind, lines) in zip(grid, checked.items(), strict=False):
        _panel(axes, kind, lines, states, every, levels)
    _share(grid, len(checked), every, limits, across)
    figure.supxlabel(x_label, color=INK, fontsize=10)
    figure.supylabel(y_label, color=INK, fontsize=10)
    _key(figure, states, levels, title)
    literal(figure)
    return figure


def _checked(kind: str, state: str, line: Line) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    where = f"dose_response: {kind}: {state}"
    at, values = (numbers(part, where).ravel() for part in line[:2])
    low, high = (np.full(len(at), np.nan) if part is None else numbers(part, where).ravel() for part in line[2:])
    if not len(at) == len(values) == len(low) == len(high):
        found = f"{len(at)} doses, {len(values)} values, {len(low)} and {len(high)} ends of intervals"
        raise ArgumentError("dose_response", f"{kind}: {state}", found, "equally many")
    known = np.isfinite(at)
    order = np.argsort(at[known])
    return at[known][order], values[known][order], low[known][order], high[known][order]


def _panel(
    axes: "Axes",
    kind: str,
    lines: Mapping[str, tuple[Numbers, Numbers, Numbers, Numbers]],
    states: list[str],
    every: list[float],
    levels: Mapping[str, float],
) -> None:
    quiet(axes)
    axes.set_title(kind, color=INK, fontsize=10, loc="left", pad=5)
    for (name, level), style in zip(levels.items(), REFERENCES, strict=False):
        axes.axhline(level, color=INK, linewidth=0.9, linestyle=style, gid=name)
    for state, (at, values, low, high) in lines.items():
        place = states.index(state)
        x = np.array([every.index(dose) for dose in at.tolist()]) + (place - (len(states) - 1) / 2) * APART
        axes.vlines(x, low, high, color=LINE_COLOURS[place], linewidth=2, alpha=0.4)
        axes.plot(x, values, label=state, zorder=3, clip_on=False, gid="line", **_look(place))
    if not any(np.isfinite(values).any() for _, values, *_ in lines.values()):
        mark_missing(axes, alone=False)


def _look(place: int) -> dict[str, Any]:
    return {
        "color": LINE_COLOURS[place],
        "marker": MARKERS[place],
        "markersize": 6,
        "markeredgecolor": "white",
        "linewidth": 1.6,
    }


def _share(grid: Any, count: int, every: list[float], limits: tuple[float, float], across: int) -> None:
    """One scale for all; places without a panel go, and the panels above them get the doses."""
    if not count:
        quiet(grid[0])
        mark_missing(grid[0], alone=True)
        return
    grid[0].set_ylim(*limits)
    grid[0].set_xlim(-0.5, max(len(every), 1) - 0.5)
    grid[0].set_xticks(range(len(every)), [f"{dose:.3g} %" for dose in np.multiply(every, 100)])
    for place, axes in enumerate(grid):
        if place >= count:
            axes.remove()
        elif place + across >= count:
            axes.tick_params(labelbottom=True)


def _key(figure: "Figure", states: list[str], levels: Mapping[str, float], title: str | None) -> None:
    """States in the first row, references in the second: a legend is filled column by column."""
    from matplotlib.lines import Line2D

    first = [Line2D([], [], label=state, **_look(place)) for place, state in enumerate(states)]
    second = [
        Line2D([], [], color=INK, linewidth=0.9, linestyle=style, label=f"{name} {shown(level)}")
        for (name, level), style in zip(levels.items(), REFERENCES, strict=False)
    ]
    empty = Line2D([], [], linestyle="none", label=" ")
    pairs = list(zip_longest(first, second, fillvalue=empty)) if second else [(sign,) for sign in first]
    if pairs or title:
        heading(
            figure,
            [sign for pair in pairs for sign in pair],
            title,
            len(pairs),
            fontsize=9.5,
            columnspacing=1.6,
            handlelength=2.2,
        )
