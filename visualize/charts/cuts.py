"""A body cut open: consecutive layers along one axis, side by side, each with its position."""

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from visualize.arguments import as_columns, as_whole, check_word
from visualize.charts.figure import INK, QUIET, colour_bar, literal, new_figure
from visualize.charts.flat import VIEW_ALONG, View, cut, draw_page, label_cells, over
from visualize.fields import as_field, colour_map, limits
from visualize.frames import FloatArray, as_frame, occupied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

WIDTH = 9.2  # inches
LARGEST_CELL = 0.2  # inches
MOST = 16  # cuts unless more are asked for
TALLEST, LEAST = 4.5, 0.62  # inches: of one cut, and from one to the next for the words above
LEFT, BOTTOM, GAP, HEAD, BAR = 0.6, 0.55, 0.14, 0.26, 0.75  # inches


def cuts(
    rgba: ArrayLike,
    axis: Literal["x", "y", "z"] = "z",
    *,
    count: int | None = None,
    values: ArrayLike | None = None,
    label: str = "value",
    columns: int | None = None,
    title: str | None = None,
) -> "Figure":
    """A Figure of consecutive cuts through a body, from low to high positions along an axis.

    Cuts across x are seen as from the side, across y as from the front, across z as from the top.

    Args:
        rgba: (D,H,W,4), straight RGBA 0..1 (or uint8).
        axis: the axis that the cuts stand across.
        count: how many, spread over the body; default every layer of the body, every second one if there are more than 16, …
        values: (D,H,W) numbers to show instead of colours, with a colour bar.
        label: what the values are.
        columns: cuts in a row; default rows of equal length.
        title: a line above.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    frame = as_frame(rgba, "cuts")
    check_word(axis, sorted(VIEW_ALONG), "cuts", "axis")
    view = VIEW_ALONG[axis]
    layers = frame.shape[view.along]
    if count is not None:
        count = as_whole(count, "cuts", "count", 1, layers, f"1..{layers}, the layers along {axis}")
    columns = as_columns(columns, "cuts")
    field = as_field(values, frame.shape[:3], 3, "cuts") if values is not None else None
    positions = _positions(frame, view, count)
    shape = cut(frame, view, 0).shape[:2]
    figure, cells, corner, bar = _grid(len(positions), shape, columns, title, field is not None)
    mesh: ScalarMappable | None = None
    for axes, at in zip(cells, positions, strict=True):
        layer = cut(frame, view, at)
        mask = np.asarray(layer[..., 3] > 0.1)
        if field is None:
            draw_page(axes, over(layer), mask)
        else:
            low, high = limits(field)
            mesh = draw_page(axes, cut(field, view, at), mask, edge="#9a9a9a", cmap=colour_map(), vmin=low, vmax=high)
        axes.set_title(f"{axis} = {at}", color=QUIET, fontsize=10, pad=3)
        first = axes is corner
        label_cells(axes, view, max(shape), across=first, upward=first)
    if mesh is not None and bar is not None:
        colour_bar(mesh, bar, label)
    literal(figure)
    return figure


def _positions(frame: FloatArray, view: View, count: int | None) -> list[int]:
    """Layers from the body's first to its last; through the whole lattice if there is no body or more are asked for."""
    layers = frame.shape[view.along]
    filled = np.flatnonzero(np.moveaxis(occupied(frame), view.along, 0).any(axis=(1, 2)))
    low, high = (int(filled[0]), int(filled[-1])) if filled.size else (0, layers - 1)
    if count is None:
        return list(range(low, high + 1, -(-(high - low + 1) // MOST)))
    if count > high - low + 1:
        low, high = 0, layers - 1
    return [int(at) for at in np.linspace(low, high, count).round()] if count > 1 else [(low + high) // 2]


def _grid(
    count: int, shape: tuple[int, int], columns: int | None, title: str | None, bar: bool
) -> "tuple[Figure, list[Axes], Axes, Axes | None]":
    """A Figure, its axes in rows, all of one scale, those in the lower left corner, and axes for a colour bar."""
    rows, width = shape
    side = BAR if bar else 0.0
    room = WIDTH - LEFT - 0.15 - side
    most = max(int((room + GAP) / max(min(LARGEST_CELL, 1.6 / max(shape)) * width + GAP, LEAST)), 1)
    across = min(columns or -(-count // -(-count // most)), count)
    down = -(-count // across)
    scale = min(((room + GAP) / across - GAP) / width, LARGEST_CELL * max(1.0, 8 / max(shape)), TALLEST / rows)
    w, h = scale * width, scale * rows
    pitch, block = max(w + GAP, LEAST), h + HEAD + GAP
    tall = max(down * block - GAP, 1.0 if bar else 0.0)
    inches = (LEFT + across * pitch + 0.05 + side, BOTTOM + tall + (0.42 if title else 0.05))
    figure = new_figure(*inches)
    figure.set_layout_engine("none")
    if title:
        figure.text(0.5, 1 - 0.26 / inches[1], title, ha="center", color=INK, fontsize=13)
    cells = []
    for index in range(count):
        row, column = divmod(index, across)
        x, y = LEFT + column * pitch, BOTTOM + (down - 1 - row) * block
        cells.append(figure.add_axes((x / inches[0], y / inches[1], w / inches[0], h / inches[1])))
    corner = cells[(down - 1) * across]
    if not bar:
        return figure, cells, corner, None
    place = ((inches[0] - side + 0.05) / inches[0], BOTTOM / inches[1], 0.12 / inches[0], min(tall - 0.1, 3.0) / inches[1])
    return figure, cells, corner, figure.add_axes(place)
