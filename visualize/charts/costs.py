"""What computing costs: small panels of lines on logarithmic axes, one legend for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from visualize.charts.figure import COLOURS, INK, QUIET, heading, literal, new_figure, quiet
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Args:
        title: a line above.
        x, y: what the axes say, with units.
        lines: name → (x values, y values), all above 0.
        ticks: {x value: word} instead of powers of ten.
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    ticks: Mapping[float, str] = field(default_factory=dict)


def costs(panels: Sequence[Sequence[Panel]], *, title: str | None = None, baseline: str | None = None) -> "Figure":
    """A Figure of panels, row by row; a name has one colour and one marker in all of them.

    Args:
        panels: rows of equally many panels; a row shares its vertical scale.
        title: a line above all.
        baseline: the name that others are compared with: drawn grey and dashed.

    Raises:
        ValueError: no panels, or rows of unequal length.
    """
    if not panels or not panels[0] or len({len(row) for row in panels}) > 1:
        raise ArgumentError("costs", "panels", f"rows of {[len(row) for row in panels]}", "equally many, at least one")
    names = list(dict.fromkeys(name for row in panels for panel in row for name in panel.lines))
    looks = _looks(names, baseline)
    figure = new_figure(5.0 * len(panels[0]), 3.3 * len(panels) + 0.6)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    grid = figure.subplots(len(panels), len(panels[0]), squeeze=False, sharey="row")
    for row, axes_row in zip(panels, grid, strict=True):
        for panel, axes in zip(row, axes_row, strict=True):
            _draw(axes, panel, looks)
    handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    shown = [name for name in names if name in handles]
    heading(figure, [handles[name] for name in shown], title, min(6, len(shown)), fontsize=10)
    literal(figure)
    return figure


def _looks(names: Sequence[str], baseline: str | None) -> dict[str, dict[str, object]]:
    looks: dict[str, dict[str, object]] = {}
    for place, name in enumerate(name for name in names if name != baseline):
        marker = MARKERS[place % len(MARKERS)]
        looks[name] = {"color": COLOURS[place % len(COLOURS)], "marker": marker, "linewidth": 2, "markersize": 5.5}
    if baseline is not None:
        looks[baseline] = {"color": QUIET, "marker": "x", "linewidth": 2, "markersize": 6, "linestyle": (0, (4, 2))}
    return looks


def _draw(axes: "Axes", panel: Panel, looks: Mapping[str, dict[str, object]]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    for name, (x, y) in panel.lines.items():
        axes.plot(x, y, label=name, **looks[name])  # type: ignore[arg-type]
    axes.set_title(panel.title, color=INK, fontsize=11, loc="left")
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
    quiet(axes)
    axes.tick_params(axis="y", labelleft=True)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), list(panel.ticks.values()))
        axes.set_xticks([], minor=True)
    if not panel.lines:
        axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", color=QUIET)
