"""A report as a folder: report.json, report.md, pictures, perhaps a film, and the page; each file whole or not at all."""

import base64
import sys
import tomllib
from collections.abc import Callable, Collection, Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.files import write_atomic
from nca3d.reports.page import Words, render_page

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

KINDS_OF_FILES = {".png": "image/png", ".gif": "image/gif", ".mp4": "video/mp4"}


def write_folder(
    folder: Path,
    report: "Report",
    words: "Callable[[Report, Collection[str]], Words]",
    pictures: "Iterable[tuple[str, Figure]]",
    *,
    hero: Callable[[Path], tuple[str, list[str]]] | None = None,
    config_toml: str = "",
    progress: bool = False,
) -> Path:
    """Write a report and its page.

    Args:
        folder: is made if need be.
        report: numbers that are not finite are shown as missing.
        words: what the page says, given the report and the names of its pictures.
        pictures: by name, each drawn when its turn comes.
        hero: makes the large picture of the page: writes its files into the folder, and returns its HTML and their names.
        config_toml: the run's config as it was loaded; "" = there is none.
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    report = report.strict()
    if config_toml:
        report.about["config"] = _config(config_toml)
    # Figures first: they took long, and drawing may fail where a picture library does.
    report.to_json(folder / "report.json")
    write_atomic(folder / "report.md", (report.to_markdown() + "\n").encode())
    urls: dict[str, str] = {}
    for name, figure in pictures:
        _say(name, progress)
        picture = png_of(figure)
        write_atomic(folder / f"{name}.png", picture)
        urls[name] = data_url(picture)
    _say("film", progress and hero is not None)
    html, files = hero(folder) if hero is not None else ("", [])
    report.about["files"] = [*files, *(f"{name}.png" for name in urls)]
    report.to_json(folder / "report.json")
    page = render_page(report, words(report, urls), urls, hero=html, config_toml=config_toml)
    write_atomic(folder / "report.html", page.encode())
    _say(str(folder / "report.html"), progress)
    return folder / "report.html"


def png_of(figure: "Figure") -> bytes:
    """A Figure as PNG, at the resolution of reports."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=144)
    return stream.getvalue()


def png_of_pixels(pixels: "np.ndarray") -> bytes:
    """A picture (H, W, 3 or 4), uint8, as PNG."""
    from PIL import Image

    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def data_url(content: bytes, suffix: str = ".png") -> str:
    """Bytes of a file as a URL that a page can hold: nothing is loaded from elsewhere."""
    return f"data:{KINDS_OF_FILES[suffix]};base64,{base64.b64encode(content).decode()}"


def _say(what: str, progress: bool) -> None:
    if progress:
        print(f"report: {what}", file=sys.stderr, flush=True)


def _config(config_toml: str) -> Any:
    """The config as a mapping that JSON can say; as text if it isn't TOML."""
    try:
        return tomllib.loads(config_toml)
    except tomllib.TOMLDecodeError:
        return config_toml
