"""Several that were asked the same: a line for each group of questions, on it a dot with an interval for each of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.arguments import quoted
from visualize.charts.costs import MARKERS
from visualize.charts.figure import COLOURS, FAINT, INK, heading, literal, new_figure, quiet
from visualize.charts.measured import mark_missing, number, shown
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Dot = tuple[float | None, float | None, float | None]
WIDTH, ROW = 7.2, 0.27  # inches
APART = 0.2  # of a row, between the dots of two series
SHORT = 6  # letters of a name that fits above its column of numbers


def grouped_dot_plot(
    rows: Sequence[tuple[str, Mapping[str, Dot]]],
    *,
    headings: Mapping[int, str] | None = None,
    reference: float | None = None,
    reference_name: str = "chance",
    label: str,
    limits: tuple[float, float] = (0.0, 1.0),
    title: str | None = None,
) -> "Figure":
    """A Figure with a line for each row; in it a dot for each series, a stroke over its interval, the numbers at the right.

    Args:
        rows: (name, {series: (value, low, high)}); None or NaN where not measured.
        headings: {index of a row: words in bold above it}.
        reference: a level drawn from top to bottom.
        reference_name: what it is.
        label: what the horizontal axis says, with its unit.
        limits: of the horizontal axis.
        title: a line above.

    Raises:
        ValueError: a value that isn't one number, limits that don't rise, or more than six series.
    """
    names = list(dict.fromkeys(name for _, dots in rows for name in dots))
    if len(names) > len(MARKERS):
        raise ArgumentError("grouped_dot_plot", "rows", f"{len(names)} series", f"at most {len(MARKERS)}")
    if not limits[0] < limits[1]:
        raise ArgumentError("grouped_dot_plot", "limits", quoted(limits), "(low, high), low below high")
    lines = _lines(rows, headings or {})
    figure = new_figure(WIDTH, ROW * max(len(lines), 3) + 1.15 + (0.3 if title else 0))
    axes = figure.subplots()
    quiet(axes)
    axes.grid(visible=False)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xlim(*limits)
    axes.set_ylim(max(len(lines), 1) - 0.4, -0.6)
    axes.set_xlabel(label, color=INK, fontsize=10)
    axes.set_yticks(range(len(lines)), [name for name, _ in lines])
    for tick, (_, dots) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set(color=INK, fontsize=10, fontweight="normal" if dots is not None else "bold")
    if reference is not None:
        axes.axvline(reference, color=INK, linewidth=0.9, linestyle=(0, (5, 3)), gid="reference")
    for place, (name, dots) in enumerate(lines):
        _row(axes, place, name, dots, names)
    for index, name in enumerate(names if max(map(len, names), default=0) <= SHORT else ()):
        _at_the_right(axes, -0.85, index, name, fontsize=9)
    if not rows:
        mark_missing(axes, alone=True)
    _key(figure, names, reference, reference_name, title)
    literal(figure)
    return figure


def _lines(
    rows: Sequence[tuple[str, Mapping[str, Dot]]], headings: Mapping[int, str]
) -> list[tuple[str, Mapping[str, Dot] | None]]:
    """What stands on the vertical axis, from the top: headings, that have no dots, and rows."""
    lines: list[tuple[str, Mapping[str, Dot] | None]] = []
    for index, row in enumerate(rows):
        if index in headings:
            lines.append((headings[index], None))
        lines.append(row)
    return lines


def _row(axes: "Axes", place: int, row: str, dots: Mapping[str, Dot] | None, names: Sequence[str]) -> None:
    if dots is None:
        return
    axes.axhline(place, color=FAINT, linewidth=0.6, zorder=0.5)
    for index, name in enumerate(names):
        value, low, high = (number(part, f"grouped_dot_plot: {row}: {name}") for part in dots.get(name, (None, None, None)))
        aside = place + (index - (len(names) - 1) / 2) * APART
        axes.hlines(aside, low, high, color=COLOURS[index], linewidth=2, alpha=0.5, gid="interval")
        axes.plot(value, aside, label=name, zorder=3, **_look(index))
        _at_the_right(axes, place, index, shown(value), fontsize=9.5)


def _at_the_right(axes: "Axes", place: float, index: int, words: str, **options: Any) -> None:
    """Words beside the axes, in the column of a series."""
    axes.annotate(
        words,
        (1, place),
        xycoords=axes.get_yaxis_transform(),
        xytext=(34 * index + 36, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        color=COLOURS[index],
        annotation_clip=False,
        **options,
    )


def _look(index: int) -> dict[str, Any]:
    """The first series is filled, all others are hollow: told apart without colours too."""
    colour = COLOURS[index]
    return {
        "color": colour,
        "marker": MARKERS[index],
        "markersize": 6.5,
        "linestyle": "none",
        "markeredgewidth": 1.5,
        "markeredgecolor": colour,
        "markerfacecolor": colour if index == 0 else "white",
        "clip_on": False,
    }


def _key(figure: "Figure", names: Sequence[str], reference: float | None, reference_name: str, title: str | None) -> None:
    from matplotlib.lines import Line2D

    signs: list[Any] = [Line2D([], [], label=name, **_look(index)) for index, name in enumerate(names)]
    if reference is not None and np.isfinite(reference):
        words = f"{reference_name} {shown(float(reference))}"
        signs.append(Line2D([], [], color=INK, linewidth=0.9, linestyle=(0, (5, 3)), label=words))
    if signs or title:
        heading(figure, signs, title, len(signs), fontsize=10, columnspacing=1.6, handlelength=1.6)
