"""What an evaluation found: figures by name, the values over bodies behind each, and how sure each is."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from nca3d.errors import ArgumentError

RESAMPLES = 2000
"""How often the values are drawn anew for a bootstrap interval."""

SHARES = ("top1", "top5")
"""How the names of figures end that are shares of questions, each right or wrong: they have Wilson intervals."""


class Report(dict[str, Any]):
    """Figures by name, nested by study: `report["heal_iou"]["sphere"]` is also `report["heal_iou.sphere"]`.

    Attributes:
        spread: the values over the bodies behind a figure, by its dotted name; None where a body has none.
        intervals: [low, high] of a figure with a spread: 95 % bootstrap interval of the mean over bodies, or Wilson's of
            a share of questions (`SHARES`).
        series: what pictures are drawn from: growth, hold, recovery, grid.
        about: what was evaluated: name, target, size, preset, versions.
    """

    def __init__(
        self,
        figures: Mapping[str, Any],
        spread: Mapping[str, list[Any]],
        series: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(figures)
        self.spread = dict(spread)
        self.series, self.about = dict(series or {}), dict(about or {})
        self.intervals = {
            name: wilson(values) if name.endswith(SHARES) else bootstrap(values) for name, values in self.spread.items()
        }

    def __missing__(self, name: str) -> Any:
        for dotted, value in flat(self):
            if dotted == name:
                return value
        raise KeyError(name)

    def rows(self) -> list[tuple[str, Any]]:
        """(name, value) with nested names joined by dots: `heal_iou.sphere`."""
        return list(flat(self))

    def to_json(self, path: str | Path | None = None) -> str:
        """Figures, spread, intervals and series as strict JSON; written to `path` too if given."""
        record = {
            **self,
            "spread": self.spread,
            "intervals": self.intervals,
            "series": self.series,
            "about": self.about,
        }
        text = json.dumps(record, indent=2, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    @classmethod
    def from_json(cls, text: str) -> Report:
        """A report that `to_json` wrote.

        Raises:
            ValueError: no JSON table.
        """
        record = json.loads(text)
        if not isinstance(record, dict):
            raise ArgumentError("report", f"a {type(record).__name__}", "the table that an evaluation writes")
        parts = [record.pop(name, {}) for name in ("spread", "series", "about")]
        record.pop("intervals", None)
        return cls(record, *parts)

    def to_markdown(self) -> str:
        """A table for a paper: mean, 95 % interval and range over bodies or questions."""
        lines = ["| measure | value | 95 % interval | range |", "|---|--:|---|---|"]
        for name, value in self.rows():
            interval, values = self.intervals.get(name), _measured(self.spread.get(name, []))
            sure = f"{shown(interval[0])} – {shown(interval[1])}" if interval else ""
            span = f"{shown(min(values))} – {shown(max(values))}" if values else ""
            lines.append(f"| {name} | {shown(value)} | {sure} | {span} |")
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None) -> str:
        """One self-contained page with its plots; written to `path` too if given. `study.write_study` adds bodies."""
        from nca3d.reports.run import png_of
        from nca3d.reports.study import study_figures, study_page

        page = study_page(self, {name: png_of(figure) for name, figure in study_figures(self).items()})
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as (dotted name, value)."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def shown(value: Any) -> str:
    """A figure as tables show it; "—" for what was not measured."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what was measured; None if nothing was."""
    measured = _measured(values)
    return statistics.fmean(measured) if measured else None


def _measured(values: Iterable[Any]) -> list[float]:
    return [float(value) for value in values if value is not None]


def bootstrap(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """The percentile interval of the mean (Efron 1979): values drawn anew, with replacement, `RESAMPLES` times.

    The draws are the same in every call, so that a report can be reproduced. With one value there is no telling: None.
    """
    measured = torch.tensor(_measured(values), dtype=torch.float64)
    if len(measured) < 2:
        return None
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(measured), (RESAMPLES, len(measured)), generator=generator)
    means = measured[picks].mean(dim=1)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = means.quantile(edges).tolist()
    return [low, high]


def wilson(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """The score interval of a share (Wilson 1927), of values that are each 0 or 1; None without any.

    None or all of a few say little, and so it tells: 0 of 5 may be anything up to 0.43, where drawing anew only ever finds 0.
    """
    measured = _measured(values)
    if not measured:
        return None
    count, share = len(measured), statistics.fmean(measured)
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    middle, shrunk = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    return [max(0.0, (middle - half) / shrunk), min(1.0, (middle + half) / shrunk)]
