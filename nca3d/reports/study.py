"""The pages of an evaluation: pictures, one self-contained report.html, report.json, a Markdown table; and comparisons."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.errors import InputError
from nca3d.evaluation.studies.emergence import EXPLANATIONS
from nca3d.evaluation.studies.persistence import HELD
from nca3d.evaluation.studies.regeneration import WHOLE
from nca3d.reports.page import Section, render_page, still_html
from nca3d.reports.report import Report, flat, shown
from nca3d.reports.run import data_url, growth_strip, healing_strip, png_of, portrait, write_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADLINES = (
    "grow_iou",
    "grow_colour_error",
    "grow_label_accuracy",
    "hold_iou_1000",
    "heal_iou.half_space",
    "heal_iou.sphere",
    "heal_iou.random_cells",
    "steps_held",
    "regeneration.recovered_small",
    "regeneration.recovered_half_space",
    "emergence.lyapunov",
)
"""The figures of a body that a comparison draws, where at least one report has them."""

CUBE_HEADLINES = ("split.*.top1", "margin.*", "hurt.unhurt.top1", "hurt.*.25.*.top1")
"""Those of a cube, as patterns: of all damage a quarter of the cells, which every preset destroys."""

TITLE = 30
"""Letters that fit above a panel."""


def write_study(folder: Path, report: Report, film: Any = None, *, progress: bool = False) -> Path:
    """Write report.json, report.md, report.html and its pictures into a folder, each whole or not at all.

    Args:
        folder: is made if need be.
        report: what `evaluate` returned.
        film: what `finish.film` returned for the same rule: pictures of one body that grows and heals; None = without.
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Figures first: they took long, and drawing may fail where a picture library does.
    write_file(folder / "report.json", (report.to_json() + "\n").encode())
    write_file(folder / "report.md", (report.to_markdown() + "\n").encode())
    pictures: dict[str, bytes] = {} if film is None else {"portrait": portrait(film[0][0][-1])}
    for name, figure in {**_bodies(film), **study_figures(report)}.items():
        if progress:
            print(f"report: {name}", file=sys.stderr, flush=True)
        pictures[name] = png_of(figure)
        write_file(folder / f"{name}.png", pictures[name])
    write_file(folder / "report.html", study_page(report, pictures).encode())
    return folder / "report.html"


def study_figures(report: Report) -> dict[str, Figure]:
    """The pictures that a report's series and figures can be drawn as, by name."""
    import visualize

    series, figures = report.series, {}
    if "hold" in series:
        hold = series["hold"]
        mark = round(HELD * report["grow_iou"], 3)
        figures["persistence"] = visualize.envelope(hold["steps"], hold["worst"], hold["best"], goal=mark, label="IoU")
    if "grid" in series:
        figures["regeneration"] = _heat_map(series["grid"])
    if "recovery" in series:
        curves = {_words(name): (curve["steps"], curve["quality"]) for name, curve in series["recovery"].items()}
        notes = {_words(name): _note(curve["recovered"]) for name, curve in series["recovery"].items()}
        figures["recovery"] = visualize.recovery(curves, goal=WHOLE, horizon=report.get("horizon"), notes=notes)
    if "robustness" in report:
        found = {name: value for name, value in report["robustness"].items() if name != "unchanged"}
        intervals = {name: report.intervals.get(f"robustness.{name}") for name in found}
        figures["robustness"] = visualize.bars(
            found,
            intervals={name: (low_high[0], low_high[1]) for name, low_high in intervals.items() if low_high},
            reference=report["robustness"].get("unchanged"),
            groups={name: group for name, group in series.get("conditions", {}).items() if name in found},
            label="IoU with the target, 200 steps after the horizon",
        )
    return figures


def _heat_map(grid: Sequence[Mapping[str, Any]]) -> Figure:
    """Damage by severity; several moments are columns of their own."""
    import visualize

    kinds = list(dict.fromkeys(row["damage"] for row in grid))
    columns = sorted({(row["moment"], row["severity"]) for row in grid})
    place = {(row["damage"], row["moment"], row["severity"]): row["recovered"] for row in grid}
    values = [[place.get((kind, *column)) for column in columns] for kind in kinds]
    late = any(moment for moment, _ in columns)
    names = [f"{severity:.0%}" + (f"\n+{moment}" if late else "") for moment, severity in columns]
    words = "share of the body destroyed" + (" · steps after the horizon" if late else "")
    return visualize.heat_map(values, [_words(kind) for kind in kinds], names, goal=0.95, x_label=words)


def _note(recovered: Sequence[float | None]) -> str:
    judged = [value for value in recovered if value is not None]
    return f"{sum(judged):g} of {len(judged)} recovered" if judged else "too small to be seen"


def _bodies(film: Any) -> dict[str, Figure]:
    """One body that grows, and what becomes of it after each wound."""
    if film is None:
        return {}
    growth, heal, _ = film
    return {"growth": growth_strip(growth), **{f"heal-{damage}": healing_strip(healing) for damage, healing in heal.items()}}


