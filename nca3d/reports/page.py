"""The page of a report: figures, pictures and film set into `report_template.html`; nothing is loaded from elsewhere."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

from nca3d.reports.pictures import DARK, Shown
from nca3d.reports.values import flat, is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

TEMPLATE = "report_template.html"
# Entries of `Report.about` that have a place of their own on the page, and are left out of its last table.
OF_THE_RUN = ("title", "config", "versions", "files")


class Measure(NamedTuple):
    """One figure with a goal, as the page shows it.

    Attributes:
        name: The measure's name.
        note: A few words on what it means, with the unit or the moment.
        value: The figure, 0 .. 1; None or NaN where it was not measured.
        goal: The value from which the goal counts as reached.
        shortfall: The reason why a value at or above the goal does not reach it all the same; "" = there is none.
    """

    name: str
    note: str
    value: float | None
    goal: float
    shortfall: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a page.

    Attributes:
        title: The headline of the part.
        lead: The text under it.
        pictures: The pictures as (name, caption).
        rows: A table of names and values under the pictures.
        more: HTML under the table.
    """

    title: str
    lead: str
    pictures: Sequence[tuple[str, str]] = ()
    rows: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""

    def html(self, shown: Mapping[str, Shown]) -> str:
        """Returns the part as HTML, or "" where it has nothing to show.

        Args:
            shown: Pictures by name; what is not among them is left out.
        """
        pictures = [
            f"<figure>{shown[name].html(f'{self.title}: {name}')}<figcaption>{escape(caption)}</figcaption></figure>"
            for name, caption in self.pictures
            if name in shown
        ]
        if not pictures and not self.rows and not self.more:
            return ""
        table = f"<table>{_table(self.rows)}</table>" if self.rows else ""
        return f"<h2>{escape(self.title)}</h2>\n<p>{escape(self.lead)}</p>\n" + "\n".join(pictures) + table + self.more


class Words(NamedTuple):
    """The text of a page.

    Attributes:
        title: The headline.
        lead: The sentences under it.
        sections: The parts of the page, in order.
        measures: The figures with a goal, shown at the top.
        footer: How the figures are to be read.
    """

    title: str
    lead: str
    sections: Sequence[Section]
    measures: Iterable[Measure]
    footer: str


class Kind(NamedTuple):
    """A kind of report: how its page is written and drawn.

    Attributes:
        headlines: Dotted names of figures, or patterns of them. A report with one of them is of this kind, and comparisons
            draw them.
        figures: Returns the charts that the series and figures of a report allow, by name.
        words: Returns the text of the page, given the report and the names of its pictures.
    """

    headlines: tuple[str, ...]
    figures: "Callable[[Report], dict[str, Figure]]"
    words: "Callable[[Report, Collection[str]], Words]"


