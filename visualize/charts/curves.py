"""Numbers over time: how training went, and how well a body holds and heals."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.charts.figure import COLOURS, INK, QUIET, literal, new_figure, quiet, written
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Series = tuple[NDArray[np.float64], NDArray[np.float64]]
DAMAGE_COLOUR = COLOURS[1]
WIDTH, LEGEND_ROW = 9.2, 0.19  # inches


def curves(metrics: Sequence[Mapping[str, Any]], *, x: str = "iteration", title: str | None = None) -> "Figure":
    """A Figure of a training run: every loss (log scale) and every IoU, raw as a thin line and smoothed.

    Args:
        metrics: one mapping for each record; keys that begin with "loss" and keys with "iou" in them are drawn.
            Missing keys and values that aren't finite numbers are left out.
        x: the key of the horizontal axis; records without it count on from the one before.
        title: a line above.
    """
    figure = new_figure(WIDTH, 3.5)
    left, right = figure.subplots(1, 2)
    names = sorted({key for record in metrics for key in record})
    losses = [name for name in names if name.startswith("loss")]
    ious = [name for name in names if "iou" in name]
    above = [_panel(left, metrics, x, losses, "loss", 2), _panel(right, metrics, x, ious, "IoU with the target", 2)]
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(above))
    if left.lines:
        left.set_yscale("log")
    right.set_ylim(0, 1.02)
    if title:
        figure.suptitle(title, color=INK, fontsize=13)
    literal(figure)
    return figure


def logged(metrics: Sequence[Mapping[str, Any]], panels: Mapping[str, Sequence[str]], *, x: str = "iteration") -> "Figure":
    """A Figure of any figures of a training run, a panel for each group of them.

    Args:
        metrics: one mapping for each record; records without a key are left out of its line.
        panels: the label of each panel's axis, and the keys drawn in it.
        x: the key of the horizontal axis.
    """
    figure = new_figure(WIDTH, 3.2)
    count = max(1, len(panels))
    above = [
        _panel(axes, metrics, x, names, label, count)
        for axes, (label, names) in zip(figure.subplots(1, count, squeeze=False)[0], panels.items(), strict=True)
    ]
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * max(above, default=0))
    literal(figure)
    return figure


def timeline(
    steps: ArrayLike,
    iou: ArrayLike,
    *,
    marks: Mapping[int, str] | None = None,
    bands: Mapping[str, tuple[float, float]] | None = None,
    goal: float | None = None,
    title: str | None = None,
    label: str | None = None,
    colour: int = 0,
    axes: "Axes | None" = None,
) -> "Figure":
    """A Figure of IoU against steps: growth, hold, cut, healing.

    Args:
        steps: (T,) absolute steps.
        iou: (T,) or (T,B); of several bodies the median is drawn, with a band from the worst to the best.
        marks: {step: word}, upright lines such as {96: "cut"}.
        bands: {word: (first step, last step)}, spans shaded in turn.
        goal: a level drawn across.
        title: a line above.
        label: the line's name, shown in a legend.
        colour: which of the colours in `visualize.figure` the line takes.
        axes: draw here, over what is there, instead of in a new Figure; its Figure is returned.

    Raises:
        ValueError: steps and iou don't belong together.
    """
    at, values = np.asarray(steps, float), np.asarray(iou, float)
    if at.ndim != 1 or values.ndim not in (1, 2) or len(values) != len(at) or values.size == 0:
        raise ArgumentError("timeline", "iou", f"{values.shape} for steps {at.shape}", "(T,) or (T,B) for (T,)")
    before = [] if axes is None else written(axes)
    if axes is None:
        axes = new_figure(9.2, 3.0).subplots()
    figure = axes.get_figure(root=True)
    assert figure is not None, "the axes given have been removed from their Figure"
    quiet(axes)
    shade = COLOURS[colour % len(COLOURS)]
    for index, (word, (first, last)) in enumerate((bands or {}).items()):
        axes.axvspan(first, last, color=COLOURS[index % len(COLOURS)], alpha=0.06, linewidth=0)
        axes.text((first + last) / 2, 1.04, word, ha="center", va="bottom", color=QUIET, fontsize=9)
    if values.ndim == 2:
        axes.fill_between(at, values.min(axis=1), values.max(axis=1), color=shade, alpha=0.18, linewidth=0)
        values = np.median(values, axis=1)
    if goal is not None:
        axes.axhline(goal, color=QUIET, linewidth=0.9, linestyle=(0, (5, 4)))
        axes.text(1.0, goal, f" {goal:g}", transform=axes.get_yaxis_transform(), va="center", color=QUIET, fontsize=9)
    axes.plot(at, values, color=shade, linewidth=2, marker="o" if len(at) == 1 else None, label=label)
    for step, word in (marks or {}).items():
        axes.axvline(step, color=DAMAGE_COLOUR, linewidth=1.2)
        axes.annotate(word, (step, 0.06), xytext=(4, 0), textcoords="offset points", color=DAMAGE_COLOUR, fontsize=9)
    axes.set_ylim(0, 1.02)
    axes.margins(x=0.01)
    axes.set_xlabel("step")
    axes.set_ylabel("IoU with the target")
    if label:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    if title:
        axes.set_title(title, color=INK, fontsize=11, loc="left", pad=20 if bands else 8)
    literal(axes, but=before)
    return figure


def _panel(axes: "Axes", metrics: Sequence[Mapping[str, Any]], x: str, names: Sequence[str], label: str, count: int) -> int:
    """Draws one of `count` panels; returns the rows of the legend above it, which no curve runs through."""
    quiet(axes)
    axes.set_xlabel(x)
    axes.set_ylabel(label)
    words: list[str] = []
    for name in names:
        at, values = _series(metrics, x, name, positive=label == "loss")
        if not len(at):
            continue
        colour = COLOURS[len(words) % len(COLOURS)]
        words.append(name.replace("_", " "))
        smooth = _smoothed(values)
        raw = len(values) > 8
        if raw:
            axes.plot(at, values, color=colour, linewidth=0.6, alpha=0.35)
        marker = None if raw else "o"
        axes.plot(at, smooth, color=colour, linewidth=1.9, label=words[-1], marker=marker, markersize=4)
    if not words:
        axes.text(0.5, 0.5, f"no {label} recorded", transform=axes.transAxes, ha="center", color=QUIET)
    if len(words) < 2:
        return 0
    across = max(1, int((WIDTH / count - 0.6) / (0.065 * max(map(len, words)) + 0.46)))  # inches of axes; letters, sign
    axes.legend(
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        ncols=across,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        columnspacing=1.4,
        handlelength=1.6,
    )
    return -(-len(words) // across)


def _series(metrics: Sequence[Mapping[str, Any]], x: str, name: str, *, positive: bool) -> Series:
    """Positions and values of one key, where both are finite numbers (above zero for a log scale)."""
    at, values, position = [], [], -1.0
    for record in metrics:
        position = _number(record.get(x), position + 1)
        value = _number(record.get(name), float("nan"))
        if np.isfinite(value) and (value > 0 or not positive):
            at.append(position)
            values.append(value)
    return np.array(at), np.array(values)


def _number(value: Any, otherwise: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return otherwise
    return number if np.isfinite(number) else otherwise


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Running median over about a thirtieth of the records, then a mean: spikes don't bend the line."""
    half = len(values) // 60
    for reduce in (np.median, np.mean) if half else ():
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, half, mode="reflect"), 2 * half + 1)
        values = reduce(windows, axis=1)
    return values
