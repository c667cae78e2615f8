"""A body seen flat, arranged as in an engineering drawing: the top above the front, the side beside it, one scale."""

from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from visualize.arguments import check_word
from visualize.charts.figure import INK, QUIET, colour_bar, literal, new_figure
from visualize.charts.flat import VIEW, View, brightest, composite, cut, draw_page, label_cells, over, silhouette
from visualize.errors import ArgumentError
from visualize.fields import as_field, colour_map, limits
from visualize.frames import FloatArray, as_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Mode = Literal["projection", "middle", "maximum"]
MODES = ("projection", "middle", "maximum")
WIDEST, TALLEST, LARGEST_CELL = 7.2, 6.4, 0.45  # inches for the drawings, and of one cell
CORNER = (1.9, 1.3)  # inches of the free corner at least, for its words
MARKS = ("#d55e00", "#0072b2", "#000000")  # told apart by all eyes (Okabe and Ito 2008)
LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9, "borderaxespad": 0.0, "handletextpad": 0.6}
LEFT, RIGHT, BOTTOM, GAP, HEAD = 0.65, 0.2, 0.6, 0.62, 0.35  # inches around and between them


def slices(
    rgba: ArrayLike,
    *,
    mode: Mode = "projection",
    values: ArrayLike | None = None,
    label: str | None = None,
    title: str | None = None,
    marks: Mapping[str, tuple[int, int, int]] | None = None,
) -> "Figure":
    """A Figure of one body from the top, the front and the side, as engineering drawings are laid out.

    The top stands above the front and shares its x, the side stands beside it and shares its z; all have one scale.
    A thin line runs around the occupied cells (alpha above 0.1).

    Args:
        rgba: (D,H,W,4), straight RGBA 0..1 (or uint8).
        mode: "projection" composites all cells along the line of sight; "middle" cuts the lattice in its middle;
            "maximum" shows the highest value along the line of sight, by a colour bar.
        values: (D,H,W) numbers to show instead of colours, for "middle" and "maximum"; default for the latter alpha.
        label: what the values are, said by the colour bar.
        title: a line above.
        marks: names of single cells (z,y,x), each with a ring in all three views, on top of what hides it.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    frame = as_frame(rgba, "slices")
    check_word(mode, MODES, "slices", "mode")
    if values is not None and mode == "projection":
        raise ArgumentError("slices", "mode", "'projection' with values", "middle, maximum")
    field = as_field(values, frame.shape[:3], 3, "slices") if values is not None else None
    if mode == "maximum" and field is None:
        field, label = frame[..., 3], label or "alpha"
    figure, panels, corner = _drawing_board(frame, title)
    mesh: ScalarMappable | None = None
    for name, axes in panels.items():
        view = VIEW[name]
        at = frame.shape[view.along] // 2
        mask = cut(frame, view, at)[..., 3] > 0.1 if mode == "middle" else silhouette(frame, view)
        if field is None:
            draw_page(axes, composite(frame, view) if mode == "projection" else over(cut(frame, view, at)), mask)
        else:
            page = brightest(field, view) if mode == "maximum" else cut(field, view, at)
            low, high = limits(field)
            mesh = draw_page(axes, page, mask, edge="#9a9a9a", cmap=colour_map(), vmin=low, vmax=high)
        if mode == "middle":
            _show_cuts(axes, view, frame)
        _ring(axes, view, marks or {})
        label_cells(axes, view, max(frame.shape[:3]))
        axes.set_title(name, color=INK, fontsize=11, loc="left")
    _explain(figure, corner, frame, mode, mesh, label or "value")
    if marks:
        # Of one panel: the rings of the others mean the same.
        panels["top"].legend(
            loc="upper left", bbox_to_anchor=_below(figure, corner), bbox_transform=figure.transFigure, **LEGEND
        )
    literal(figure)
    return figure


def _drawing_board(frame: FloatArray, title: str | None) -> "tuple[Figure, dict[str, Axes], tuple[float, ...]]":
    """A Figure, its three empty axes of one scale, and the free corner (left, bottom, width, height in inches)."""
    cells = frame.shape[:3]
    scale = min(WIDEST / (cells[2] + cells[1]), TALLEST / (cells[0] + cells[1]), LARGEST_CELL)
    # Letters don't shrink with a lattice of a few cells or a flat one: each panel keeps room for its own labels.
    d, h, w = (max(scale * count, 0.5) for count in cells)
    across, up = max(h, CORNER[0]), max(h, CORNER[1])
    inches = (LEFT + w + GAP + across + RIGHT, BOTTOM + d + GAP + HEAD + up + HEAD + (0.4 if title else 0.0))
    figure = new_figure(*inches)
    figure.set_layout_engine("none")
    if title:
        figure.text(0.5, 1 - 0.28 / inches[1], title, ha="center", color=INK, fontsize=13)
    upper, beside = BOTTOM + d + GAP + HEAD, LEFT + w + GAP
    places = {"top": (LEFT, upper + up - h, w, h), "front": (LEFT, BOTTOM, w, d), "side": (beside, BOTTOM, h, d)}
    panels = {
        name: figure.add_axes((x / inches[0], y / inches[1], width / inches[0], height / inches[1]))
        for name, (x, y, width, height) in places.items()
    }
    return figure, panels, (beside, upper, across, up)


def _ring(axes: "Axes", view: View, marks: Mapping[str, tuple[int, int, int]]) -> None:
    """A ring around each marked cell, dark on light: it is seen on cells of any colour."""
    for (name, cell), colour in zip(marks.items(), cycle(MARKS), strict=False):
        place = dict(zip("zyx", cell, strict=True))
        x, y = place[view.across] + 0.5, place[view.upward] + 0.5
        style: dict[str, Any] = {"linestyle": "none", "marker": "o", "markerfacecolor": "none", "clip_on": False, "zorder": 5}
        axes.plot([x], [y], markeredgecolor="white", markeredgewidth=5.0, markersize=11, **style)
        axes.plot([x], [y], markeredgecolor=colour, markeredgewidth=2.2, markersize=11, label=name, **style)


def _below(figure: "Figure", corner: tuple[float, ...]) -> tuple[float, float]:
    """Where the names of marks stand: in the free corner, below its words, as a share of the figure."""
    inches = np.asarray(figure.get_size_inches())
    left, bottom, _, up = corner
    return left / inches[0], (bottom + up - 0.8) / inches[1]


def _show_cuts(axes: "Axes", view: View, frame: FloatArray) -> None:
    """Dashed lines where the other two cuts go."""
    depth, height, width = frame.shape[:3]
    middle = {"x": width // 2 + 0.5, "y": height // 2 + 0.5, "z": depth // 2 + 0.5}
    style: dict[str, Any] = {"color": QUIET, "linewidth": 0.8, "linestyle": (0, (6, 4))}
    axes.axvline(middle[view.across], **style)
    axes.axhline(middle[view.upward], **style)


def _explain(
    figure: "Figure", corner: tuple[float, ...], frame: FloatArray, mode: str, mesh: "ScalarMappable | None", label: str
) -> None:
    """Says in the free corner how large the lattice is and what is shown, with the colour bar if there is one."""
    depth, height, width = frame.shape[:3]
    shown = {
        "projection": "all cells, seen through\nwhere they are transparent",
        "middle": f"cuts at x = {width // 2}, y = {height // 2},\nz = {depth // 2} (dashed)",
        "maximum": "highest value along\nthe line of sight",
    }[mode]
    left, bottom, across, up = corner
    inches = np.asarray(figure.get_size_inches())
    words = f"{width} × {height} × {depth} cells\n{shown}"
    figure.text(left / inches[0], (bottom + up) / inches[1], words, va="top", color=QUIET, fontsize=9, linespacing=1.5)
    if mesh is not None:
        place = (left / inches[0], (bottom + 0.42) / inches[1], 0.75 * across / inches[0], 0.1 / inches[1])
        colour_bar(mesh, figure.add_axes(place), label, horizontal=True)
