"""The report of a cube: figures, pictures, a film of a question on its way and one self-contained page in a folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nca3d.cube.reports.page import FOOTER, cube_lead, cube_sections
from nca3d.cube.reports.pictures import ACTIVITY, activity_by_layer, cube_figures, training_figures
from nca3d.reports.page import film_html, render_page
from nca3d.reports.report import Report
from nca3d.reports.run import data_url, png_of, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["cube_figures", "write_cube_report"]

Moving = tuple[NDArray[np.floating], list[int]]
FILM_FPS, HELD = 5, 5  # frames a second; how many of them the last step is shown for


def write_cube_report(
    folder: Path,
    report: Report,
    *,
    title: str,
    activity: NDArray[np.floating] | None = None,
    steps: Sequence[int] | NDArray[np.integer] | None = None,
    metrics: Sequence[Mapping[str, Any]] = (),
    config_toml: str = "",
    versions: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Path:
    """Write report.json, report.md, pictures, activity.mp4 (or .gif) and report.html into a folder, each whole or not at all.

    What wasn't measured is left out of the page.

    Args:
        folder: is made if need be.
        report: what `evaluate_cube` returned.
        title: what was asked, in a few words.
        activity: (T,D,H,W) of one question on its way, for the film; None = without.
        steps: (T,) of it.
        metrics: the records of a training, for its curves.
        config_toml: the run's config as it was loaded.
        versions: what ran, by name.
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    moving: Moving | None = None
    if activity is not None:
        moving = np.asarray(activity), [int(step) for step in (range(len(activity)) if steps is None else steps)]
    report = _strict(report, moving)
    # Figures first: they took long, and drawing may fail where a picture library does.
    write_file(folder / "report.json", (report.to_json() + "\n").encode())
    write_file(folder / "report.md", (report.to_markdown() + "\n").encode())
    urls: dict[str, str] = {}
    for name, figure in {**_still(moving, report), **cube_figures(report), **training_figures(metrics)}.items():
        _say(name, progress)
        picture = png_of(figure)
        write_file(folder / f"{name}.png", picture)
        urls[name] = data_url(picture, "image/png")
    _say("film", progress and moving is not None)
    page = render_page(
        title=title,
        lead=cube_lead(report),
        hero=_film(folder, *moving) if moving else "",
        figures=report,
        sections=cube_sections(report),
        pictures=urls,
        intervals=report.intervals,
        config_toml=config_toml,
        versions={**report.about, **(versions or {})},
        footer=FOOTER,
    )
    write_file(folder / "report.html", page.encode())
    _say(str(folder / "report.html"), progress)
    return folder / "report.html"


def _strict(report: Report, moving: Moving | None) -> Report:
    """The same report in what strict JSON can say (non-finite numbers become None), with activity by layer if it has none."""
    series = dict(report.series)
    if moving is not None and not series.get("layers"):
        series["layers"] = {"steps": moving[1], "activity": activity_by_layer(moving[0])}
    parts = [dict(report), report.intervals, report.spread, series, report.about]
    text = json.dumps(parts, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
    figures, intervals, spread, series, about = json.loads(text, parse_constant=lambda word: None)
    clean = Report(figures, {}, series, about)  # with intervals as they are: they take long
    clean.spread, clean.intervals = spread, intervals
    return clean


def _still(moving: Moving | None, report: Report) -> dict[str, Figure]:
    """Activity of every cell when the answer is read, in the colours of the film."""
    if moving is None:
        return {}
    import visualize

    activity, steps = moving
    horizon = report.get("horizon")
    index = steps.index(horizon) if horizon in steps else len(steps) - 1
    return {"activity": visualize.layers(activity[index], label=f"{ACTIVITY}, step {steps[index]}", limits=_limits(activity))}


def _limits(activity: NDArray[np.floating]) -> tuple[float, float]:
    from visualize.film import activity_limits

    return activity_limits(np.where(np.isfinite(activity), activity, np.nan).astype(np.float32))


def _film(folder: Path, activity: NDArray[np.floating], steps: list[int]) -> str:
    """Writes the film, that rests on its last step; returns its HTML."""
    from PIL import Image

    import visualize
    from visualize.film import Screen, has_ffmpeg

    path = folder / ("activity.mp4" if has_ffmpeg() else "activity.gif")
    frames, counted = np.concatenate([activity, *[activity[-1:]] * HELD]), steps + steps[-1:] * HELD
    options: dict[str, Any] = {"label": ACTIVITY, "steps": counted, "limits": _limits(activity), "fps": FILM_FPS}
    visualize.layers_film(frames, path, **options)
    stream = BytesIO()
    Image.fromarray(Screen(frames, **options).draw(len(frames) - 1)).save(stream, "PNG")
    kind = "video/mp4" if path.suffix == ".mp4" else "image/gif"
    poster = data_url(stream.getvalue(), "image/png")
    return film_html(data_url(path.read_bytes(), kind), poster, "film of activity in all layers of the cube")


def _say(what: str, progress: bool) -> None:
    if progress:
        print(f"report: {what}", file=sys.stderr, flush=True)
