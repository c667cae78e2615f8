"""The page of a report, of a run or of an evaluation: figures, pictures and film set into `report_template.html`, nothing
loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from nca3d.reports.report import flat

TEMPLATE = "report_template.html"
FOOTER = (
    "IoU is the overlap of a body with its target: cells occupied in both, divided by cells occupied in either (occupied: "
    "alpha above 0.1). It is measured with random draws that training never used."
)


class Measure(NamedTuple):
    """One figure as the page shows it: what it is called, what it means, and how much was asked for."""

    name: str
    note: str
    value: float | None
    goal: float


@dataclass(frozen=True)
class Section:
    """One part of a page: what it is about, its pictures as (name, caption), a table and more HTML below them."""

    title: str
    lead: str
    pictures: Sequence[tuple[str, str]] = ()
    rows: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""

    def html(self, urls: Mapping[str, str]) -> str:
        """The part as HTML; pictures without a data URL are left out, and so is a part that has nothing to show."""
        shown = [_picture(urls[name], f"{self.title}: {name}", caption) for name, caption in self.pictures if name in urls]
        if not shown and not self.rows and not self.more:
            return ""
        table = f"<table>{_table(self.rows)}</table>" if self.rows else ""
        return f"<h2>{escape(self.title)}</h2>\n<p>{escape(self.lead)}</p>\n" + "\n".join(shown) + table + self.more


def render_page(
    *,
    title: str,
    lead: str,
    figures: Mapping[str, Any],
    sections: Sequence[Section],
    pictures: Mapping[str, str],
    hero: str = "",
    intervals: Mapping[str, Any] | None = None,
    config_toml: str = "",
    versions: Mapping[str, Any] | None = None,
    footer: str = FOOTER,
) -> str:
    """The whole page as text.

    Args:
        title, lead: headline and the sentence under it.
        figures: numbers by name, None where missing, nested by damage or study.
        sections: the parts, in order.
        pictures: data URLs by name.
        hero: HTML of the large picture beside the measures (`film_html`, `still_html`); empty = measures alone.
        intervals: [low, high] by the dotted name of a figure, shown beside it.
        config_toml: shown as it is.
        versions: shown as a table.
        footer: the last words, on how the figures are to be read.
    """
    template = Template(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    rows = {name: _shown(value) + _sure((intervals or {}).get(name)) for name, value in flat(figures)}
    return template.substitute(
        title=escape(title),
        lead=escape(lead),
        hero=f'<figure class="hero-film"><div class="paper">{hero}</div></figure>' if hero else "",
        measures="\n".join(_measure(measure) for measure in measures(figures)),
        facts="\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(figures)),
        sections="\n".join(section.html(pictures) for section in sections),
        figures=_table(rows),
        config=_details("Config", f"<pre>{escape(config_toml.strip())}</pre>") if config_toml else "",
        versions=_table(versions or {}),
        footer=escape(footer),
    )


def measures(figures: Mapping[str, Any]) -> Iterator[Measure]:
    """The figures with a goal, in the order in which a body lives: grow, hold, heal."""
    horizon = figures.get("horizon")
    if "grow_iou" in figures:
        when = f"at step {horizon:g}, the horizon" if _is_number(horizon) else "at the horizon"
        yield Measure("Grown", f"IoU with the target {when}", figures["grow_iou"], 0.95)
    for key, value in figures.items():
        held = re.fullmatch(r"hold_iou_(\d+)", key)
        if held:
            yield Measure("Held", f"IoU {int(held[1]):,} steps later, with no retraining", value, 0.93)
    hurt = figures.get("hurt_iou")
    for damage, value in _by_damage(figures, "heal_iou"):
        before = hurt.get(damage) if isinstance(hurt, Mapping) else None
        start = f"from {before:.2f} right after the cut" if _is_number(before) else "once healed"
        yield Measure(f"Healed, {damage.replace('_', ' ')}", f"IoU {start}", value, 0.90)
    grid = figures.get("regeneration", {})
    if "recovered_small" in grid:
        yield Measure("Recovered, small wounds", "of bodies, whole grid up to 25 %", grid["recovered_small"], 0.95)
    if "recovered_half_space" in grid:
        yield Measure("Recovered, halves", "of bodies, cut in six directions", grid["recovered_half_space"], 0.80)
    yield from _cube_measures(dict(flat(figures)))


def _cube_measures(figures: Mapping[str, Any]) -> Iterator[Measure]:
    """Those of a cube that answers: does it know, does it do more than the best straight line, do all its cells learn?"""
    if "split.test.top1" in figures:
        straight = figures.get("ridge.test.top1")
        rival = "ridge regression on the same embeddings" if straight is not None else "chance"
        note = f"share answered right (top-1); the goal is what {rival} reaches"
        goal = straight if straight is not None else figures.get("chance") or 0.0
        yield Measure("Right, on new questions", note, figures["split.test.top1"], goal)
    if "margin.compose" in figures:
        note = "share answered right, less that of ridge regression"
        yield Measure("Ahead, on new combinations", note, figures["margin.compose"], 0.10)
    if "cells_with_gradient" in figures:
        note = "share of cells that the answer's loss reaches"
        yield Measure("Cells that learn", note, figures["cells_with_gradient"], 1.0)


def _by_damage(figures: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    value = figures.get(key, {})
    yield from value.items() if isinstance(value, Mapping) else [("", value)]
    yield from ((name.removeprefix(f"{key}."), inner) for name, inner in figures.items() if name.startswith(f"{key}."))


def _measure(measure: Measure) -> str:
    value = measure.value
    if not _is_number(value):
        return (
            f'<div class="measure short"><div class="row"><b>{escape(measure.name)}</b><span class="value">—</span></div>'
            f'<div class="note">{escape(measure.note)} · <span class="verdict">not measured</span></div></div>'
        )
    assert value is not None
    reached = value >= measure.goal
    verdict = f"goal {measure.goal:.2f} {'reached' if reached else 'missed'}"
    return (
        f'<div class="measure{"" if reached else " short"}">'
        f'<div class="row"><b>{escape(measure.name)}</b><span class="value">{_short_of(value, measure.goal)}</span></div>'
        f'<div class="bar"><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i>'
        f'<u style="left:{100 * measure.goal:.1f}%"></u></div>'
        f'<div class="note">{escape(measure.note)} · <span class="verdict">{verdict}</span></div></div>'
    )


def _short_of(value: float, goal: float) -> str:
    """Three decimals, more where rounding would lift a figure to the goal that it misses."""
    texts = [f"{value:.{decimals}f}" for decimals in (3, 4, 5, 6)]
    return texts[0] if value >= goal else next((text for text in texts if float(text) < goal), texts[-1])


def _facts(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Plain numbers that say how big and how long."""
    seconds = figures.get("training_seconds")
    if _is_number(figures.get("params")):
        yield "parameters", f"{figures['params']:,.0f}"
    if _is_number(figures.get("iterations")):
        yield "training iterations", f"{figures['iterations']:,.0f}"
    if _is_number(seconds):
        assert isinstance(seconds, (int, float))
        yield "training time", f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
    for name, words in (("seconds_per_epoch", "seconds an epoch"), ("samples_a_second", "samples a second")):
        if _is_number(figures.get(name)):
            yield words, f"{figures[name]:,.3g}" if figures[name] < 1000 else f"{figures[name]:,.0f}"
    if _is_number(figures.get("horizon")):
        yield "horizon, in steps", f"{figures['horizon']:,.0f}"
    if _is_number(figures.get("steps_held")):
        tried = figures.get("steps_tried")
        yield "steps held in shape", f"{figures['steps_held']:,.0f}" + (f" of {tried:,.0f}" if _is_number(tried) else "")


