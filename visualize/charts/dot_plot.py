"""Figures side by side as dots with intervals: conditions of one run (`dot_plot`), several runs (`compare`)."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.charts.costs import MARKERS
from visualize.charts.figure import COLOURS, FAINT, INK, QUIET, heading, literal, new_figure, quiet
from visualize.charts.measured import NOT_MEASURED, mark_missing, number, numbers, shown, zoomed
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Interval = tuple[float, float]
WIDTH = 9.2  # inches
GROUP_COLOURS = COLOURS[:1] + COLOURS[2:]  # without the one that elsewhere says that something failed
ACROSS = 3  # panels of `compare` in a row


def dot_plot(
    values: Mapping[str, float | None] | None,
    *,
    intervals: Mapping[str, Interval | None] | None = None,
    reference: float | None = None,
    label: str,
    title: str | None = None,
    groups: Mapping[str, str] | None = None,
) -> "Figure":
    """A Figure with a line for each condition: a dot at its value, a stroke over its interval, the number at the right.

    Args:
        values: condition → value; None or NaN where not measured.
        intervals: condition → (low, high).
        reference: the value of the unchanged condition, drawn from top to bottom.
        label: what the horizontal axis says, with its unit.
        title: a line above.
        groups: condition → the heading it stands under; those without one come first.

    Raises:
        ValueError: a value that isn't one number, or an interval that isn't (low, high).
    """
    known = {name: number(value, f"dot_plot: {name}") for name, value in (values or {}).items()}
    spans = {name: _interval((intervals or {}).get(name), f"dot_plot: {name}") for name in known}
    groups = groups or {}
    headings = sorted({groups.get(name, ""): None for name in known}, key=bool)
    lines: list[tuple[str, str]] = []  # (heading, "") above the conditions of a group
    for group in headings:
        lines += [(group, "")] * bool(group) + [(group, name) for name in known if groups.get(name, "") == group]
    figure = new_figure(WIDTH, 0.27 * max(len(lines), 3) + 1.0)
    axes = figure.subplots()
    _rows(axes, len(lines), [*known.values(), *np.ravel(list(spans.values())), number(reference, "dot_plot: reference")])
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), gid="reference")
        axes.annotate(
            f"unchanged {shown(reference)}",
            (reference, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            color=INK,
            fontsize=9,
        )
    for place, (group, name) in enumerate(lines):
        if name:
            _dot(axes, place, known[name], spans[name], GROUP_COLOURS[headings.index(group) % len(GROUP_COLOURS)], "o", name)
    axes.set_yticks(range(len(lines)), [name or group for group, name in lines])
    for tick, (_, name) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set(color=INK, fontweight="normal" if name else "bold")
    if not known:
        mark_missing(axes, alone=True)
    _values_at_the_right(axes, [shown(known[name]) if name else "" for _, name in lines])
    axes.set_xlabel(label)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left", pad=8 if reference is None else 20)
    literal(figure)
    return figure


def compare(
    rows: Mapping[str, Mapping[str, float | None]] | None,
    *,
    intervals: Mapping[str, Mapping[str, Interval | None]] | None = None,
    goals: Mapping[str, float] | None = None,
    title: str | None = None,
) -> "Figure":
    """A Figure of several runs: a panel for each metric, and in it a line for each run, always of one colour and marker.

    Args:
        rows: run → {metric: value}; a metric that a run lacks is shown as not measured.
        intervals: run → {metric: (low, high)}.
        goals: metric → a level drawn from top to bottom.
        title: a line above.

    Raises:
        ValueError: a value that isn't one number, or an interval that isn't (low, high).
    """
    rows, intervals = {run: row or {} for run, row in (rows or {}).items()}, intervals or {}
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    across = min(ACROSS, max(len(metrics), 1))
    down = -(-max(len(metrics), 1) // across)
    figure = new_figure(WIDTH, down * (0.85 + 0.22 * max(len(rows), 3)) + 0.6)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.07)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, metric in zip(grid, metrics, strict=False):
        values = [number(row.get(metric), f"compare: {run}: {metric}") for run, row in rows.items()]
        spans = [_interval((intervals.get(run) or {}).get(metric), f"compare: {run}: {metric}") for run in rows]
        _panel(axes, metric, list(rows), values, spans, (goals or {}).get(metric))
    for axes in grid[max(len(metrics), 1) :]:
        axes.remove()
    if not metrics:
        _rows(grid[0], 0, [])
        mark_missing(grid[0], alone=True)
    handles = [_sign(place, run) for place, run in enumerate(rows)]
    if handles or title:
        heading(figure, handles, title, _abreast(list(rows)), fontsize=10, columnspacing=1.6)
    literal(figure)
    return figure


def _panel(
    axes: "Axes", metric: str, runs: Sequence[str], values: Sequence[float], spans: Sequence[Interval], goal: float | None
) -> None:
    _rows(axes, len(runs), [*values, *np.ravel(spans), number(goal, f"compare: goals: {metric}")])
    words = textwrap.fill(metric, 30 if goal is None else 18)
    if goal is not None:
        axes.axvline(goal, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), gid="goal")
        axes.set_title(f"goal {shown(goal)}", color=QUIET, fontsize=9, loc="right")
    axes.set_title(words, color=INK, fontsize=10, loc="left")
    for place, (run, value, span) in enumerate(zip(runs, values, spans, strict=True)):
        colour, marker = _look(place)
        _dot(axes, place, value, span, colour, marker, run)
    axes.locator_params(axis="x", nbins=4)
    axes.set_yticks([])
    _values_at_the_right(axes, _told_apart(values, goal))


def _told_apart(values: Sequence[float], goal: float | None) -> list[str]:
    """Numbers in print, with up to four decimals where with fewer different ones would look the same."""
    words = [shown(value, goal) for value in values]
    finite = [value for value in values if np.isfinite(value)]
    for decimals in (3, 4):
        if len(set(words)) == len({f"{value:.4f}" for value in values}) or max(map(abs, finite), default=0) >= 10:
            break
        words = [f"{value:.{decimals}f}" if np.isfinite(value) else shown(value) for value in values]
    return words


def _interval(found: Any, name: str) -> Interval:
    pair = numbers(np.array([np.nan, np.nan]) if found is None else found, f"{name}: interval")
    if pair.shape != (2,) or pair[0] > pair[1]:
        raise ArgumentError(name, "interval", found, "(low, high)")
    return float(pair[0]), float(pair[1])


def _rows(axes: "Axes", count: int, numbers_in_it: Sequence[float]) -> None:
    """Axes with a faint line for each row, the first on top, wide enough for all numbers."""
    quiet(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_ylim(max(count, 1) - 0.4, -0.6)
    finite = [value for value in numbers_in_it if np.isfinite(value)]
    axes.set_xlim(*zoomed(min(finite), max(finite)) if finite else (0, 1))
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}")


def _dot(axes: "Axes", place: int, value: float, span: Interval, colour: str, marker: str, name: str) -> None:
    axes.axhline(place, color=FAINT, linewidth=0.6, zorder=0.5)
    if not np.isfinite(value):
        axes.text(
            0.5,
            place,
            NOT_MEASURED,
            transform=axes.get_yaxis_transform(),
            ha="center",
            va="center",
            color=QUIET,
            fontsize=8.5,
            style="italic",
            backgroundcolor="white",
        )
        return
    axes.plot(span, [place, place], color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="butt", gid="interval")
    axes.plot(value, place, color=colour, marker=marker, markersize=7, markeredgecolor="white", linestyle="none", label=name)


def _values_at_the_right(axes: "Axes", words: Sequence[str]) -> None:
    for place, word in enumerate(words):
        axes.annotate(
            word,
            (1, place),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontsize=9,
        )


def _look(place: int) -> tuple[str, str]:
    """Colour and marker of a run; with more runs than colours the pairs still differ."""
    return COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)]


def _abreast(names: Sequence[str]) -> int:
    """How many names of a legend stand side by side, about 0.085 inches a letter and 0.6 for the sign."""
    inches = [len(name) * 0.085 + 0.6 for name in names]
    if sum(inches) <= WIDTH:
        return max(1, len(names))
    return max(1, int(WIDTH / max(inches)))


def _sign(place: int, name: str) -> "Line2D":
    from matplotlib.lines import Line2D

    colour, marker = _look(place)
    return Line2D([], [], color=colour, marker=marker, markersize=7, markeredgecolor="white", linewidth=2.2, label=name)
