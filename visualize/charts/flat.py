"""Flat views as drawings have them: front, side and top pages of a body, and how a page is drawn on axes."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visualize.charts.figure import INK, QUIET
from visualize.frames import BoolArray, FloatArray, occupied

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

BORDER = "#c8c8c8"
EDGE = "#4a4a4a"  # around bodies: white cells must be seen on white paper


class View(NamedTuple):
    """One flat view: the array axis looked along (nearest cell first or last) and the axes of the page."""

    name: str
    along: int
    nearest_first: bool
    across: str
    upward: str

    @property
    def axis(self) -> str:
        """The letter of the axis looked along."""
        return "zyx"[self.along]


# x runs along W, y along H, z along D and up: the front is seen along +y, the side along -x, the top along -z.
VIEWS = (
    View("front", 1, True, "x", "z"),
    View("side", 2, False, "y", "z"),
    View("top", 0, False, "x", "y"),
)
VIEW = {view.name: view for view in VIEWS}
VIEW_ALONG = {view.axis: view for view in VIEWS}


def composite(frame: FloatArray, view: View) -> FloatArray:
    """The page (rows up, columns across, 3) that an eye far away sees, on white, nearest cell over farther ones."""
    layers = np.moveaxis(frame, view.along, 0)
    page = np.ones((*layers.shape[1:3], 3), np.float32)
    for layer in layers[::-1] if view.nearest_first else layers:  # the farthest first
        page = over(layer, page)
    return page


def over(layer: FloatArray, page: FloatArray | float = 1.0) -> FloatArray:
    """A layer (rows, columns, 4) laid over a page, white without one."""
    return np.asarray(layer[..., :3] * layer[..., 3:] + page * (1 - layer[..., 3:]), np.float32)


def cut(values: FloatArray, view: View, at: int) -> FloatArray:
    """The layer (rows, columns, …) at a position along a view's axis: a cut through the body (D,H,W,…)."""
    return np.asarray(np.take(values, at, axis=view.along))


def silhouette(frame: FloatArray, view: View) -> BoolArray:
    """Where the page (rows, columns) of a view shows any occupied cell of a frame (D,H,W,4)."""
    return np.asarray(occupied(frame).any(axis=view.along))


def brightest(field: FloatArray, view: View) -> FloatArray:
    """The highest value (rows up, columns across) along a view's line of sight; NaN where one of them is NaN.

    A diverged cell must be seen, so NaN isn't passed over.
    """
    return np.asarray(field.max(axis=view.along))


def draw_page(
    axes: "Axes",
    page: NDArray[Any],
    mask: BoolArray | None = None,
    edge: str = EDGE,
    cmap: "Colormap | None" = None,
    vmin: float | None = None,
    vmax: float | None = None,
) -> "AxesImage":
    """Puts a page on axes in units of cells, cell i from i to i+1, with a line around the body if its mask is given.

    Args:
        axes: where.
        page: numbers (rows, columns), or colours (rows, columns, 3 or 4).
        mask: the body, bool (rows, columns).
        edge: the colour of the line around it.
        cmap: the colours of numbers.
        vmin: the number at the lower end of the colours.
        vmax: the number at the upper end.
    """
    height, width = page.shape[:2]
    image = axes.imshow(
        page, origin="lower", interpolation="nearest", extent=(0, width, 0, height), cmap=cmap, vmin=vmin, vmax=vmax
    )
    if mask is not None:
        _outline(axes, mask, edge)
    axes.spines[:].set_color(BORDER)
    axes.spines[:].set_linewidth(0.8)
    return image


def _outline(axes: "Axes", mask: BoolArray, colour: str) -> None:
    """A thin line between the cells of a mask and all others."""
    from matplotlib.collections import LineCollection

    inside = np.pad(mask, 1)
    upright, level = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    lines = [((column, start - 1), (column, stop - 1)) for column, start, stop in _runs(upright.T)]
    lines += [((start - 1, row), (stop - 1, row)) for row, start, stop in _runs(level)]
    axes.add_collection(LineCollection(lines, colors=colour, linewidths=0.9, capstyle="projecting"), autolim=False)


def _runs(edges: BoolArray) -> list[tuple[int, int, int]]:
    """(line, start, stop) of each unbroken run of True: one long line is crisper than many short ones."""
    turns = np.argwhere(np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1))
    return [(int(line), int(start), int(stop)) for (line, start), (_, stop) in zip(turns[::2], turns[1::2], strict=True)]


def label_cells(axes: "Axes", view: View, longest: int, *, across: bool = True, upward: bool = True) -> None:
    """Ticks in cells, and the names of the page's axes with their unit, where they are wanted.

    `longest` is the longest side of all pages of one scale: it sets the distance of ticks on all of them.
    """
    for wanted, axis, name in ((across, axes.xaxis, view.across), (upward, axes.yaxis, view.upward)):
        _, high = axes.get_xlim() if axis is axes.xaxis else axes.get_ylim()
        axis.set_ticks(cell_ticks(round(high), longest) if wanted else [])
        if wanted:
            axis.set_label_text(f"{name} (cells)", color=INK, fontsize=9)
    axes.tick_params(colors=QUIET, labelsize=8, length=2)


def cell_ticks(high: int, longest: int) -> list[int]:
    """Round positions from 0 to high; the end itself where it has room, so that a body's size can be read off."""
    step = next((step for step in (1, 2, 5, 10, 20, 50, 100, 200) if longest / step <= 6), 500)
    ticks = list(range(0, high + 1, step))
    if high - ticks[-1] >= 0.6 * step:
        ticks.append(high)
    return ticks
