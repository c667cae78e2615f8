"""What was measured, as rows: ratios to the textbook, a table to read, JSON to keep. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from nca3d.bench.settings import TEXTBOOK


@dataclass(frozen=True)
class Row:
    """One contender at one setting; None = not measured, and `skipped` may say why.

    Args:
        setting, contender: names.
        forward, training: seconds, the median of the repetitions in `forward_all` and `training_all`.
        forward_ratio, training_ratio: how many times faster than the textbook.
        iterations: training iterations a second.
        updates: cell updates a second in training: volume · batch · steps, living or not, as every peer counts.
        allocated, resident: peak bytes of a training iteration above its inputs (`memory.py` says which is which).
        allocated_ratio, resident_ratio: how many times less than the textbook.
        floor_share: useful operations a second over this machine's matrix rate, in training.
        living_start, living_end: share of living cells.
        living_cells, volume: living cells of one sample at the start, cells of one sample.
    """

    setting: str
    contender: str
    forward: float | None = None
    training: float | None = None
    forward_ratio: float | None = None
    training_ratio: float | None = None
    iterations: float | None = None
    updates: float | None = None
    allocated: int | None = None
    resident: int | None = None
    allocated_ratio: float | None = None
    resident_ratio: float | None = None
    floor_share: float | None = None
    living_start: float | None = None
    living_end: float | None = None
    living_cells: float | None = None
    volume: int | None = None
    skipped: str | None = None
    forward_all: list[float] = field(default_factory=list)
    training_all: list[float] = field(default_factory=list)


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows of one setting, compared with its textbook."""
    base = next((row for row in rows if row.contender == TEXTBOOK), Row("", TEXTBOOK))
    names = ("forward", "training", "allocated", "resident")

    def ratios(row: Row) -> dict[str, Any]:
        pairs = {name: (getattr(base, name), getattr(row, name)) for name in names}
        return {f"{name}_ratio": own and slow and slow / own for name, (slow, own) in pairs.items()}

    return [replace(row, **ratios(row)) for row in rows]


COLUMNS: tuple[tuple[str, Callable[[Row], Any], Callable[[Any], str]], ...] = (
    ("setting", lambda row: row.setting, str),
    ("contender", lambda row: row.contender, str),
    ("forward s", lambda row: row.forward, lambda s: f"{s:.3g}"),
    ("faster", lambda row: row.forward_ratio, lambda x: f"{x:.3g}×"),
    ("training s", lambda row: row.training, lambda s: f"{s:.3g}"),
    ("faster", lambda row: row.training_ratio, lambda x: f"{x:.3g}×"),
    ("it/s", lambda row: row.iterations, lambda x: f"{x:.3g}"),
    ("M cells/s", lambda row: row.updates, lambda x: f"{x / 1e6:.3g}"),
    ("allocated MB", lambda row: row.allocated, lambda size: megabytes(size)),
    ("less", lambda row: row.allocated_ratio, lambda x: f"{x:.3g}×"),
    ("resident MB", lambda row: row.resident, lambda size: megabytes(size)),
    ("less", lambda row: row.resident_ratio, lambda x: f"{x:.3g}×"),
    ("of floor", lambda row: row.floor_share, lambda x: f"{100 * x:.2g} %"),
    ("alive", lambda row: row.living_start and (row.living_start, row.living_end), lambda pair: _shares(*pair)),
)


def megabytes(size: float) -> str:
    """Bytes as MB (10⁶), three digits."""
    return f"{size / 1e6:.3g}" if size < 999.5e6 else f"{round(size / 1e6, 3 - len(str(int(size / 1e6)))):,.0f}"


def _shares(start: float, end: float | None) -> str:
    return f"{100 * start:.4g} → {100 * end:.4g} %" if end is not None else f"{100 * start:.4g} %"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table that is aligned to be read as plain text too; below it, why rows are empty."""
    cells = [[name for name, _, _ in COLUMNS]]
    for row in rows:
        values = [(value(row), show) for _, value, show in COLUMNS]
        cells.append([show(value) if value is not None else "–" for value, show in values])
    widths = [max(len(line[place]) for line in cells) for place in range(len(COLUMNS))]
    words = [place < 2 for place in range(len(COLUMNS))]  # names to the left, numbers to the right
    lines = [
        "| " + " | ".join(f"{t:<{w}}" if left else f"{t:>{w}}" for t, w, left in zip(line, widths, words, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (w + 2) if left else "-" * (w + 1) + ":" for w, left in zip(widths, words, strict=True)) + "|"
    notes = [f"{row.setting}, {row.contender}: {row.skipped}" for row in rows if row.skipped]
    return "\n".join([lines[0], rule, *lines[1:], *([""] if notes else []), *notes])