def run_sections(pictures: Iterable[str]) -> list[Section]:
    """The parts of a training run's page, by the names of its pictures."""
    heals = [(name, name.removeprefix("heal-").replace("_", " ")) for name in pictures if name.startswith("heal-")]
    return [
        Section(
            "Growth",
            "From one cell to the body, and the target that it was asked for.",
            [("growth", "The same eye throughout; pale cells are still faint.")],
        ),
        Section(
            "Cut and healing",
            "Cells in the wound lose all they knew; only their neighbours can rebuild them.",
            [(name, f"{damage[:1].upper()}{damage[1:]}: before, cut, and steps since.") for name, damage in heals],
        ),
        Section(
            "A life in numbers",
            "Overlap with the target at every step, through growth, cut and healing.",
            [("timeline", "One body for each damage; they share their growth.")],
        ),
        Section(
            "Training",
            "What was asked for, and how close the bodies came.",
            [
                ("curves", "Thin: every record. Thick: smoothed."),
                ("pattern", "Pattern of the bodies, and distances between the states of the pool (0: all are copies)."),
            ],
        ),
    ]


def _picture(url: str, alternative: str, caption: str) -> str:
    return (
        f'<figure><div class="paper"><img alt="{escape(alternative)}" src="{url}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def film_html(url: str, poster: str, alternative: str = "film of growth, cut and healing") -> str:
    """A film that plays by itself, its poster shown until it does (data URLs)."""
    if url.startswith("data:video"):
        return f'<video autoplay loop muted playsinline controls poster="{poster}" src="{url}"></video>'
    return f'<img alt="{escape(alternative)}" src="{url}">'


def still_html(url: str, alternative: str) -> str:
    """A picture in the place of a film."""
    return f'<img alt="{escape(alternative)}" src="{url}">'


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(_shown(value))}</td></tr>" for name, value in rows.items())


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _details(summary: str, inner: str) -> str:
    return f"<details><summary>{summary}</summary>\n{inner}\n</details>"


def _sure(interval: Any) -> str:
    return f"  ({interval[0]:.4g} – {interval[1]:.4g})" if interval else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
