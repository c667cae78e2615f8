"""A trajectory on paper: its frames side by side, seen by one camera or flat from the top, the front and the side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from visualize.arguments import as_columns, as_whole, as_words, quoted
from visualize.charts.figure import COLOURS, INK, QUIET, literal, new_figure
from visualize.charts.flat import VIEW, composite, draw_page, silhouette
from visualize.charts.wrap import LINE, widest_word, wrap
from visualize.clock import Damage, as_marks
from visualize.errors import ArgumentError
from visualize.film.stills import stills
from visualize.frames import Box, FloatArray, Picture, as_frames, body_box
from visualize.render.scene import LARGEST
from visualize.render.view import AZIMUTH, ELEVATION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAST_STEP = 10**15
WIDEST = 6  # frames in a row before a second one begins
CAMERA = "camera"
PIXELS = 120  # an inch
WORDS, HEAD, EDGE, GAP = 0.36, 0.45, 0.06, 0.08  # inches: labels, title, around everything, between flat pages
BETWEEN, NAMES = 0.08, 0.75  # inches: between labels, for the names of flat rows
SMALLEST, LARGE = 7.0, 13.0  # points of a letter
LEAST = (0.55, 0.42)  # inches of a column and of a flat row, for their words
MARGIN = 1  # cells around a flat body


def film_strip(
    frames: ArrayLike,
    labels: Sequence[str | int] | None = None,
    *,
    view: str | Sequence[str] = CAMERA,
    damage_at: Damage | None = None,
    title: str | None = None,
    columns: int | None = None,
    size: int = 300,
    style: str = "voxels",
    activity: ArrayLike | None = None,
    pictures: Sequence[Picture] | None = None,
    quality: str = "fast",
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    renderer: str = "auto",
) -> "Figure":
    """A Figure of frames side by side, each with its label, all seen from the same place and in the same scale.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8).
        labels: (T,) words under the frames; whole numbers are read as steps.
        view: "camera" renders; "front", "side" and "top" are flat and alpha-composited, with a thin line around the
            occupied cells (alpha above 0.1). Several of them are rows over the same labels.
        damage_at: index of the first frame after damage, several of them, or {index: word}; marked before the frame.
        title: a line above.
        columns: frames in a row; default at most 6, rows of equal length.
        size: pixels of one frame.
        style: "voxels", "surface" or "activity", as in `volume`.
        quality: "fast" or "high" light, as in `volume`.
        azimuth: where the eye stands around the body, in degrees, as in `volume`.
        elevation: how high the eye stands, in degrees, as in `volume`.
        renderer: "auto", "opengl" or "raymarch", as in `volume`.
        activity: (T,D,H,W) numbers that glow in style "activity"; default how much alpha changed since the frame before.
        pictures: (T,) what the camera sees, where `stills` has drawn it already; default drawn here.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    checked = as_frames(frames, "film_strip")
    count = len(checked)
    views = as_words(view, (CAMERA, *VIEW), "film_strip", "view")
    words, columns = _words(labels, count), as_columns(columns, "film_strip")
    size = as_whole(size, "film_strip", "size", 16, LARGEST, f"16..{LARGEST} pixels")
    marks = as_marks(damage_at, count, "film_strip")
    words = [" · ".join(part for part in (word, marks.get(index, "")) if part) for index, word in enumerate(words)]
    rendered = list(pictures or [])
    if rendered and len(rendered) != count:
        raise ArgumentError("film_strip", "pictures", len(rendered), f"one for each of {count} frames")
    if CAMERA in views and not rendered:
        rendered = stills(
            checked,
            size=size,
            style=style,
            activity=activity,
            quality=quality,
            azimuth=azimuth,
            elevation=elevation,
            renderer=renderer,
        )
    across = min(columns or -(-count // -(-count // WIDEST)), count)
    return _lay_out(checked, rendered, views, across, size / PIXELS, words, marks, title)


def _words(labels: Sequence[str | int] | None, count: int) -> list[str]:
    """A word under each frame."""
    if labels is None:
        return [""] * count
    if isinstance(labels, str) or not isinstance(labels, Iterable):
        raise ArgumentError("film_strip", "labels", quoted(labels), f"one for each of {count} frames")
    given = list(labels)
    if len(given) != count:
        raise ArgumentError("film_strip", "labels", len(given), f"one for each of {count} frames")
    return [label if isinstance(label, str) else f"step {_step(label)}" for label in given]


def _step(label: object) -> int:
    return as_whole(label, "film_strip", "labels", -LAST_STEP, LAST_STEP, "words and whole numbers")


def _lay_out(
    frames: FloatArray,
    rendered: Sequence[Picture],
    views: Sequence[str],
    across: int,
    inch: float,
    words: Sequence[str],
    marks: Mapping[int, str],
    title: str | None,
) -> "Figure":
    """Rows of views, one block of rows for each line of frames, placed by the inch so that one scale holds throughout."""
    box = body_box(frames)
    pages = {name: _page(box, name) for name in views if name != CAMERA}
    cell = inch / max((max(page[2:]) for page in pages.values()), default=1)
    sizes = {name: (pages[name][2] * cell, pages[name][3] * cell) if name in pages else (inch, inch) for name in views}
    wide, gap = max(LEAST[0], *(width for width, _ in sizes.values())), GAP if pages else 0.0
    rows = {name: max(height, LEAST[1]) if name in pages else height for name, (_, height) in sizes.items()}
    labels, font = _broken(words, wide + gap - BETWEEN, float(np.clip(LARGE * inch / 2.5, SMALLEST, LARGE)))
    left = EDGE + (NAMES if pages else 0.0)
    full = left + across * (wide + gap) - gap + EDGE
    (heading,), large = _broken([title or ""], full - 2 * EDGE, LARGE)
    above = HEAD + _more([heading], large) if title else EDGE
    pictured = sum(rows[name] for name in views) + gap * (len(views) - 1)
    blocks = [pictured + WORDS + _more(labels[first : first + across], font) for first in range(0, len(labels), across)]
    inches = (full, above + sum(blocks))
    figure = new_figure(*inches)
    figure.set_layout_engine("none")
    for index, frame in enumerate(frames):
        row, column = divmod(index, across)
        top = inches[1] - above - sum(blocks[:row])
        x, y = left + column * (wide + gap), top
        for name in views:
            width, height = sizes[name]
            y -= rows[name]
            place = np.array([x + (wide - width) / 2, y + (rows[name] - height) / 2, width, height]) / np.tile(inches, 2)
            axes = figure.add_axes(tuple(place.tolist()))
            _show(axes, name, frame, rendered[index] if rendered else None, pages.get(name))
            if column == 0 and name in pages:
                _name_row(figure, name, (left - 0.08) / inches[0], (y + rows[name] / 2) / inches[1])
            y -= gap
        _label(axes, labels[index], (x + wide / 2) / inches[0], (y - 0.08) / inches[1], font, index in marks)
        if index in marks:
            _mark(figure, (x - gap / 2) / inches[0], (y + gap) / inches[1], top / inches[1])
    if title:
        figure.text(0.5, 1 - 0.1 / inches[1], heading, ha="center", va="top", color=INK, fontsize=large)
    literal(figure)
    return figure


def _broken(words: Sequence[str], inches: float, points: float) -> tuple[list[str], float]:
    """Words in as many lines as they need in a width, and the height of their letters in points.

    Letters become smaller, to a point, until the widest word fits; only then a word is broken.
    """
    widest = max(widest_word(word, points) for word in words)
    points = max(points * min(1.0, inches / max(widest, 1e-6)), SMALLEST)
    return ["\n".join(wrap(word, inches, points)) for word in words], points


def _more(words: Sequence[str], points: float) -> float:
    """Inches that the longest of some words needs below its first line."""
    return max(word.count("\n") for word in words) * points * LINE / 72


def _label(axes: "Axes", word: str, x: float, y: float, points: float, marked: bool) -> None:
    """Words below a frame, at a place in shares of the figure."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    look: dict[str, Any] = {"color": COLOURS[1] if marked else QUIET, "fontsize": points, "linespacing": LINE}
    axes.text(x, y, word, transform=figure.transFigure, ha="center", va="top", **look)


def _page(box: Box, name: str) -> tuple[float, float, float, float]:
    """Left, bottom, width and height in cells of the part of a flat page that holds all bodies, with a margin."""
    view = VIEW[name]
    low, high = box
    across, upward = "xyz".index(view.across), "xyz".index(view.upward)
    left, bottom = float(low[across]) - MARGIN, float(low[upward]) - MARGIN
    return left, bottom, float(high[across]) + MARGIN - left, float(high[upward]) + MARGIN - bottom


def _show(axes: "Axes", name: str, frame: FloatArray, picture: Any, page: tuple[float, float, float, float] | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if page is None:
        axes.set_axis_off()
        axes.imshow(picture, interpolation="lanczos")
        return
    left, bottom, width, height = page
    draw_page(axes, composite(frame, VIEW[name]), silhouette(frame, VIEW[name]))
    axes.set_xlim(left, left + width)
    axes.set_ylim(bottom, bottom + height)
    axes.spines[:].set_color("#e2e2e2")


def _name_row(figure: "Figure", name: str, x: float, y: float) -> None:
    view = VIEW[name]
    figure.text(x, y, name, ha="right", va="bottom", color=INK, fontsize=11)
    figure.text(x, y, f"{view.across} → {view.upward} ↑", ha="right", va="top", color=QUIET, fontsize=8)


def _mark(figure: "Figure", x: float, low: float, high: float) -> None:
    """An upright line before a damaged frame, through all rows of its block."""
    from matplotlib.lines import Line2D

    figure.add_artist(Line2D([x, x], [low, high], color=COLOURS[1], linewidth=2))
