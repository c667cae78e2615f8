"""The page of a run's report: figures, pictures and film set into `report_template.html`, nothing loaded from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

TEMPLATE = "report_template.html"


class Measure(NamedTuple):
    """One figure as the page shows it: what it is called, what it means, and how much was asked for."""

    name: str
    note: str
    value: float | None
    goal: float


def render_page(
    *,
    title: str,
    lead: str,
    film: str,
    poster: str,
    pictures: Mapping[str, str],
    figures: Mapping[str, Any],
    config_toml: str,
    versions: Mapping[str, str],
) -> str:
    """The whole page as text.

    Args:
        title, lead: headline and the sentence under it.
        film, poster: data URLs of the film and of the picture shown until it runs.
        pictures: data URLs by name: growth, heal-*, curves, timeline.
        figures: numbers by name, None where missing, nested by damage.
        config_toml: shown as it is.
        versions: shown as a table.
    """
    template = Template(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title),
        lead=escape(lead),
        film=_film(film, poster),
        measures="\n".join(_measure(measure) for measure in measures(figures)),
        facts="\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(figures)),
        sections="\n".join(_sections(pictures)),
        figures=_table(dict(_flat(figures))),
        config=escape(config_toml.strip()),
        versions=_table(versions),
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
        f'<div class="row"><b>{escape(measure.name)}</b><span class="value">{value:.3f}</span></div>'
        f'<div class="bar"><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i>'
        f'<u style="left:{100 * measure.goal:.1f}%"></u></div>'
        f'<div class="note">{escape(measure.note)} · <span class="verdict">{verdict}</span></div></div>'
    )


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
    if _is_number(figures.get("horizon")):
        yield "horizon, in steps", f"{figures['horizon']:,.0f}"
    if _is_number(figures.get("steps_held")):
        tried = figures.get("steps_tried")
        yield "steps held in shape", f"{figures['steps_held']:,.0f}" + (f" of {tried:,.0f}" if _is_number(tried) else "")


def _sections(pictures: Mapping[str, str]) -> Iterator[str]:
    yield "<h2>Growth</h2>\n<p>From one cell to the body, and the target that it was asked for.</p>"
    yield _picture(pictures["growth"], "growth, frame by frame", "The same eye throughout; pale cells are still faint.")
    healings = {name: url for name, url in pictures.items() if name.startswith("heal-")}
    if healings:
        yield "<h2>Cut and healing</h2>\n<p>Cells in the wound lose all they knew; only their neighbours can rebuild them.</p>"
    for name, url in healings.items():
        damage = name.removeprefix("heal-").replace("_", " ")
        yield _picture(url, f"healing after {damage}", f"{damage[:1].upper()}{damage[1:]}: before, cut, and steps since.")
    if "timeline" in pictures:
        yield "<h2>A life in numbers</h2>\n<p>Overlap with the target at every step, through growth, cut and healing.</p>"
        yield _picture(pictures["timeline"], "IoU against steps", "One body for each damage; they share their growth.")
    yield "<h2>Training</h2>\n<p>What was asked for, and how close the bodies came.</p>"
    yield _picture(pictures["curves"], "loss and IoU over training", "Thin: every record. Thick: smoothed.")


def _picture(url: str, alternative: str, caption: str) -> str:
    return (
        f'<figure><div class="paper"><img alt="{escape(alternative)}" src="{url}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _film(url: str, poster: str) -> str:
    if url.startswith("data:video"):
        return f'<video autoplay loop muted playsinline controls poster="{poster}" src="{url}"></video>'
    return f'<img alt="film of growth, cut and healing" src="{url}">'


def _flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(_shown(value))}</td></tr>" for name, value in rows.items())


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
