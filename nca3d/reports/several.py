"""The report of a rule of several bodies: a row for each, who is taken for whom, what becomes of one that is told to change."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nca3d.files import vacate
from nca3d.reports.body import training_figures
from nca3d.reports.folder import write_folder
from nca3d.reports.page import Kind, Measure, Section, Words, film_html
from nca3d.reports.pictures import Strip, data_url, png_of_pixels
from nca3d.reports.training import took
from nca3d.reports.values import as_text, display_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

# The figures that a comparison draws, in this order: none of them is that of a rule of one body.
HEADLINES = ("right_body.grown", "right_body.fragment", "switched", "bodies.*.grow_iou", "bodies.*.steps_held")
FOOTER = (
    "IoU is the overlap of a body with its target: cells occupied in both, divided by cells occupied in either (occupied: "
    "alpha above 0.1). It is measured with random draws that training never used. Figures at the top are those of the body "
    "that is worst at it."
)
# Frames a second and pixels of one body's side in the film.
FPS, SIZE = 12, 240


class FilmedBodies(NamedTuple):
    """The pictures of several bodies that grow from one cell each, and one that is told to change.

    Attributes:
        growth: By name: frames (T, D, H, W, 4), straight RGBA, 0 .. 1.
        steps: The step of each frame, (T,).
        targets: By name: the target's picture, (D, H, W, 4).
        morph: Frames (T, D, H, W, 4) of a life in which the body is told to be another, and a few words for each.
    """

    growth: Mapping[str, NDArray[np.floating]]
    steps: Sequence[int]
    targets: Mapping[str, NDArray[np.floating]]
    morph: tuple[NDArray[np.floating], Sequence[str]] | None = None


def write_several(
    folder: Path,
    report: "Report",
    filmed: FilmedBodies | None = None,
    *,
    metrics: Sequence[Mapping[str, Any]] | None = None,
    config_toml: str = "",
    progress: bool = False,
) -> Path:
    """Writes report.json, report.md, report.html and its pictures into a folder, each whole or not at all.

    Args:
        folder: The folder; it is created if it does not exist.
        report: The report that `evaluate_several` returned.
        filmed: The bodies as they grow; None = without their pictures.
        metrics: The records of a training run, for its curves; None = there are none.
        config_toml: The run's config as it was loaded; "" = there is none.
        progress: Whether to print on stderr what is being drawn.

    Returns:
        The path of report.html.
    """

    def pictures() -> "Iterator[tuple[str, Figure | Strip]]":
        if filmed is not None:
            rows = report["bodies"]
            names = list(filmed.growth)
            ends = np.stack([np.asarray(filmed.growth[name])[-1] for name in names])
            yield "bodies", Strip(ends, [f"{name}, IoU {rows[name]['grow_iou']:.2f}" for name in names])
            yield "targets", Strip(np.stack([filmed.targets[name] for name in names]), names)
            if filmed.morph is not None:
                yield "morph", Strip(np.asarray(filmed.morph[0]), filmed.morph[1])
        yield from several_figures(report).items()
        if metrics is not None:
            yield from training_figures(metrics)

    def hero(folder: Path) -> tuple[str, list[str]]:
        return ("", []) if filmed is None else film(folder, filmed)

    return write_folder(folder, report, several_words, pictures(), hero=hero, config_toml=config_toml, progress=progress)


def film(folder: Path, filmed: FilmedBodies) -> tuple[str, list[str]]:
    """Films all bodies side by side as they grow; the first dozen where there are more.

    Args:
        folder: The folder that film.mp4 or film.gif is written into.
        filmed: The pictures.

    Returns:
        The film as the large picture of a page, in HTML, and the name of its file.
    """
    import visualize
    from visualize.film import has_ffmpeg

    shown = dict(list(filmed.growth.items())[:12])
    path = visualize.side_by_side(
        {name: np.concatenate([frames, np.repeat(frames[-1:], FPS, axis=0)]) for name, frames in shown.items()},
        vacate(folder / ("film.mp4" if has_ffmpeg() else "film.gif")),
        fps=FPS,
        size=SIZE,
        orbit=90.0,
        steps=[*filmed.steps, *[filmed.steps[-1]] * FPS],
    )
    first = np.asarray(next(iter(shown.values())))[-1]
    poster = data_url(png_of_pixels(visualize.volume(first, size=(SIZE, SIZE))))
    return film_html(data_url(path.read_bytes(), path.suffix), poster), [path.name]


def several_words(report: "Report", pictures: Collection[str]) -> Words:
    """Returns the text of the page of several bodies.

    Args:
        report: The figures.
        pictures: The names of the pictures that the page will show.
    """
    about, horizon = report.about, report.get("horizon")
    names = list(report.get("bodies", {}))
    name = f"{Path(about.get('name', about.get('target', 'rule'))).name} · {about.get('preset', 'evaluation')}"
    how = "every cell is told, in every step," if about.get("condition") != "seed" else "the first cell carries"
    lead = (
        f"One rule of {report.get('params', 0):,} weights grows {len(names)} bodies from one cell each: {how} which of them it "
        "is to be. Every cell runs the same small rule and sees only its neighbours. Measured on "
        f"{report.get('samples')} bodies of each."
    )
    told = f"IoU with the new body {3 * horizon if horizon else 'three horizons of'} steps after its cells were told."
    sections = [
        Section(
            "The bodies",
            "Each as it grew from one cell, and the target that it was trained on.",
            [("bodies", f"At step {horizon}, the horizon."), ("targets", "Their targets.")],
            more=_table(report),
        ),
        Section(
            "Which body is it?",
            "What grew under each condition, compared with every target.",
            [("confusion", "IoU of what grew (rows) with each target (columns).")],
        ),
        Section(
            "Told to change",
            "A grown body becomes another one in mid-life.",
            [("morph", "One life: grown, then told to be the next."), ("switch", told)],
        ),
        Section(
            "Training", "The loss, and how close the bodies came to their targets.", [("curves", "Thin lines: every record.")]
        ),
        took(report),
    ]
    return Words(about.get("title", name), lead, sections, measures(report), FOOTER)


def measures(report: "Report") -> Iterator[Measure]:
    """Yields the figures that have a goal, each of the body that is worst at it."""
    worst = {figure: min(rows, key=lambda row: row[1])[0] for figure, rows in _by_figure(report).items() if rows}

    def of(figure: str) -> str:
        return f" ({worst[figure]})" if figure in worst else ""

    if "grow_iou" in report:
        yield Measure("Grown, the worst", f"IoU at step {report.get('horizon')}{of('grow_iou')}", report["grow_iou"], 0.95)
    for key in report:
        if key.startswith("hold_iou_"):
            yield Measure(
                "Held, the worst", f"IoU {int(key.removeprefix('hold_iou_')):,} steps later{of(key)}", report[key], 0.93
            )
    for damage, value in report.get("recovered", {}).items():
        note = f"share of bodies that healed{of(f'recovered.{damage}')}"
        yield Measure(f"Healed, {display_name(damage)}, the worst", note, value, 0.75)
    right = report.get("right_body", {})
    if "grown" in right:
        yield Measure("Right body, grown", "share nearest to its own target", right["grown"], 1.0)
        yield Measure("Right body, from a quarter", "share nearest to its own target, healed", right["fragment"], 1.0)
    if "switched" in report:
        yield Measure("Changed when told", "share of ordered pairs with an IoU of 0.9", report["switched"], 0.8)


def _by_figure(report: "Report") -> dict[str, list[tuple[str, float]]]:
    """Returns for each figure of a body (name of the body, value)."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name, row in report.get("bodies", {}).items():
        for figure, value in row.items():
            for key, one in value.items() if isinstance(value, Mapping) else [("", value)]:
                if isinstance(one, int | float):
                    found.setdefault(f"{figure}.{key}".rstrip("."), []).append((name, float(one)))
    return found


