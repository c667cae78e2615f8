"""Kinds of reports, and reports side by side: a Markdown table of all figures, and a picture of the headlines."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from nca3d.registry import Registry
from nca3d.reports.body import BODIES
from nca3d.reports.page import Kind
from nca3d.reports.values import as_text, display_name, flat, is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

# How reports are told, by what they speak of in the plural; a wing brings its own.
KINDS = Registry("report")
KINDS["bodies"] = BODIES

# Letters that fit above a panel.
TITLE = 30

# Parts of the names of figures that a table of many reports leaves out.
UNSEEN = ("pool_diversity", "recovered_each")


def kind_of(report: "Report") -> Kind:
    """The kind that has a headline among the figures of a report; bodies, if none has."""
    names = [name for name, _ in flat(report)]
    return next((kind for kind in KINDS.values() if headlines(kind, names)), BODIES)


def headlines(kind: Kind, names: Sequence[str]) -> list[str]:
    """Which figures are headlines of a kind, in its order."""
    return [name for pattern in kind.headlines for name in names if fnmatchcase(name, pattern)]


def compare(reports: "Mapping[str, Report]") -> "tuple[str, Figure]":
    """Reports side by side: a Markdown table of all figures that any of them has, and a picture of the headlines.

    Where reports of several kinds stand beside each other, a line below the table says that they have no headline in common.
    """
    import visualize

    rows = {name: dict(flat(report)) for name, report in reports.items()}
    measures = [m for m in dict.fromkeys(key for row in rows.values() for key in row) if not any(part in m for part in UNSEEN)]
    lines = [f"| measure | {' | '.join(rows)} |", "|---|" + "--:|" * len(rows)]
    for measure in measures:
        cells = [
            _with_interval(row[measure], reports[name].intervals.get(measure)) if measure in row else ""
            for name, row in rows.items()
        ]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    measured = [m for m in measures if any(is_number(row.get(m)) for row in rows.values())]
    found = {plural: headlines(kind, measured) for plural, kind in KINDS.items()}
    # A title that is too long breaks between words.
    drawn = {m: m if len(m) <= TITLE else display_name(m) for names in found.values() for m in names}
    mixed = _mixed(rows, found)
    figure = visualize.compare(
        {name: {title: row.get(m) for m, title in drawn.items()} for name, row in rows.items()},
        intervals={
            name: {title: (span[0], span[1]) for m, title in drawn.items() if (span := report.intervals.get(m))}
            for name, report in reports.items()
        },
        title=f"{' and '.join(mixed)}: no headline in common" if mixed else None,
    )
    if mixed:
        kinds = " and ".join(f"{plural} ({', '.join(names)})" for plural, names in mixed.items())
        lines += ["", f"{kinds[:1].upper()}{kinds[1:]} have no headline in common."]
    return "\n".join(lines), figure


def _mixed(rows: Mapping[str, Mapping[str, Any]], found: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The reports by kind, where there are several kinds and none is of two; else empty."""
    kinds = {plural: [name for name, row in rows.items() if row.keys() & set(names)] for plural, names in found.items()}
    kinds = {plural: names for plural, names in kinds.items() if names}
    named = [name for names in kinds.values() for name in names]
    return kinds if len(kinds) > 1 and len(named) == len(set(named)) else {}


def _with_interval(value: Any, interval: Sequence[float] | None) -> str:
    return as_text(value) + (f" ({as_text(interval[0])} – {as_text(interval[1])})" if interval and value is not None else "")