def render_page(report: "Report", words: Words, pictures: Mapping[str, Shown], *, hero: str = "", config_toml: str = "") -> str:
    """Returns the whole page as HTML.

    Args:
        report: The figures, None where missing, with their intervals, and what the report is about.
        words: The text of the page.
        pictures: Pictures by name.
        hero: HTML of the large picture beside the measures (`film_html`, `on_both`); "" = measures alone.
        config_toml: The run's config, shown as it is; "" = there is none.
    """
    template = Template(Path(__file__).with_name(TEMPLATE).read_text(encoding="utf-8"))
    # Everything that comes from a config, a target or a name is escaped: a title may hold "<".
    rows = {_explained(report, name): _cell(value) + _interval_text(report.intervals.get(name)) for name, value in flat(report)}
    about = {name: value for name, value in report.about.items() if name not in OF_THE_RUN}
    return template.substitute(
        dark=DARK,
        title=escape(words.title),
        lead=escape(words.lead),
        hero=f'<figure class="hero-film"><div class="paper stage">{hero}</div></figure>' if hero else "",
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
    """Returns a measure as HTML: its value, a bar with the goal on it, and whether the goal was reached."""
    value = measure.value
    if not is_number(value):
        return (
            f'<div class="measure short"><div class="row"><b>{escape(measure.name)}</b><span class="value">—</span></div>'
            f'<div class="note">{escape(measure.note)} · <span class="verdict">not measured</span></div></div>'
        )
    above = value >= measure.goal
    reached = above and not measure.shortfall
    verdict = f"goal {measure.goal:.2f} {'reached' if reached else 'missed'}"
    if above and measure.shortfall:
        # The mean is there and the bodies are not: neither "reached" nor "missed" would be true.
        verdict = f"the mean is above the goal of {measure.goal:.2f}, but {measure.shortfall}"
    return (
        f'<div class="measure{"" if reached else " short"}">'
        f'<div class="row"><b>{escape(measure.name)}</b><span class="value">{_short_of(value, measure.goal)}</span></div>'
        f'<div class="bar"><i style="width:{100 * min(max(value, 0), 1):.1f}%"></i>'
        f'<u style="left:{100 * measure.goal:.1f}%"></u></div>'
        f'<div class="note">{escape(measure.note)} · <span class="verdict">{escape(verdict)}</span></div></div>'
    )


def _short_of(value: float, goal: float) -> str:
    """Returns a figure with three decimals, or more where rounding would lift it to the goal that it misses."""
    # 0.9496 is no 0.950 where the goal is 0.95: the page would show the goal and say "missed".
    texts = [f"{value:.{decimals}f}" for decimals in (3, 4, 5, 6)]
    return texts[0] if value >= goal else next((text for text in texts if float(text) < goal), texts[-1])


def _facts(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the names and values of plain numbers that say how large the rule is and how long things took."""
    known = {name: value for name, value in figures.items() if is_number(value)}
    for name, label in (("params", "parameters"), ("iterations", "training iterations")):
        if name in known:
            yield label, f"{known[name]:,.0f}"
    if "training_seconds" in known:
        seconds = known["training_seconds"]
        yield "training time", f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"
    for name, label in (
        ("iteration_ms", "ms an iteration"),
        ("seconds_per_epoch", "seconds an epoch"),
        ("samples_a_second", "samples a second"),
    ):
        if name in known:
            yield label, f"{known[name]:,.3g}" if known[name] < 1000 else f"{known[name]:,.0f}"
    if "horizon" in known:
        yield "horizon, in steps", f"{known['horizon']:,.0f}"
    if "steps_held" in known:
        tried = f" of {known['steps_tried']:,.0f}" if "steps_tried" in known else ""
        # Not a mean, as the figures above are.
        yield "steps held, by the worst body", f"{known['steps_held']:,.0f}{tried}"


def film_html(url: str, poster: str, alternative: str = "film of growth, cut and healing", *, chart: bool = False) -> str:
    """Returns a film that plays by itself as HTML.

    Args:
        url: The data URL of the film, or of an animated picture.
        poster: The data URL of the picture shown until the film plays.
        alternative: The text for readers who can't see it.
        chart: Whether it is a chart that moves: charts are inverted on a dark page, bodies would be in wrong colours.
    """
    look = "chart" if chart else "body"
    # Browsers let a film begin by itself only if it is muted.
    if url.startswith("data:video"):
        return f'<video class="{look}" autoplay loop muted playsinline controls poster="{poster}" src="{url}"></video>'
    return f'<img class="{look}" alt="{escape(alternative)}" src="{url}">'


def _table(rows: Mapping[str, Any]) -> str:
    """Returns the rows of a table as HTML."""
    return "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(_cell(value))}</td></tr>" for name, value in rows.items())


def _cell(value: object) -> str:
    """Returns a value as the page's tables show it: four digits; "—" for what was not measured."""
    if value is None:
        return "—"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _explained(report: "Report", name: str) -> str:
    """Returns the name of a figure with its meaning, if it could be mistaken for another."""
    words = report.meaning(name)
    return f"{name} · {words}" if words else name


def _interval_text(interval: Sequence[float] | None) -> str:
    """Returns an interval as the page's tables show it beside a value."""
    return f"  ({interval[0]:.4g} – {interval[1]:.4g})" if interval else ""
