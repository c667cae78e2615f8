"""The report of an evaluation: figures by name, the values over bodies behind each, and its interval."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files import parse_table, read_file, write_atomic
from nca3d.reports.values import WORST, as_text, bootstrap, flat, json_safe, mean, meaning, measured_values, wilson
from nca3d.schema.record import Open, check_record, optional

# The version of a report's JSON. 1: figures at the top level, for an evaluation and a training run alike; no number: older.
SCHEMA = 1

# Endings of names of figures that are shares of questions, each right or wrong: these have Wilson intervals.
SHARES = ("top1", "top5")


@dataclass(frozen=True)
class ReportFile(Open):
    """What stands beside the figures of a report, which have names of their own."""

    schema: int = optional("the version of the file", low=0)
    spread: dict[str, Any] | None = optional("the values behind figures")
    intervals: dict[str, Any] | None = optional("the intervals of figures")
    series: dict[str, Any] | None = optional("what charts are drawn from")
    about: dict[str, Any] | None = optional("what was evaluated")


class Report(dict[str, Any]):
    """Figures by name, nested by study: `report["heal_iou"]["sphere"]` is also `report["heal_iou.sphere"]`.

    As JSON it is one table: `schema`, a number that rises when a reader of the old shape would misread the new one (`SCHEMA`);
    the figures; and beside them `spread`, `intervals`, `series` and `about`.

    Attributes:
        spread: The values over the bodies behind a figure, by its dotted name; None where a body has none.
        intervals: [low, high] of a figure with a spread, by its dotted name: the 95 % bootstrap interval of the mean over
            bodies (Efron 1979), or the Wilson interval of a share of questions (`SHARES`). None where there is none, as for
            figures of the worst body (`WORST`).
        series: The series that charts are drawn from: growth, hold, recovery, grid.
        about: What was evaluated: name, target, size, preset, versions; of a training run its title and config too, and the
            names of a folder's pictures.
    """

    def __init__(
        self,
        figures: Mapping[str, Any] | None = None,
        spread: Mapping[str, list[Any]] | None = None,
        series: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
        intervals: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(figures or {})
        self.spread: dict[str, list[Any]] = dict(spread or {})
        self.series, self.about = dict(series or {}), dict(about or {})
        # Reports of 0.1.0 have a spread and no intervals: they are computed when such a report is read. Older reports and
        # cards have an interval of the mean beside the figure of the worst body, which may lie outside of it.
        known = {name: _interval(name, values) for name, values in self.spread.items()} if intervals is None else intervals
        self.intervals: dict[str, Any] = {name: None if name in WORST else interval for name, interval in known.items()}

    def __missing__(self, name: str) -> object:
        """Finds a figure by its dotted name, as in `report["heal_iou.sphere"]`."""
        return dict(flat(self))[name]

    def put(self, path: str | Sequence[str], values: Sequence[float | None]) -> None:
        """Enters a figure: the mean of its values with its interval, or the worst of them (`WORST`); and their spread.

        Args:
            path: The figure's name, or the names along which it is nested.
            values: One value for each body or question; None = that one has none, and the mean leaves it out.
        """
        *outer, last = (path,) if isinstance(path, str) else path
        place: dict[str, Any] = self
        for part in outer:
            place = place.setdefault(part, {})
        name = ".".join([*outer, last])
        known = [value for value in values if value is not None]
        place[last] = min(known, default=None) if name in WORST else mean(values)
        self.spread[name], self.intervals[name] = list(values), _interval(name, values)

    def meaning(self, name: str) -> str:
        """Returns in words what the figure of a dotted name is, where it could be mistaken; else ""."""
        samples = self.get("samples")
        # A card has no spread, but says of how many bodies its figures are.
        return meaning(name, self.spread.get(name) or ([0.0] * samples if isinstance(samples, int) else ()))

    def rows(self) -> list[tuple[str, object]]:
        """Returns all figures as (name, value), with nested names joined by dots: `heal_iou.sphere`."""
        return list(flat(self))

    def strict(self) -> "Report":
        """Returns the same report as strict JSON can hold it: non-finite numbers become None."""
        parts: list[Any] = [json_safe(part) for part in (dict(self), self.spread, self.series, self.about, self.intervals)]
        return Report(*parts)

    def to_json(self, path: str | Path | None = None) -> str:
        """Returns the report as strict JSON, and writes it to `path` if there is one, whole or not at all."""
        parts = {"spread": self.spread, "intervals": self.intervals, "series": self.series, "about": self.about}
        # allow_nan=False: Python's "NaN" is no JSON, and a browser would refuse the whole file.
        text = json.dumps(json_safe({"schema": SCHEMA, **self, **parts}), indent=2, allow_nan=False)
        if path is not None:
            write_atomic(Path(path), (text + "\n").encode())
        return text

    @classmethod
    def from_json(cls, text: str | bytes, where: object = "report") -> "Report":
        """Reads a report that `to_json` wrote, or one of the two shapes of version 0.1.0.

        Args:
            text: The JSON.
            where: The name that errors give it, such as the path of a file.

        Raises:
            InputError: If it is no JSON table, one of a newer schema, or a part of it has another shape.
        """
        try:
            record = parse_table(text, where)
        except InputError as error:
            raise InputError(where, "report", error.found, "the table that an evaluation writes (report.json)") from None
        check_record(record, ReportFile, where)
        if (schema := record.pop("schema", 0)) > SCHEMA:
            raise InputError(where, "schema", schema, f"up to {SCHEMA}: a newer nca3d wrote this report")
        for name, values in (record.get("spread") or {}).items():
            if not _are_values(name, values):
                raise InputError(where, f"spread.{name}", values, "a list of numbers, each 0 .. 1 in a share")
        for name, ends in (record.get("intervals") or {}).items():
            if ends is not None and not (isinstance(ends, list) and len(ends) == 2):
                raise InputError(where, f"intervals.{name}", ends, "[low, high]")
        # In 0.1.0 a run's figures were one entry among others; an evaluation's stood at the top level, as all do now.
        if isinstance(record.get("figures"), dict):
            figures = record.pop("figures")
            return cls(figures, record.pop("spread", {}), about=record)
        spread, series, about = (record.pop(name, {}) for name in ("spread", "series", "about"))
        return cls(record, spread, series, about, record.pop("intervals", None))

    def to_markdown(self) -> str:
        """Returns a Markdown table of all figures: value, 95 % interval and range over bodies or questions, meaning."""
        lines = ["| measure | value | 95 % interval | range | what it is |", "|---|--:|---|---|---|"]
        for name, value in self.rows():
            interval, values = self.intervals.get(name), measured_values(self.spread.get(name, []))
            ends = f"{as_text(interval[0])} – {as_text(interval[1])}" if interval else ""
            span = f"{as_text(min(values))} – {as_text(max(values))}" if values else ""
            lines.append(f"| {name} | {as_text(value)} | {ends} | {span} | {self.meaning(name)} |")
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None) -> str:
        """Returns one self-contained HTML page with its charts, and writes it to `path` if there is one."""
        # Inside, because a kind's charts need matplotlib, and `compare` needs this class.
        from nca3d.reports.compare import kind_of
        from nca3d.reports.page import render_page
        from nca3d.reports.pictures import Chart, png_of

        report, kind = self.strict(), kind_of(self)
        pictures = {name: Chart(png_of(figure)) for name, figure in kind.figures(report).items()}
        page = render_page(report, kind.words(report, pictures), pictures)
        if path is not None:
            write_atomic(Path(path), page.encode())
        return page


def _interval(name: str, values: Sequence[Any]) -> list[float] | None:
    """Returns the 95 % interval of a figure, of the kind that its name asks for; None where it has none."""
    if name in WORST:
        return None
    return wilson(values) if name.endswith(SHARES) else bootstrap(values)


def _are_values(name: str, values: object) -> bool:
    """Whether the spread of a figure is a list of numbers from which its interval can be computed."""
    # Python's integers have no largest one, but its floats do.
    low, high = (0.0, 1.0) if name.endswith(SHARES) else (-sys.float_info.max, sys.float_info.max)
    # True and False are the 1 and 0 of a share.
    return isinstance(values, list) and all(v is None or (isinstance(v, int | float) and low <= v <= high) for v in values)


def read_report(path: Path) -> Report:
    """Reads a report from disk.

    Args:
        path: A report.json, or a folder that has one (of an evaluation or of a run).

    Raises:
        InputError: If there is no report, or it has no figure.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        data = read_file(file)
    except InputError as error:
        allowed = "a folder with report.json: nca3d evaluate makes one"
        raise InputError(path, "report", error.found, allowed) from None
    report = Report.from_json(data, file)
    # Any table is JSON, a package.json too.
    if not any(isinstance(value, int | float) for _, value in report.rows()):
        raise InputError(file, "report", "no figure in it", "a report.json that nca3d wrote")
    return report
