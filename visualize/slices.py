"""A body seen flat: from the front, the side and the top, as drawings have it, by alpha compositing or as cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from visualize.figure import INK, QUIET, new_figure
from visualize.frames import FloatArray, as_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class View(NamedTuple):
    """One flat view: the array axis looked along (nearest cell first or last) and the axes of the page."""

    name: str
    along: int
    nearest_first: bool
    across: str
    upward: str


# x runs along W, y along H, z along D and up: the front is seen along +y, the side along -x, the top along -z.
VIEWS = (
    View("front", 1, True, "x", "z"),
    View("side", 2, False, "y", "z"),
    View("top", 0, False, "x", "y"),
)


def slices(rgba: ArrayLike, *, mode: Literal["projection", "middle"] = "projection", title: str | None = None) -> Figure:
    """A Figure of one body from the front, the side and the top, with the axes x, y and z labelled.

    Args:
        rgba: (D,H,W,4), straight RGBA 0..1 (or uint8).
        mode: "projection" composites all cells along the line of sight; "middle" cuts the lattice in its middle.
        title: a line above.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    frame = as_frame(rgba, "slices")
    if mode not in ("projection", "middle"):
        raise ValueError(f"slices: mode: found {mode!r}, allowed projection, middle")
    depth, height, width = frame.shape[:3]
    widths = [width, height, width]
    scale = 9.0 / sum(widths)
    figure = new_figure(10.2, max(depth, height) * scale + (1.3 if title else 0.9))
    cells = figure.subplots(1, 3, width_ratios=widths)
    for axes, view in zip(cells, VIEWS, strict=True):
        plane = _composite(frame, view) if mode == "projection" else _middle(frame, view)
        _draw(axes, plane, view)
        axes.set_anchor("S")  # all three stand on one line
    if title:
        figure.suptitle(title, color=INK, fontsize=13)
    return figure


def _composite(frame: FloatArray, view: View) -> FloatArray:
    """The page (rows up, columns across, 3) that an eye far away sees, on white, nearest cell over farther ones."""
    layers = np.moveaxis(frame, view.along, 0)
    farthest_first = layers[::-1] if view.nearest_first else layers
    page = np.ones((*layers.shape[1:3], 3), np.float32)
    for layer in farthest_first:
        page = layer[..., :3] * layer[..., 3:] + page * (1 - layer[..., 3:])
    return page


def _middle(frame: FloatArray, view: View) -> FloatArray:
    layer = np.take(frame, frame.shape[view.along] // 2, axis=view.along)
    return np.asarray(layer[..., :3] * layer[..., 3:] + (1 - layer[..., 3:]), np.float32)


def _draw(axes: Axes, page: FloatArray, view: View) -> None:
    axes.imshow(page, origin="lower", interpolation="nearest", extent=(0, page.shape[1], 0, page.shape[0]))
    axes.set_title(view.name, color=INK, fontsize=11)
    axes.set_xlabel(view.across, color=QUIET)
    axes.set_ylabel(view.upward, color=QUIET, rotation=0)
    for axis, length in ((axes.xaxis, page.shape[1]), (axes.yaxis, page.shape[0])):
        axis.set_ticks([0, length])
    axes.tick_params(colors=QUIET, labelsize=8, length=2)
    axes.spines[:].set_color("#c8c8c8")
    axes.spines[:].set_linewidth(0.8)
