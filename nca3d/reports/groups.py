"""Runs in groups, such as the random seeds of one setting: mean, spread and interval of each figure, as tables and a chart.

Markdown to read, CSV to compute with, LaTeX (booktabs) for a paper: the same rows in all three.
"""

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nca3d.files import vacate, write_atomic
from nca3d.reports.values import as_text, bootstrap, display_name, measured_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What LaTeX takes for commands, and how it writes them.
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "—": "---",
    "±": r"$\pm$",
}
# Means below it have no three decimals that differ.
SMALL = 0.01
CAPTION = "Mean ± standard deviation over {runs}, and in parentheses the 95 % bootstrap interval of the mean (Efron 1979)."


@dataclass(frozen=True)
class Group:
    """Runs that share a setting.

    Attributes:
        setting: the values that they share, as texts, in the order of the table's columns.
        runs: the figures of each run, by name; None where a run lacks one.
        notes: what is to be said beside the figures, such as "1 failed".
    """

    setting: tuple[str, ...]
    runs: Sequence[Mapping[str, float | None]]
    notes: tuple[str, ...] = ()

    def values(self, name: str) -> list[float]:
        """Returns a figure of those runs that have it."""
        return measured_values(run.get(name) for run in self.runs)


@dataclass(frozen=True)
class Spread:
    """A figure over the runs of a group.

    Attributes:
        count: the number of runs that have it.
        mean: the mean; None without a run.
        deviation: the standard deviation (of a sample, n − 1); None for fewer than two runs.
        interval: the 95 % bootstrap interval of the mean; None for fewer than two runs.
    """

    count: int
    mean: float | None = None
    deviation: float | None = None
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Returns the spread of these values."""
        if not values:
            return cls(0)
        low_high = bootstrap(values)
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(len(values), statistics.fmean(values), deviation, (low_high[0], low_high[1]) if low_high else None)

    def text(self) -> str:
        """Returns it as tables show it: `0.912 ± 0.013 (0.901 – 0.923)`; "—" for what was not measured."""
        if self.mean is None:
            return as_text(None)
        # Of small figures, such as losses, three digits that say something.
        number = as_text if self.mean == 0 or abs(self.mean) >= SMALL else "{:.3g}".format
        text = number(self.mean)
        text += f" ± {number(self.deviation)}" if self.deviation is not None else ""
        return text + (f" ({number(self.interval[0])} – {number(self.interval[1])})" if self.interval else "")


@dataclass(frozen=True)
class GroupTable:
    """Groups of runs with their figures.

    Attributes:
        fields: the names of what tells the groups apart.
        figures: the names of the figures, a column each.
        groups: the groups, a row each.
        what: what the runs of a group are, in the plural.
    """

    fields: Sequence[str]
    figures: Sequence[str]
    groups: Sequence[Group]
    what: str = "runs"
    spreads: Sequence[Mapping[str, Spread]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spreads = [{name: Spread.of(group.values(name)) for name in self.figures} for group in self.groups]
        object.__setattr__(self, "spreads", spreads)

    def _head(self) -> list[str]:
        noted = ["notes"] if any(group.notes for group in self.groups) else []
        return [*self.fields, "n", *self.figures, *noted]

    def _rows(self) -> list[list[str]]:
        rows = []
        for group, spreads in zip(self.groups, self.spreads, strict=True):
            row = [*group.setting, str(len(group.runs)), *(spreads[name].text() for name in self.figures)]
            rows.append([*row, ", ".join(group.notes)][: len(self._head())])
        return rows

    def _caption(self) -> str:
        return CAPTION.format(runs=self.what)

    def to_markdown(self) -> str:
        """Returns the table in Markdown, with a line below that says what its numbers are."""
        head = self._head()
        ends = "".join("---|" if name in (*self.fields, "notes") else "--:|" for name in head)
        lines = [f"| {' | '.join(map(_in_cell, row))} |" for row in (head, *self._rows())]
        return "\n".join([lines[0], f"|{ends}", *lines[1:], "", self._caption()]) + "\n"

    def to_csv(self) -> str:
        """Returns the table as CSV, a column for each number: n, mean, sd, low and high of each figure."""
        parts = ("n", "mean", "sd", "low", "high")
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*self.fields, "runs", *(f"{name}.{part}" for name in self.figures for part in parts), "notes"])
        for group, spreads in zip(self.groups, self.spreads, strict=True):
            numbers: list[float | int | None] = []
            for spread in spreads.values():
                numbers += [spread.count, spread.mean, spread.deviation, *(spread.interval or (None, None))]
            row = [*group.setting, len(group.runs), *("" if number is None else f"{number:.8g}" for number in numbers)]
            writer.writerow([*row, "; ".join(group.notes)])
        return text.getvalue()

    def to_latex(self) -> str:
        """Returns the table in LaTeX, a `tabular` with the rules of the package booktabs."""
        head = self._head()
        columns = "".join("l" if name in (*self.fields, "notes") else "r" for name in head)
        lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (head, *self._rows())]
        body = [lines[0], r"\midrule", *lines[1:]]
        return "\n".join(
            [
                r"% \usepackage{booktabs}",
                rf"% {self._caption()}",
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                "",
            ]
        )

    def figure(self, title: str | None = None) -> "Figure":
        """Returns a chart: a panel for each figure, in it a line for each group, with a dot for each run, mean and interval."""
        import visualize

        rows: dict[str, dict[str, list[float]]] = {}
        intervals: dict[str, dict[str, tuple[float, float] | None]] = {}
        for group, spreads in zip(self.groups, self.spreads, strict=True):
            name = ", ".join(group.setting) or "all"
            rows[name] = {display_name(figure): group.values(figure) for figure in self.figures}
            intervals[name] = {display_name(figure): spread.interval for figure, spread in spreads.items()}
        # Above the names stands once what they are values of.
        return visualize.strip_plot(rows, intervals=intervals, label=", ".join(map(display_name, self.fields)), title=title)


def write_tables(folder: Path, table: GroupTable, name: str = "table", picture: str = "table") -> list[Path]:
    """Writes a table and its chart into a folder, and returns the files: NAME.md, .csv, .tex, and PICTURE.png."""
    parts = {f"{name}.{ending}": text.encode() for ending, text in (("md", table.to_markdown()), ("csv", table.to_csv()))}
    parts[f"{name}.tex"] = table.to_latex().encode()
    if table.figures:
        from nca3d.reports.pictures import png_of

        parts[f"{picture}.png"] = png_of(table.figure())
    for file, data in parts.items():
        write_atomic(vacate(folder / file), data)
    return [folder / file for file in parts]


def _in_cell(text: str) -> str:
    """Returns a text that doesn't end a cell of a Markdown table."""
    return " ".join(text.replace("|", r"\|").split())


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in text)