def _table(report: "Report") -> str:
    """Returns the rows of all bodies as an HTML table."""
    rows = report.get("bodies", {})
    if not rows:
        return ""
    first = next(iter(rows.values()))
    held = [key for key in first if key.startswith("hold_iou_")]
    damages = list(first.get("recovered", {}))
    titles = ["body", "grown", *(f"held {int(key.removeprefix('hold_iou_')):,}" for key in held), "steps held"]
    titles += [f"healed, {display_name(damage)}" for damage in damages]
    lines = [
        [
            name,
            row["grow_iou"],
            *(row[key] for key in held),
            row["steps_held"],
            *(row["recovered"].get(damage) for damage in damages),
        ]
        for name, row in rows.items()
    ]
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(f"<tr>{''.join(f'<td>{escape(as_text(cell))}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def several_figures(report: "Report") -> "dict[str, Figure]":
    """Returns the charts that the figures of a report allow, by name: confusion, switch."""
    import visualize

    names, figures = list(report.get("bodies", {})), {}
    labels = {
        "confusion": ("IoU with the target", "target", "grown as", None),
        "switch": ("IoU with the new body", "told to be", "grown as", 0.9),
    }
    for figure, (label, x_label, y_label, goal) in labels.items():
        if figure in report:
            table = [[report[figure][row].get(column) for column in names] for row in names]
            figures[figure] = visualize.heat_map(table, names, names, label=label, x_label=x_label, y_label=y_label, goal=goal)
    return figures


SEVERAL = Kind(HEADLINES, several_figures, several_words)
