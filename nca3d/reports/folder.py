"""A report as a folder: report.json, report.md, pictures, a film if asked for, and the page; each whole or not at all."""

import sys
import tomllib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.files import vacate, write_atomic
from nca3d.reports.page import Words, render_page
from nca3d.reports.pictures import Chart, Shown, Strip, png_of
from nca3d.reports.values import as_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report


def write_folder(
    folder: Path,
    report: "Report",
    words: "Callable[[Report, Collection[str]], Words]",
    pictures: "Iterable[tuple[str, Figure | Strip]]",
    *,
    hero: Callable[[Path], tuple[str, list[str]]] | None = None,
    config_toml: str = "",
    progress: bool = False,
) -> Path:
    """Writes a report, its pictures and its page; what somebody planted at their places is replaced, never followed.

    Args:
        folder: The folder; it is created if it does not exist.
        report: The report; numbers that are not finite are shown as missing.
        words: Returns the text of the page, given the report and the names of its pictures.
        pictures: Charts and strips by name; each is drawn when its turn comes, so that one at a time is in memory.
        hero: Draws the large picture of the page: it writes its files into the folder and returns its HTML and their names.
        config_toml: The run's config as it was loaded; "" = there is none.
        progress: Whether to print on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    report = report.strict()
    if config_toml:
        report.about["config"] = _config(config_toml)
    # The figures first: they took long to measure, and drawing may fail where a graphics library does.
    report.to_json(vacate(folder / "report.json"))
    write_atomic(vacate(folder / "report.md"), (report.to_markdown() + "\n").encode())
    shown: dict[str, Shown] = {}
    for name, picture in pictures:
        _print(name, progress)
        figure, strip = picture.drawn() if isinstance(picture, Strip) else (picture, None)
        png = png_of(figure)
        write_atomic(vacate(folder / f"{name}.png"), png)
        shown[name] = strip or Chart(png)
    _print("film", progress and hero is not None)
    html, files = hero(folder) if hero is not None else ("", [])
    # Written again: only now the names of all pictures are known.
    report.about["files"] = [*files, *(f"{name}.png" for name in shown)]
    report.to_json(vacate(folder / "report.json"))
    text = words(report, shown)
    text = text._replace(measures=list(text.measures))
    page = render_page(report, text, shown, hero=html, config_toml=config_toml)
    write_atomic(vacate(folder / "report.html"), page.encode())
    _print(str(folder / "report.html"), progress)
    # Last, where it is read: whoever sees the end of a long run wants to know what came of it.
    _print(" · ".join(f"{one.name} {as_text(one.value)}" for one in text.measures if one.value is not None), progress)
    return folder / "report.html"


def _print(name: str, progress: bool) -> None:
    """Prints on stderr what is being drawn, and what came of it; stdout belongs to results."""
    if progress:
        print(f"report: {name}", file=sys.stderr, flush=True)


def _config(config_toml: str) -> dict[str, Any] | str:
    """Returns the config as a table, or as text if it isn't TOML: a report is written all the same."""
    try:
        return tomllib.loads(config_toml)
    except tomllib.TOMLDecodeError:
        return config_toml
