"""A trajectory on paper: its frames side by side, seen by one camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from visualize.figure import INK, QUIET, new_figure
from visualize.frames import as_frames, body_box
from visualize.volume import AZIMUTH, ELEVATION, Scene

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDEST = 6  # frames in a row before a second one begins


def film_strip(
    frames: ArrayLike,
    labels: Sequence[str | int] | None = None,
    *,
    title: str | None = None,
    columns: int | None = None,
    size: int = 300,
    style: str = "voxels",
    azimuth: float = AZIMUTH,
    elevation: float = ELEVATION,
    renderer: str = "auto",
) -> Figure:
    """A Figure of rendered frames side by side, each with its label, all seen by the same camera.

    Args:
        frames: (T,D,H,W,4), straight RGBA 0..1 (or uint8).
        labels: (T,) words under the frames; whole numbers are read as steps.
        title: a line above.
        columns: frames in a row; default at most 6, rows of equal length.
        size: pixels of one frame.
        style, azimuth, elevation, renderer: as in `volume`.

    Raises:
        ValueError: an argument can't be used; one line says which.
    """
    checked = as_frames(frames, "film_strip")
    count = len(checked)
    if labels is not None and len(labels) != count:
        raise ValueError(f"film_strip: labels: found {len(labels)}, allowed one for each of {count} frames")
    if columns is not None and columns < 1:
        raise ValueError(f"film_strip: columns: found {columns}, allowed 1 or more")
    across = columns or -(-count // -(-count // WIDEST))
    down = -(-count // across)
    figure = new_figure(across * size / 120, (down * (size / 120 + 0.34)) + (0.45 if title else 0.0))
    cells = figure.subplots(down, across, squeeze=False)
    with Scene(
        body_box(checked), style, size=(size, size), azimuths=[azimuth], elevation=elevation, renderer=renderer
    ) as scene:
        for index, axes in enumerate(cells.flat):
            axes.set_axis_off()
            if index < count:
                axes.imshow(scene.draw(checked[index]), interpolation="lanczos")
                if labels is not None:
                    axes.text(0.5, -0.02, _word(labels[index]), transform=axes.transAxes, ha="center", va="top",
                              color=QUIET, fontsize=13)  # fmt: skip
    if title:
        figure.suptitle(title, color=INK, fontsize=13, fontweight="medium")
    return figure


def _word(label: str | int) -> str:
    return label if isinstance(label, str) else f"step {int(label)}"
