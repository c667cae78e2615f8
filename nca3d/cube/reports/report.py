"""The report of a cube: figures, pictures, a film of a question on its way and one self-contained page in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nca3d.cube.reports.page import cube_words
from nca3d.cube.reports.pictures import ACTIVITY, activity_by_layer, cube_figures, training_figures
from nca3d.reports.folder import data_url, png_of_pixels, write_folder
from nca3d.reports.page import film_html
from nca3d.reports.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Moving = tuple[NDArray[np.floating], Sequence[int] | NDArray[np.integer]]
FILM_FPS, HELD = 5, 5  # frames a second; how many of them the last step is shown for


def write_cube_report(
    folder: Path,
    report: Report,
    moving: Moving | None = None,
    *,
    metrics: Sequence[Mapping[str, Any]] = (),
    config_toml: str = "",
    progress: bool = False,
) -> Path:
    """Write report.json, report.md, pictures, activity.mp4 (or .gif) and report.html into a folder, each whole or not at all.

    What wasn't measured is left out of the page.

    Args:
        folder: is made if need be.
        report: what `evaluate_cube` returned.
        moving: activity (T,D,H,W) of one question on its way and its steps (T,), for the film; None = without.
        metrics: the records of a training, for its curves.
        config_toml: the run's config as it was loaded.
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    if moving is not None:
        moving = np.asarray(moving[0]), [int(step) for step in moving[1]]
        layers = {"steps": moving[1], "activity": activity_by_layer(moving[0])}
        report = Report(report, report.spread, {"layers": layers, **report.series}, report.about, report.intervals)
    report = report.strict()

    def pictures() -> Iterator[tuple[str, Figure]]:
        if moving is not None:
            yield "activity", _still(moving, report)
        yield from cube_figures(report).items()
        yield from training_figures(metrics).items()

    return write_folder(
        folder,
        report,
        cube_words,
        pictures(),
        hero=None if moving is None else lambda folder: _film(folder, *moving),
        config_toml=config_toml,
        progress=progress,
    )


def _still(moving: Moving, report: Report) -> Figure:
    """Activity of every cell when the answer is read, in the colours of the film."""
    import visualize

    activity, steps = moving
    horizon = report.get("horizon")
    index = list(steps).index(horizon) if horizon in steps else len(steps) - 1
    return visualize.layers(activity[index], label=f"{ACTIVITY}, step {steps[index]}", limits=_limits(activity))


def _limits(activity: NDArray[np.floating]) -> tuple[float, float]:
    from visualize.film import activity_limits

    return activity_limits(np.where(np.isfinite(activity), activity, np.nan).astype(np.float32))


def _film(folder: Path, activity: NDArray[np.floating], steps: Sequence[int]) -> tuple[str, list[str]]:
    """Writes the film, that rests on its last step; returns its HTML and its file's name."""
    import visualize
    from visualize.film import Screen, has_ffmpeg

    path = folder / ("activity.mp4" if has_ffmpeg() else "activity.gif")
    frames, counted = np.concatenate([activity, *[activity[-1:]] * HELD]), [*steps, *[steps[-1]] * HELD]
    options: dict[str, Any] = {"label": ACTIVITY, "steps": counted, "limits": _limits(activity), "fps": FILM_FPS}
    visualize.layers_film(frames, path, **options)
    poster = data_url(png_of_pixels(Screen(frames, **options).draw(len(frames) - 1)))
    return film_html(data_url(path.read_bytes(), path.suffix), poster, "film of activity in all layers of the cube"), [
        path.name
    ]