def study_page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The whole page as text; `pictures` are PNGs by the names of `write_study`."""
    urls = {name: data_url(picture, "image/png") for name, picture in pictures.items()}
    about = report.about
    title = f"{Path(about.get('name', about.get('target', 'rule'))).name} · {about.get('preset', 'evaluation')}"
    size = " × ".join(map(str, about.get("size", ())))
    lead = (
        f"Is it alive? {report.get('samples', 0)} bodies of {about.get('cells', 0):,} cells on a lattice of {size}, each grown "
        "from one cell, held, hurt and left to heal, on random draws that training never used."
    )
    portrait = still_html(urls["portrait"], "the grown body") if "portrait" in urls else ""
    return render_page(
        title=title,
        lead=lead,
        figures=report,
        sections=_sections(report, urls),
        pictures=urls,
        hero=portrait,
        versions=about,
        intervals=report.intervals,
    )


def _sections(report: Report, urls: Mapping[str, str]) -> list[Section]:
    held, tried = report.get("steps_held"), report.get("steps_tried")
    found = [
        Section("Growth", "From one cell to the body.", [("growth", "One body, the same eye throughout.")]),
        Section(
            "Persistence",
            f"Held for {shown(held)} of {shown(tried)} steps by the worst body: finite, not swollen, and in every window of "
            f"100 steps at no less than {HELD} of its quality at the horizon.",
            [("persistence", "Worst and best step of each window, over all bodies.")],
        ),
        Section(
            "Regeneration",
            f"Recovered: {WHOLE:.0%} of the quality before the wound within two horizons, and still so 1,000 steps later.",
            [
                *((name, f"{_words(name[5:])}: before, cut, and steps since.") for name in urls if name[:5] == "heal-"),
                ("regeneration", "Fraction of bodies that recovered, by damage and severity."),
                ("recovery", "Quality since the wound as a share of that before: median, and from the worst body to the best."),
            ],
        ),
        Section(
            "Robustness",
            "Grown and held in a world other than that of training; with 95 % bootstrap intervals.",
            [("robustness", "The line is the same trial with nothing changed.")],
        ),
    ]
    if "emergence" in report:
        found.append(Section("Emergence", "What the pattern is and how it moves.", [], _emergence(report)))
    if "laws" in report:
        found.append(Section("Laws", "What must hold for any rule.", [], dict(report["laws"])))
    return found


def _emergence(report: Report) -> dict[str, str]:
    return {f"{_words(name)}: {EXPLANATIONS.get(name, '')}": shown(value) for name, value in report["emergence"].items()}


def _words(name: str) -> str:
    return name.replace("_", " ")


def read_report(path: Path) -> Report:
    """A report from disk: a report.json, or a folder that has one (of an evaluation or of a run).

    Raises:
        ValueError: no report there.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        report = Report.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        allowed = "a folder with report.json: nca3d evaluate makes one"
        raise InputError(path, "report", error.strerror or error, allowed) from None
    except ValueError as error:
        raise InputError(file, "report", error, "a report.json that nca3d wrote") from None
    if isinstance(report.get("figures"), dict):  # a training run's: its figures are one entry among others
        report = Report(report["figures"], report.get("spread", {}))
    return report


def compare(reports: Mapping[str, Report]) -> tuple[str, Figure]:
    """Reports side by side: a Markdown table of all figures that any of them has, and a picture of the headlines.

    Where cubes stand beside bodies, a line below the table says that they have no headline in common.
    """
    import visualize

    rows = {name: dict(flat({k: v for k, v in report.items() if k != "pool_diversity"})) for name, report in reports.items()}
    measures = [m for m in dict.fromkeys(key for row in rows.values() for key in row) if "recovered_each" not in m]
    lines = [f"| measure | {' | '.join(rows)} |", "|---|" + "--:|" * len(rows)]
    for measure in measures:
        cells = [
            _with_interval(row[measure], reports[name].intervals.get(measure)) if measure in row else ""
            for name, row in rows.items()
        ]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    measured = [m for m in measures if any(isinstance(row.get(m), int | float) for row in rows.values())]
    of_bodies = [m for m in HEADLINES if m in measured]
    of_cubes = [m for pattern in CUBE_HEADLINES for m in measured if fnmatchcase(m, pattern)]
    drawn = {m: m if len(m) <= TITLE else _words(m) for m in of_bodies + of_cubes}  # one that is too long breaks between words
    mixed = _mixed(rows, of_bodies, of_cubes)
    figure = visualize.compare(
        {name: {title: row.get(m) for m, title in drawn.items()} for name, row in rows.items()},
        intervals={
            name: {title: (found[0], found[1]) for m, title in drawn.items() if (found := report.intervals.get(m))}
            for name, report in reports.items()
        },
        title="cubes and bodies: no headline in common" if mixed else None,
    )
    return "\n".join([*lines, *(("", mixed) if mixed else ())]), figure


def _mixed(rows: Mapping[str, Mapping[str, Any]], of_bodies: Sequence[str], of_cubes: Sequence[str]) -> str:
    """The line that says that cubes and bodies can't be compared; empty if all are of one sort or some have figures of both."""
    bodies, cubes = ([name for name, row in rows.items() if row.keys() & set(names)] for names in (of_bodies, of_cubes))
    if not bodies or not cubes or set(bodies) & set(cubes):
        return ""
    return f"Cubes ({', '.join(cubes)}) and bodies ({', '.join(bodies)}) have no headline in common."


def _with_interval(value: Any, interval: Sequence[float] | None) -> str:
    return shown(value) + (f" ({shown(interval[0])} – {shown(interval[1])})" if interval and value is not None else "")
