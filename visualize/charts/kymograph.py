"""A trajectory in one picture: time across, a body's axis upward, and in each cell of it what the body held there."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visualize.arguments import as_words, quoted
from visualize.charts.figure import COLOURS, INK, QUIET, colour_bar, literal, new_figure
from visualize.charts.flat import BORDER, cell_ticks
from visualize.clock import Damage, as_marks, as_steps
from visualize.errors import ArgumentError
from visualize.fields import as_field, colour_map, limits
from visualize.frames import FloatArray, as_frames, occupied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Show = Literal["auto", "colour", "count", "maximum", "mean"]
SHOWS = {5: ("colour", "count"), 4: ("maximum", "mean")}  # by the number of axes of what is given; the first is the default
AXIS = {"z": 1, "y": 2, "x": 3}
WIDTH, LARGEST_CELL, TALLEST = 9.2, 0.16, 3.2  # inches: of the Figure, of a cell upward, of one axis's band


def kymograph(
    frames: ArrayLike,
    axis: str | Sequence[str] = "z",
    *,
    show: Show = "auto",
    steps: Sequence[int] | None = None,
    damage_at: Damage | None = None,
    label: str = "value",
    title: str | None = None,
) -> "Figure":
    """A Figure of time (across) by position along an axis (upward).

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8), or numbers (T,D,H,W), such as one channel.
        axis: "x", "y" or "z", or several of them, drawn one below the other on one time axis.
        show: of RGBA, "colour" (the mean colour of a layer's cells, as opaque as its most opaque cell) or "count" (its
            occupied cells, alpha above 0.1); of numbers, a layer's "maximum" or "mean". "auto" is the first of each.
        steps: (T,) steps of the frames, that don't fall; frames are counted without.
        damage_at: index of the first frame after damage, several of them, or {index: word}.
        label: what the numbers are, said by the colour bar.
        title: a line above.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    rank = _rank(frames)
    values = as_field(frames, None, 4, "kymograph", "frames") if rank == 4 else as_frames(frames, "kymograph")
    show = SHOWS[rank][0] if show == "auto" else show  # type: ignore[assignment]
    if show not in SHOWS[rank]:
        raise ArgumentError("kymograph", "show", quoted(show), f"auto, {', '.join(SHOWS[rank])} for {rank} axes")
    names = as_words(axis, sorted(AXIS), "kymograph", "axis")
    count = len(values)
    numbers = as_steps(steps, count, "kymograph")
    marks = as_marks(damage_at, count, "kymograph")
    edges = _edges(numbers, count)
    bands = {name: _along(values, AXIS[name], show) for name in names}
    words = {"count": "occupied cells", "maximum": f"highest {label}", "mean": f"mean {label}"}
    figure = _draw(bands, edges, words.get(show))
    lowest = figure.axes[len(names) - 1]
    lowest.set_xlabel("frame" if numbers is None else "time (steps)", color=INK, fontsize=9)
    if show == "colour":
        lowest.annotate(
            "mean colour of each layer",
            (1, 0),
            xycoords="axes fraction",
            xytext=(0, -22),
            textcoords="offset points",
            ha="right",
            va="top",
            color=QUIET,
            fontsize=8,
        )
    _mark(figure.axes[: len(names)], edges, marks)
    if title:
        figure.suptitle(title, color=INK, fontsize=13)
    literal(figure)
    return figure


def _rank(frames: ArrayLike) -> int:
    try:
        return 4 if np.ndim(frames) == 4 else 5
    except ValueError:  # ragged: refused by what reads them
        return 5


