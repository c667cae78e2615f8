"""Reports side by side or in groups: tables of figures and charts of the headlines; and the kinds of reports there are."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from nca3d.errors import ErrorCollector
from nca3d.registry import Registry
from nca3d.reports.body import BODIES
from nca3d.reports.groups import Group, GroupTable
from nca3d.reports.page import Kind
from nca3d.reports.several import SEVERAL
from nca3d.reports.values import MEANINGS, WORST, as_text, display_name, flat, is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

# The kinds of reports, by the plural of what they are about; a wing registers its own.
KINDS = Registry("report")
# Figures of several bodies are named like those of one: whoever asks first must know them apart.
KINDS["several"] = SEVERAL
KINDS["bodies"] = BODIES

# The number of letters that fit above a panel.
TITLE = 30

# How the chart calls headlines that could be mistaken for each other, by patterns of their names.
TITLES = {
    "heal_iou.*": "IoU after healing, {}",
    "regeneration.recovered_small": "healed, small wounds",
    "regeneration.recovered_half_space": "healed, halves",
    "steps_held": "steps held, by the worst body",
}

# Parts of the names of figures that a table of several reports leaves out: details by the dozen.
LEFT_OUT = ("pool_diversity", "recovered_each", "ran.", "memory.")


def kind_of(report: "Report") -> Kind:
    """Returns the first kind that has a headline among the figures of a report; bodies, if none has."""
    names = [name for name, _ in flat(report)]
    return next((kind for kind in KINDS.values() if headlines(kind, names)), BODIES)


def headlines(kind: Kind, names: Sequence[str]) -> list[str]:
    """Returns the names of figures that are headlines of a kind, in the kind's order."""
    return [name for pattern in kind.headlines for name in names if fnmatchcase(name, pattern)]


def in_groups(
    reports: "Mapping[str, Report]",
    settings: Mapping[str, tuple[str, ...]],
    fields: Sequence[str],
    patterns: Sequence[str] = (),
) -> GroupTable:
    """Puts reports that share a setting into one group, such as runs with several random seeds.

    Args:
        reports: The reports by name.
        settings: For each report the values of the fields, as texts.
        fields: The names of the fields.
        patterns: Names of the figures, or patterns of them; () = the headlines.

    Raises:
        InputErrors: A pattern names no figure of any report.
    """
    rows = {name: {key: float(value) for key, value in flat(report) if is_number(value)} for name, report in reports.items()}
    known = list(dict.fromkeys(key for row in rows.values() for key in row))
    with ErrorCollector() as errors:
        for pattern in patterns:
            missing = not any(fnmatchcase(name, pattern) for name in known)
            errors.add(missing, "--figures", "figure", repr(pattern), f"one of {', '.join(known)}")
    heads = patterns or [name for kind in KINDS.values() for name in headlines(kind, known)]
    chosen = list(dict.fromkeys(name for pattern in heads for name in known if fnmatchcase(name, pattern)))
    groups: dict[tuple[str, ...], list[dict[str, float]]] = {}
    for name, row in rows.items():
        groups.setdefault(settings[name], []).append(row)
    return GroupTable(fields, chosen, [Group(setting, members) for setting, members in groups.items()])


def compare(reports: "Mapping[str, Report]") -> "tuple[str, Figure]":
    """Puts reports side by side.

    Args:
        reports: The reports, by the names that the table and the chart give them.

    Returns:
        A Markdown table of all figures that any of them has, and a chart of the headlines. Below the table stands what those
        figures are that could be mistaken for each other; and where reports are of several kinds, that they have no headline
        in common.
    """
    import visualize

    rows = {name: dict(flat(report)) for name, report in reports.items()}
    # dict.fromkeys keeps the order of the first report, and adds what only the others have.
    names = dict.fromkeys(key for row in rows.values() for key in row)
    measures = [name for name in names if not any(part in name for part in LEFT_OUT)]
    lines = [f"| measure | {' | '.join(rows)} |", "|---|" + "--:|" * len(rows)]
    for measure in measures:
        cells = [_cell(reports[name], measure, row[measure]) if measure in row else "" for name, row in rows.items()]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    lines += _legend(measures)
    measured = [m for m in measures if any(is_number(row.get(m)) for row in rows.values())]
    by_kind = {plural: headlines(kind, measured) for plural, kind in KINDS.items()}
    drawn = {m: _title(m) for heads in by_kind.values() for m in heads}
    mixed, short = _mixed(rows, by_kind), _short_names(list(rows))
    intervals = {
        short[name]: {title: (span[0], span[1]) for m, title in drawn.items() if (span := report.intervals.get(m))}
        for name, report in reports.items()
    }
    explained = "Dots: the figures of each. Lines: their 95 % intervals." if any(intervals.values()) else None
    figure = visualize.compare(
        {short[name]: {title: row.get(m) for m, title in drawn.items()} for name, row in rows.items()},
        intervals=intervals,
        title=f"{' and '.join(mixed)}: no headline in common" if mixed else explained,
    )
    if mixed:
        kinds = " and ".join(f"{plural} ({', '.join(names)})" for plural, names in mixed.items())
        lines += ["", f"{kinds[:1].upper()}{kinds[1:]} have no headline in common."]
    return "\n".join(lines), figure


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """Returns for each name what the others don't share with it: of paths in one folder the last parts."""
    parts = {name: name.split("/") for name in names}
    # The last part stays, whatever is shared; zip ends with the shortest path.
    folders = zip(*(path[:-1] for path in parts.values()), strict=False) if len(names) > 1 else ()
    shared = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, folders))
    return {name: "/".join(path[shared:]) for name, path in parts.items()}


def _mixed(rows: Mapping[str, Mapping[str, Any]], by_kind: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the names of reports by kind, where there are several kinds and no report is of two; else an empty dict."""
    kinds = {plural: [name for name, row in rows.items() if row.keys() & set(heads)] for plural, heads in by_kind.items()}
    kinds = {plural: names for plural, names in kinds.items() if names}
    named = [name for names in kinds.values() for name in names]
    return kinds if len(kinds) > 1 and len(named) == len(set(named)) else {}


def _cell(report: "Report", name: str, value: object) -> str:
    """Returns a figure as text; in parentheses its interval, or of how many bodies it is the worst."""
    interval = report.intervals.get(name)
    ends = f"{as_text(interval[0])} – {as_text(interval[1])}" if interval else report.meaning(name) if name in WORST else ""
    return as_text(value) + (f" ({ends})" if ends and value is not None else "")


def _legend(names: Sequence[str]) -> list[str]:
    """Returns lines that say what those figures are that could be mistaken for each other."""
    known = [f"{pattern}: {words}" for pattern, words in MEANINGS.items() if any(fnmatchcase(name, pattern) for name in names)]
    return ["", *(f"- {line}" for line in known)] if known else []


def _title(name: str) -> str:
    """Returns what stands above the panel of a figure."""
    last = display_name(name.rpartition(".")[2])
    own = next((title.format(last) for pattern, title in TITLES.items() if fnmatchcase(name, pattern)), name)
    # A title that is too long gets spaces for its underscores: it can break there.
    return own if len(own) <= TITLE else display_name(own)
