"""The page of a profile: where the time of training went, by the phases of an iteration and by torch's operations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from nca3d.reports.page import Section, Words, render_page
from nca3d.reports.report import Report

# Operations that the page lists, at most.
LISTED = 15

# The share of an iteration from which a phase has a bar of its own.
DRAWN = 0.005

FOOTER = (
    "Phases are timed by the clock, one after the other, while the profiler is off: it makes short operations slower. On a GPU "
    "a phase ends when all that it has asked for is done, so that phases can't overlap as they otherwise may. The trace has "
    "every operation of the iterations that it covers: open it in chrome://tracing or at ui.perfetto.dev."
)


class Phase(NamedTuple):
    """One phase of an iteration.

    Attributes:
        words: What happens in it.
        seconds: Its mean seconds in an iteration.
        memory: The most bytes that tensors held in it at once, above what they held before the trace; None = not known.
    """

    words: str
    seconds: float
    memory: int | None


class Operation(NamedTuple):
    """One operation of torch, or one step of compiled code.

    Attributes:
        name: As torch calls it.
        calls: How often it runs in an iteration.
        seconds: The seconds of an iteration that it takes itself, without operations that it calls.
    """

    name: str
    calls: float
    seconds: float


@dataclass
class Profile:
    """What a profile has found.

    Attributes:
        title: The headline of its page.
        timed: The first and the last iteration that the phases were timed in.
        traced: The first and the last iteration of the trace.
        phases: By name, in the order of an iteration; their seconds are those of the timed iterations.
        operations: The longest first.
        slowdown: How many times as long an iteration took while it was traced.
        notes: Whole sentences on what the timed iterations had and had not.
        figures: Figures of the run, for the page's table.
        about: What was profiled, and where.
        config_toml: The run's config.
    """

    title: str
    timed: tuple[int, int]
    traced: tuple[int, int]
    phases: Mapping[str, Phase]
    operations: Sequence[Operation]
    slowdown: float
    notes: Sequence[str] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    config_toml: str = ""

    @property
    def seconds(self) -> float:
        """The mean seconds of an iteration."""
        return sum(phase.seconds for phase in self.phases.values())

    def page(self) -> str:
        """Returns the page as HTML, which loads nothing from elsewhere."""
        words = Words(self.title, self._lead(), self._sections(), (), FOOTER)
        figures = {"iteration_ms": 1000 * self.seconds, **self.figures}
        figures["phase_ms"] = {name: 1000 * phase.seconds for name, phase in self.phases.items()}
        report = Report(figures, about=dict(self.about))
        return render_page(report.strict(), words, {}, config_toml=self.config_toml)

    def _lead(self) -> str:
        longest = sorted(self.phases.values(), key=lambda phase: -phase.seconds)
        shares = [f"{_percent(phase.seconds / self.seconds)} is {phase.words}" for phase in longest[:3] if phase.seconds]
        first, *others = shares
        more = f"; {' and '.join(others)}" if others else ""
        low, high = self.timed
        mean = f"An iteration takes {_time(self.seconds)}, the mean of iterations {low:,} to {high:,}."
        return f"{first.replace(' is ', ' of an iteration is ', 1)}{more}. {mean}"

    def _sections(self) -> list[Section]:
        bars = {
            phase.words: (phase.seconds / self.seconds, _time(phase.seconds))
            for phase in self.phases.values()
            if phase.seconds / self.seconds >= DRAWN
        }
        rest = [f"{p.words} ({_time(p.seconds)})" for p in self.phases.values() if p.seconds / self.seconds < DRAWN]
        notes = [*self.notes, *([f"Below {_percent(DRAWN)}: {'; '.join(rest)}."] if rest else [])]
        low, high = self.traced
        own = sum(operation.seconds for operation in self.operations)
        slower = f"While they were traced, iterations took {self.slowdown:.2g} times as long."
        held = {phase.words: _bytes(phase.memory) for phase in self.phases.values() if phase.memory is not None}
        return [
            Section("By phase", " ".join(notes), more=bars_html(bars)),
            Section(
                "By operation",
                f"What each operation takes itself, without those that it calls; iterations {low:,} to {high:,}. {slower} "
                "Names without :: are functions of this package, such as steps in compiled code.",
                more=table_html(
                    ("operation", "share", "time an iteration", "calls"),
                    [
                        (one.name, _percent(one.seconds / own), _time(one.seconds), f"{one.calls:,.4g}")
                        for one in self.operations[:LISTED]
                    ],
                ),
            ),
            Section(
                "Memory of tensors",
                "The most that tensors held at once in a phase, above what they held before the trace began.",
                more=table_html(("phase", "held at most"), list(held.items())) if held else "",
            ),
        ]


def bars_html(bars: Mapping[str, tuple[float, str]]) -> str:
    """Returns a bar chart as HTML: it follows the reader's ground, and its words wrap on a narrow screen.

    Args:
        bars: By label the share, 0 .. 1, and a note on it.
    """
    rows = (
        f'<div class="measure"><div class="row"><b>{escape(label)}</b><span class="value">{_percent(share)}</span></div>'
        f'<div class="bar"><i style="width:{100 * share:.1f}%"></i></div><div class="note">{escape(note)}</div></div>'
        for label, (share, note) in bars.items()
    )
    return f'<div class="measures bars">{"".join(rows)}</div>'


def table_html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table with a header as HTML; numbers stand to the right, below their names."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="numbers"><tr>{head}</tr>{body}</table></div>'


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.2g} %"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{1000 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.0f} µs"


def _bytes(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"