def _edges(steps: Sequence[int] | None, count: int) -> NDArray[np.float64]:
    """(T+1,) where each frame's column begins and ends: half-way to its neighbours; a repeated step shares its room."""
    at = np.arange(count, dtype=float) if steps is None else np.asarray(steps, float)
    if (np.diff(at) < 0).any():
        raise ArgumentError("kymograph", "steps", "steps that fall", "steps that rise")
    times, counts = np.unique(at, return_counts=True)
    if len(times) == 1:
        return np.linspace(times[0] - 0.5, times[0] + 0.5, count + 1)
    between = (times[1:] + times[:-1]) / 2
    borders = np.concatenate([[2 * times[0] - between[0]], between, [2 * times[-1] - between[-1]]])
    shared = [np.linspace(low, high, n, endpoint=False) for low, high, n in zip(borders, borders[1:], counts, strict=False)]
    return np.concatenate([*shared, borders[-1:]])


def _along(values: FloatArray, axis: int, show: str) -> FloatArray:
    """(positions, T) numbers or (positions, T, 3) colours of the layers along an axis."""
    others = tuple(other for other in (1, 2, 3) if other != axis)
    if show == "colour":
        alpha = values[..., 3:]
        mean = (values[..., :3] * alpha).sum(axis=others) / np.maximum(alpha.sum(axis=others), 1e-6)
        opaque = alpha.max(axis=others)
        return np.clip(np.swapaxes(mean * opaque + 1 - opaque, 0, 1), 0, 1)
    if show == "count":
        return occupied(values).sum(axis=others).T.astype(np.float32)
    reduced = values.max(axis=others) if show == "maximum" else values.mean(axis=others)  # NaN stays NaN: it must be seen
    return np.asarray(reduced, np.float32).T


def _draw(bands: Mapping[str, FloatArray], edges: NDArray[np.float64], bar_label: str | None) -> "Figure":
    from matplotlib.ticker import MaxNLocator

    longest = max(len(band) for band in bands.values())
    cell = min(LARGEST_CELL, TALLEST / longest)
    heights = [max(cell * len(band), 0.6) for band in bands.values()]
    figure = new_figure(WIDTH, sum(heights) + 0.2 * len(heights) + 1.1)
    columns = [1.0, 0.014] if bar_label else [1.0]
    grid = figure.add_gridspec(len(bands), len(columns), width_ratios=columns, height_ratios=heights)
    low, high = limits(np.concatenate([band.ravel() for band in bands.values()]))
    mesh: ScalarMappable | None = None
    first: Axes | None = None
    for row, (name, band) in enumerate(bands.items()):
        axes = figure.add_subplot(grid[row, 0], sharex=first)
        first = first or axes
        options: dict[str, Any] = {"cmap": colour_map(), "vmin": low, "vmax": high} if bar_label else {}
        mesh = axes.pcolormesh(edges, np.arange(len(band) + 1), np.ma.masked_invalid(band), **options)
        axes.set_ylabel(f"{name} (cells)", color=INK, fontsize=9)
        axes.set_yticks(cell_ticks(len(band), longest))
        axes.tick_params(colors=QUIET, labelsize=8, length=2, labelbottom=row == len(bands) - 1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[:].set_color(BORDER)
    if bar_label and mesh is not None:
        colour_bar(mesh, figure.add_subplot(grid[:, 1]), bar_label)
    return figure


def _mark(bands: "Sequence[Axes]", edges: NDArray[np.float64], marks: Mapping[int, str]) -> None:
    """An upright line where a damaged frame's column begins, on white so that it is seen over any colour, and its word."""
    at_edge: dict[float, list[str]] = {}
    for frame, word in marks.items():
        at_edge.setdefault(float(edges[frame]), []).append(word)
    for height, (edge, words) in enumerate(sorted(at_edge.items())):
        for axes in bands:
            axes.axvline(edge, color="white", linewidth=3.2)
            axes.axvline(edge, color=COLOURS[1], linewidth=1.4)
        # Every second word stands higher, so that neighbours don't run into each other.
        bands[0].annotate(
            " · ".join(words),
            (edge, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4 + 12 * (height % 2)),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=COLOURS[1],
            fontsize=9,
        )
