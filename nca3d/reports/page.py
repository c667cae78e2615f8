"""The page of a report: figures, pictures and film set into `report_template.html`, nothing loaded from elsewhere."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from nca3d.reports.values import flat, is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

TEMPLATE = "report_template.html"
# What a report says about itself that has a place of its own on the page.
OF_THE_RUN = ("title", "config", "versions", "files")


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


class Words(NamedTuple):
    """What a page says: headline and the sentence under it, its parts in order, figures with a goal, how all is to be read."""

    title: str
    lead: str
    sections: Sequence[Section]
    measures: Iterable[Measure]
    footer: str


class Kind(NamedTuple):
    """How reports of one kind are told.

    Attributes:
        headlines: figures by dotted name or pattern: who has one is of this kind, and comparisons draw them.
        figures: the pictures that a report's series and figures can be drawn as, by name.
        words: what the page says, given the names of its pictures.
    """

    headlines: tuple[str, ...]
    figures: "Callable[[Report], dict[str, Figure]]"
    words: "Callable[[Report, Collection[str]], Words]"


def render_page(report: "Report", words: Words, pictures: Mapping[str, str], *, hero: str = "", config_toml: str = "") -> str:
    """The whole page as text.

    Args:
        report: figures, None where missing; intervals, shown beside them; what it is about, shown as a table.
        words: what is said.
        pictures: data URLs by name.
        hero: HTML of the large picture beside the measures (`film_html`, `still_html`); empty = measures alone.
        config_toml: shown as it is.
    """
    template = Template(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    rows = {name: _shown(value) + _interval_text(report.intervals.get(name)) for name, value in flat(report)}
    about = {name: value for name, value in report.about.items() if name not in OF_THE_RUN}
    return template.substitute(
        title=escape(words.title),
        lead=escape(words.lead),
        hero=f'<figure class="hero-film"><div class="paper">{hero}</div></figure>' if hero else "",
        measures="\n".join(_measure(measure) for measure in words.measures),
        facts="\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _facts(report)),
        sections="\n".join(section.html(pictures) for section in words.sections),
        figures=_table(rows),
        config=f"<details><summary>Config</summary>\n<pre>{escape(config_toml.strip())}</pre>\n</details>"
        if config_toml
        else "",
        versions=_table(about | report.about.get("versions", {})),
        footer=escape(words.footer),
    )


def _measure(measure: Measure) -> str:
    value = measure.value
    if not is_number(value):
        return (
            f'<div class="measure short"><div class="row"><b>{escape(measure.name)}</b><span class="value">—</span></div>'
            f'<div class="note">{escape(measure.note)} · <span class="verdict">not measured</span></div></div>'
        )
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
    known = {name: value for name, value in figures.items() if is_number(value)}
    for name, said in (("params", "parameters"), ("iterations", "training iterations")):
        if name in known:
            yield said, f"{known[name]:,.0f}"
    if "training_seconds" in known:
        seconds = known["training_seconds"]
        yield "training time", f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
    for name, said in (("seconds_per_epoch", "seconds an epoch"), ("samples_a_second", "samples a second")):
        if name in known:
            yield said, f"{known[name]:,.3g}" if known[name] < 1000 else f"{known[name]:,.0f}"
    if "horizon" in known:
        yield "horizon, in steps", f"{known['horizon']:,.0f}"
    if "steps_held" in known:
        tried = f" of {known['steps_tried']:,.0f}" if "steps_tried" in known else ""
        yield "steps held in shape", f"{known['steps_held']:,.0f}{tried}"


def _picture(url: str, alternative: str, caption: str) -> str:
    return (
        f'<figure><div class="paper"><img alt="{escape(alternative)}" src="{url}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def film_html(url: str, poster: str, alternative: str = "film of growth, cut and healing") -> str:
    """A film that plays by itself, its poster shown until it does (data URLs)."""
    if url.startswith("data:video"):
        return f'<video autoplay loop muted playsinline controls poster="{poster}" src="{url}"></video>'
    return still_html(url, alternative)


def still_html(url: str, alternative: str) -> str:
    """A picture in the place of a film."""
    return f'<img alt="{escape(alternative)}" src="{url}">'


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(_shown(value))}</td></tr>" for name, value in rows.items())


def _shown(value: Any) -> str:
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _interval_text(interval: Any) -> str:
    return f"  ({interval[0]:.4g} – {interval[1]:.4g})" if interval else ""
