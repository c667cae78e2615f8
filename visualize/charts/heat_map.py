"""A table as colours and numbers: damages against severities, and which of them miss the goal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from visualize.charts.figure import COLOURS, INK, QUIET, literal, new_figure
from visualize.charts.measured import NOT_MEASURED, Numbers, mark_missing, numbers, shown
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

COLOUR_MAP = "cividis"  # one lightness order for every kind of colour vision and in grey print
MISSED = COLOURS[1]
BLANK = "#f2f2f2"
WIDTH = 9.2


def heat_map(
    values: ArrayLike | None,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str | None = None,
    label: str = "recovered fraction",
    limits: tuple[float, float] = (0.0, 1.0),
    goal: float | None = None,
    x_label: str = "severity (fraction of the body's cells)",
    y_label: str = "damage",
) -> "Figure":
    """A Figure of a table: a colour and a number in each cell, an outline around cells below a goal.

    Args:
        values: (R,C) numbers; None or NaN where not measured, printed as a dash.
        rows: (R,) words, the first on top.
        columns: (C,) words.
        title: a line above.
        label: what the numbers are, said by the colour bar.
        limits: the values at both ends of the colours; beyond them the end's colour is kept.
        goal: cells below it are outlined and printed bold.
        x_label: what the columns are.
        y_label: what the rows are.

    Raises:
        ValueError: values don't have a row and a column for each word, or limits that don't rise.
    """
    table = numbers(values, "heat_map: values")
    shape = (len(rows), len(columns))
    if table.size == 0 and 0 in (*shape, *table.shape):
        table = np.full(shape, np.nan)
    if table.shape != shape:
        raise ArgumentError("heat_map", "values", table.shape, f"{shape}: a row and a column for each word")
    if not limits[0] < limits[1]:
        raise ArgumentError("heat_map", "limits", limits, "(lower, upper) that rises")
    figure = new_figure(WIDTH, 0.34 * max(len(rows), 3) + 1.5)
    axes = figure.subplots()
    if table.size:
        _print(axes, table, _paint(axes, table, label, limits), goal)
    _words(axes, rows, columns)
    if not table.size:
        mark_missing(axes, alone=True)
    axes.set_xlabel(x_label, color=INK, fontsize=10)
    axes.set_ylabel(y_label, color=INK, fontsize=10)
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left", pad=8)
    _key(figure, table, goal)
    literal(figure)
    return figure


def _paint(axes: "Axes", table: Numbers, label: str, limits: tuple[float, float]) -> "ScalarMappable":
    axes.set_facecolor(BLANK)
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(table), cmap=COLOUR_MAP, vmin=limits[0], vmax=limits[1], edgecolors="white", linewidth=2
    )
    axes.invert_yaxis()
    known = table[np.isfinite(table)]
    beyond = (bool((known < limits[0]).any()), bool((known > limits[1]).any()))
    ends = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[beyond]
    figure = axes.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(mesh, ax=axes, extend=ends, aspect=28, pad=0.015)
    bar.set_label(label, color=INK, fontsize=10)
    bar.ax.tick_params(colors=QUIET, labelsize=9, length=0)
    bar.outline.set_visible(False)
    return mesh


def _print(axes: "Axes", table: Numbers, mesh: "ScalarMappable", goal: float | None) -> None:
    from matplotlib.patches import Rectangle

    size = 9.0 if table.shape[1] <= 12 else max(5.5, 108 / table.shape[1])
    for (row, column), value in np.ndenumerate(table):
        missing, missed = not np.isfinite(value), goal is not None and value < goal
        colour = QUIET if missing else _readable_on(mesh.to_rgba(np.array([value]))[0])
        axes.text(
            column + 0.5,
            row + 0.5,
            shown(value, goal),
            ha="center",
            va="center",
            fontsize=size,
            color=colour,
            fontweight="bold" if missed else "normal",
        )
        if missed:  # inside the cell, so that neighbours keep outlines of their own
            axes.add_patch(Rectangle((column + 0.03, row + 0.09), 0.94, 0.82, fill=False, edgecolor=MISSED, linewidth=2))


def _readable_on(colour: object) -> str:
    """Black or white, whichever stands out more by the contrast ratio of WCAG 2: never under 4.5 to 1."""
    channels = np.asarray(colour, float)[:3]
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"


def _words(axes: "Axes", rows: Sequence[str], columns: Sequence[str]) -> None:
    room = 7.0 / max(len(columns), 1)  # inches for one column's word, about 0.075 a letter
    slanted = max((len(str(word)) for word in columns), default=0) * 0.075 > room
    axes.set_xticks(
        np.arange(len(columns)) + 0.5,
        [str(word) for word in columns],
        rotation=35 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, [str(word) for word in rows])
    axes.tick_params(colors=INK, labelsize=9, length=0)
    axes.spines[:].set_visible(False)


def _key(figure: "Figure", table: Numbers, goal: float | None) -> None:
    from matplotlib.patches import Patch

    signs = []
    if goal is not None and (table < goal).any():
        signs.append(Patch(facecolor="none", edgecolor=MISSED, linewidth=2, label=f"below {goal:g}"))
    if table.size and not np.isfinite(table).all():
        signs.append(Patch(facecolor=BLANK, edgecolor=BLANK, label=f"— {NOT_MEASURED}"))
    if signs:
        figure.legend(handles=signs, loc="outside lower right", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
