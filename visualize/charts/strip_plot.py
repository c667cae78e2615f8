"""Repeated measurements side by side, such as runs with several random seeds: every value as a dot, their mean and interval."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.charts.dot_plot import Interval, _interval, _rows, _values_at_the_right
from visualize.charts.figure import COLOURS, FAINT, INK, QUIET, heading, literal, new_figure
from visualize.charts.measured import NOT_MEASURED, Numbers, mark_missing, numbers, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

PANEL, LETTER = 2.1, 0.075  # inches: the width of a panel, and of a letter of the names at the left
ACROSS = 4  # panels in a row
COLOUR = COLOURS[0]


def strip_plot(
    rows: Mapping[str, Mapping[str, Sequence[float]]] | None,
    *,
    intervals: Mapping[str, Mapping[str, Interval | None]] | None = None,
    label: str = "",
    title: str | None = None,
) -> "Figure":
    """A Figure with a panel for each metric: a line for each row, with a hollow dot for each value and a full one at the mean.

    Args:
        rows: row → {metric: the values that were measured}; none is shown as not measured.
        intervals: row → {metric: (low, high)} of the mean, drawn as a stroke.
        label: what the names of the rows are, above them.
        title: a line above.

    Raises:
        ValueError: values that aren't numbers, or an interval that isn't (low, high).
    """
    rows, intervals = {row: dict(metrics or {}) for row, metrics in (rows or {}).items()}, intervals or {}
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    across = min(ACROSS, max(len(metrics), 1))
    down = -(-max(len(metrics), 1) // across)
    names = LETTER * max(map(len, (*rows, label)), default=0)
    figure = new_figure(across * PANEL + names + 0.6, down * (0.85 + 0.26 * max(len(rows), 3)) + (0.7 if title else 0.45))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.07)
    grid = figure.subplots(down, across, squeeze=False)
    for place, axes in enumerate(grid.ravel()):
        if place < len(metrics):
            metric = metrics[place]
            values = [numbers(row.get(metric, ()), f"strip_plot: {name}: {metric}").ravel() for name, row in rows.items()]
            spans = [_interval((intervals.get(name) or {}).get(metric), f"strip_plot: {name}: {metric}") for name in rows]
            _panel(axes, metric, values, spans)
            axes.set_yticks(range(len(rows)), list(rows) if place % across == 0 else [""] * len(rows))
            axes.tick_params(axis="y", labelcolor=INK)
            if label and place % across == 0:
                axes.annotate(label, (0, 1), (-6, 6), "axes fraction", "offset points", ha="right", color=QUIET, fontsize=9)
        elif place:
            axes.remove()
    if not metrics:
        _rows(grid[0, 0], 0, [])
        mark_missing(grid[0, 0], alone=True)
    heading(figure, _signs(any(map(any, (row.values() for row in intervals.values())))), title, 3, fontsize=9.5)
    literal(figure)
    return figure


def _panel(axes: "Axes", metric: str, values: Sequence[Numbers], spans: Sequence[Interval]) -> None:
    finite = [row[np.isfinite(row)] for row in values]
    _rows(axes, len(values), [*np.concatenate([*finite, np.ravel(spans)])])
    axes.set_title(textwrap.fill(metric, 24), color=INK, fontsize=10, loc="left")
    means = [float(row.mean()) if len(row) else np.nan for row in finite]
    for place, (row, mean, span) in enumerate(zip(finite, means, spans, strict=True)):
        axes.axhline(place, color=FAINT, linewidth=0.6, zorder=0.5)
        if not len(row):
            middle = axes.get_yaxis_transform()
            look: dict[str, Any] = {"ha": "center", "va": "center", "color": QUIET, "fontsize": 8.5, "style": "italic"}
            axes.text(0.5, place, NOT_MEASURED, transform=middle, backgroundcolor="white", **look)
            continue
        axes.plot(span, [place, place], color=COLOUR, linewidth=2.2, alpha=0.55, solid_capstyle="butt", gid="interval")
        # Below the line of the mean: values at one place would hide it, and each other.
        axes.plot(row, np.full(len(row), place + 0.24), gid="value", **_value())
        axes.plot(mean, place, gid="mean", **_mean())
    axes.locator_params(axis="x", nbins=4)
    _values_at_the_right(axes, [shown(mean) for mean in means])


def _value() -> dict[str, Any]:
    return {
        "color": COLOUR,
        "marker": "o",
        "markersize": 4,
        "markerfacecolor": "none",
        "markeredgewidth": 0.9,
        "alpha": 0.8,
        "linestyle": "none",
    }


def _mean() -> dict[str, Any]:
    return {"color": COLOUR, "marker": "o", "markersize": 7, "markeredgecolor": "white", "linestyle": "none"}


def _signs(spans: bool) -> "list[Line2D]":
    from matplotlib.lines import Line2D

    signs = [Line2D([], [], label="mean", **_mean()), Line2D([], [], label="one run", **_value())]
    line = Line2D([], [], label="95 % interval of the mean", color=COLOUR, linewidth=2.2, alpha=0.55)
    return [*signs, line] if spans else signs
