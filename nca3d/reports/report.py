"""What an evaluation found: figures by name, the values over bodies behind each, and how sure each is."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nca3d.errors import InputError
from nca3d.files import write_atomic
from nca3d.reports.values import as_text, bootstrap, flat, json_safe, mean, measured_values, wilson

# Of a report's JSON: 1 = figures at the top level, of an evaluation and of a training run alike; without a number: older.
SCHEMA = 1

# How the names of figures end that are shares of questions, each right or wrong: they have Wilson intervals.
SHARES = ("top1", "top5")


class Report(dict[str, Any]):
    """Figures by name, nested by study: `report["heal_iou"]["sphere"]` is also `report["heal_iou.sphere"]`.

    As JSON it is one table: `schema`, a number that rises when a reader of the old shape would misread the new one (`SCHEMA`);
    the figures; and beside them `spread`, `intervals`, `series` and `about`.

    Attributes:
        spread: the values over the bodies behind a figure, by its dotted name; None where a body has none.
        intervals: [low, high] of a figure with a spread: 95 % bootstrap interval of the mean over bodies, or Wilson's of
            a share of questions (`SHARES`).
        series: what pictures are drawn from: growth, hold, recovery, grid.
        about: what was evaluated: name, target, size, preset, versions; of a training run its title and config too, and the
            files of a folder's pictures.
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
        self.intervals: dict[str, Any] = (
            {name: _interval(name, values) for name, values in self.spread.items()} if intervals is None else dict(intervals)
        )

    def __missing__(self, name: str) -> Any:
        return dict(flat(self))[name]

    def put(self, path: str | Sequence[str], values: Sequence[float | None]) -> None:
        """Enter a figure, nested along a path: the mean of its values over those bodies or questions that have one."""
        *outer, last = (path,) if isinstance(path, str) else path
        place: dict[str, Any] = self
        for part in outer:
            place = place.setdefault(part, {})
        name = ".".join([*outer, last])
        place[last], self.spread[name], self.intervals[name] = mean(values), list(values), _interval(name, values)

    def rows(self) -> list[tuple[str, object]]:
        """(name, value) with nested names joined by dots: `heal_iou.sphere`."""
        return list(flat(self))

    def strict(self) -> "Report":
        """The same report in what strict JSON can say: non-finite numbers become None."""
        return Report(*map(json_safe, (dict(self), self.spread, self.series, self.about, self.intervals)))

    def to_json(self, path: str | Path | None = None) -> str:
        """The report as strict JSON; written to `path` too if given, whole or not at all."""
        parts = {"spread": self.spread, "intervals": self.intervals, "series": self.series, "about": self.about}
        text = json.dumps(json_safe({"schema": SCHEMA, **self, **parts}), indent=2, allow_nan=False)
        if path is not None:
            write_atomic(Path(path), (text + "\n").encode())
        return text

    @classmethod
    def from_json(cls, text: str | bytes, where: object = "report") -> "Report":
        """A report that `to_json` wrote, or one of the two shapes of 0.1.0: an evaluation's, or a run's with its own `figures`.

        Raises:
            InputError: no JSON table, or one of a newer schema.
        """
        try:
            record = json.loads(text)
        except ValueError as error:
            raise InputError(where, "report", error, "a report.json that nca3d wrote") from None
        if not isinstance(record, dict):
            raise InputError(where, "report", f"a {type(record).__name__}", "the table that an evaluation writes")
        schema = record.pop("schema", 0)
        if not isinstance(schema, int) or schema > SCHEMA:
            raise InputError(where, "schema", schema, f"up to {SCHEMA}: a newer nca3d wrote this report")
        if isinstance(record.get("figures"), dict):  # a run of 0.1.0: its figures were one entry among others
            figures = record.pop("figures")
            return cls(figures, record.pop("spread", {}), about=record)
        spread, series, about = (record.pop(name, {}) for name in ("spread", "series", "about"))
        return cls(record, spread, series, about, record.pop("intervals", None))

    def to_markdown(self) -> str:
        """A table for a paper: mean, 95 % interval and range over bodies or questions."""
        lines = ["| measure | value | 95 % interval | range |", "|---|--:|---|---|"]
        for name, value in self.rows():
            interval, values = self.intervals.get(name), measured_values(self.spread.get(name, []))
            sure = f"{as_text(interval[0])} – {as_text(interval[1])}" if interval else ""
            span = f"{as_text(min(values))} – {as_text(max(values))}" if values else ""
            lines.append(f"| {name} | {as_text(value)} | {sure} | {span} |")
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None) -> str:
        """One self-contained page with its plots; written to `path` too if given, whole or not at all."""
        from nca3d.reports.compare import kind_of
        from nca3d.reports.folder import data_url, png_of
        from nca3d.reports.page import render_page

        report, kind = self.strict(), kind_of(self)
        pictures = {name: data_url(png_of(figure)) for name, figure in kind.figures(report).items()}
        page = render_page(report, kind.words(report, pictures), pictures)
        if path is not None:
            write_atomic(Path(path), page.encode())
        return page


def _interval(name: str, values: Sequence[Any]) -> list[float] | None:
    return wilson(values) if name.endswith(SHARES) else bootstrap(values)


def read_report(path: Path) -> Report:
    """A report from disk: a report.json, or a folder that has one (of an evaluation or of a run).

    Raises:
        InputError: no report there.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        return Report.from_json(file.read_bytes(), file)
    except OSError as error:
        allowed = "a folder with report.json: nca3d evaluate makes one"
        raise InputError(path, "report", error.strerror or error, allowed) from None
