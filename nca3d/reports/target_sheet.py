"""A body before it is trained, in words and a picture: what was read, which way is up, where growth begins, how far it goes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from nca3d.targets import Target
from nca3d.targets.pieces import describe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches of the column with the body in space and the words.
COLUMN = 6.0
# Letters in a line of words, and inches from line to line.
LETTERS, LINE = 62, 0.21


def target_lines(target: Target) -> Iterator[str]:
    """Yields what to know of a body, one line each.

    Args:
        target: The body.
    """
    pieces, start = target.pieces, target.start
    cells = len(pieces.cells)
    yield from target.notes
    kinds = ", ".join(name for name, there in zip(target.names[1:], _present(target), strict=True) if there)
    yield f"{cells:,} {'cell' if cells == 1 else 'cells'} of {' × '.join(map(str, target.size))} (z, y, x), " + (
        f"classes {kinds}" if kinds else "coloured"
    )
    yield "up is +z, the first axis of an array; a body that lies is turned by --target-options orientation=x-zy"
    yield describe(pieces)
    middle = " the centre of the lattice," if start == tuple(n // 2 for n in target.size) else ""
    steps = int(pieces.steps_from(start).max())
    farthest = "the farthest cell in reach" if pieces.cluster.any() else "the farthest cell"
    count = "1 step" if steps == 1 else f"{steps} steps"
    yield f"growth starts at {start} (z, y, x),{middle} and needs {count} at least to {farthest}"


def target_sheet(target: Target, lines: list[str]) -> "Figure":
    """Returns the body from three sides and in space, each beside its axes, with the first cell marked, and the words.

    Args:
        target: The body.
        lines: The words, one line each.
    """
    from textwrap import fill

    import visualize
    from visualize.charts.figure import INK, new_figure

    rgba, first = target.rgba(), "first cell"
    figure = visualize.slices(rgba, title=target.name, marks={first: target.start})
    width, height = figure.get_size_inches()
    flat = _pixels(figure)
    words = "\n".join(fill(line, LETTERS, subsequent_indent="   ") for line in lines)
    wide = new_figure(width + COLUMN, max(height, COLUMN + LINE * (words.count("\n") + 2)))
    wide.set_layout_engine("none")
    total = np.asarray(wide.get_size_inches())
    _image(wide, flat, (0, 1 - height / total[1], width / total[0], height / total[1]))
    legend = None
    if target.palette is not None:
        shown = zip(target.names[1:], target.palette[1:], _present(target), strict=True)
        legend = {name: tuple(colour) for name, colour, there in shown if there}
    space = visualize.volume(rgba, size=(1200, 1200), axes=True, legend=legend, quality="fast")
    _image(wide, space, (width / total[0], 1 - COLUMN / total[1], COLUMN / total[0], COLUMN / total[1]))
    wide.text(
        (width + 0.2) / total[0], 1 - (COLUMN + 0.1) / total[1], words, va="top", color=INK, fontsize=9.5, linespacing=1.5
    )
    return wide


def _present(target: Target) -> list[bool]:
    """Returns for each class but the empty one whether it has a cell; [] for colours."""
    return [bool((values > 0).any()) for values in target.values[1:-1]] if target.kind == "classes" else []


def _pixels(figure: "Figure") -> np.ndarray:
    """Returns a figure as a picture (h, w, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _image(figure: "Figure", picture: np.ndarray, place: tuple[float, float, float, float]) -> None:
    axes = figure.add_axes(place)
    axes.imshow(picture, interpolation="lanczos")
    axes.axis("off")
