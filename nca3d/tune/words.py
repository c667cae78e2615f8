"""What is printed and written of a search: table, lines of the choice, config file, numbers. Imports no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nca3d.config import Config
from nca3d.schema.spec import toml
from nca3d.tune.choice import Choice
from nca3d.tune.point import MIB, Point, kept_words, memory_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("batch", "memory", "s/iteration", "samples/s", "peak MiB", "")
# Columns of words, which stand to the left; numbers stand to the right.
LEFT = (1, 5)
# One line: a batch is no mere matter of speed.
ANOTHER = "another batch is another training: its learning rate and number of iterations may want to change with it"


def about(points: Sequence[Point]) -> str:
    """Returns in words what was measured at each point."""
    point = next((point for point in points if point.seconds), None)
    if point is None:
        return ""
    ageing = f"; one in five ages states for {point.aged_steps} steps" if point.aged_steps else ""
    alive = ", all cells alive" if point.living in (None, 1.0) else f", {100 * (point.living or 0.0):.0f} % of the cells alive"
    return (
        f"whole iterations of {point.steps} steps (the mean), the same at each batch{ageing}{alive}; "
        f"memory above the imports, at {point.longest} steps (the most)"
    )


def table(points: Sequence[Point], choice: Choice | None, limit: int | None) -> str:
    """Returns the points as a Markdown table that reads well as plain text, the chosen one marked."""
    rows = [list(COLUMNS)]
    for point in sorted(points, key=lambda point: point.batch):
        note = point.trouble or ("" if point.fits(limit) else "over the limit")
        if choice is not None and point is choice.point:
            note = "chosen"
        kept = kept_words(point.segment)
        memory = memory_words(point.memory)
        rows.append(
            [
                str(point.batch),
                f"{memory}: {kept}" if point.memory == "auto" and kept else memory,
                f"{point.seconds:.3g}" if point.seconds else "–",
                f"{point.rate:.3g}" if point.rate else "–",
                "–" if point.peak is None else f"{point.peak / MIB:,.0f}",
                note,
            ]
        )
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]

    def line(row: Sequence[str]) -> str:
        return (
            "| "
            + " | ".join(f"{t:<{w}}" if at in LEFT else f"{t:>{w}}" for at, (t, w) in enumerate(zip(row, widths, strict=True)))
            + " |"
        )

    rule = "|" + "|".join("-" * (w + 2) if at in LEFT else "-" * (w + 1) + ":" for at, w in enumerate(widths)) + "|"
    return "\n".join([line(rows[0]), rule, *map(line, rows[1:])])


def changed_lines(choice: Choice, config: Config) -> list[str]:
    """Returns the lines of a config file that change, each with what it was before; one line if nothing does."""
    changes = choice.changes(config)
    if not changes:
        return [f"# nothing to change: batch = {config.batch} and memory = {toml(config.memory)} are the choice"]
    lines = []
    for name, value in changes.items():
        why = {"pool_size": "no smaller than the batch"}.get(name, "")
        if name == "batch" and choice.before is not None and choice.before.rate:
            why = f"{choice.point.rate / choice.before.rate:.2f}× the samples a second"
        lines.append(f"{f'{name} = {toml(value)}':<24}# was {toml(getattr(config, name))}" + (f"; {why}" if why else ""))
    return lines


def chosen_file(choice: Choice, config: Config, header: str, points: Sequence[Point]) -> str:
    """Returns a whole config file with the choice, which `nca3d train` takes; comments say what was measured, on what."""
    comments = [
        "What `nca3d tune` chose.",
        *choice.reasons,
        *(line.lstrip("# ") for line in changed_lines(choice, config)),
        *([ANOTHER] if choice.point.batch != config.batch else []),
        f"measured: {about(points)}",
        f"measured on: {header}",
    ]
    chosen = config.anchored().replace(**choice.changes(config))
    return "".join(f"# {line}\n" for line in comments) + "\n" + chosen.to_toml()


def numbers(
    points: Sequence[Point],
    choice: Choice | None,
    config: Config,
    machine: Mapping[str, Any],
    limit: int | None,
    ends: Sequence[str],
    stopped: bool,
) -> str:
    """Returns everything that was measured as JSON.

    Args:
        points: The points in the order in which they were measured.
        choice: The choice; None = there is none.
        config: The experiment as it was.
        machine: What it was measured on.
        limit: Bytes that a training may take.
        ends: Why no more was measured.
        stopped: Whether somebody has stopped the search.
    """
    content = {
        "machine": dict(machine),
        "config": config.plain(),
        "memory_limit": limit,
        "what": about(points),
        "points": [point.plain() for point in points],
        "ends": list(ends),
        "chosen": None if choice is None else {**choice.changes(config), "point": choice.point.plain()},
        "reasons": [] if choice is None else choice.reasons,
        "stopped": stopped,
    }
    return json.dumps(content, indent=1) + "\n"


def figure(points: Sequence[Point], choice: Choice | None, config: Config, limit: int | None, title: str) -> "Figure":
    """Returns the curves as a Figure: samples a second above, memory below, against the batch."""
    from visualize import batch_curves

    settings = list(dict.fromkeys([config.memory, *(point.memory for point in points if point.seconds)]))
    lines = {}
    for memory in settings:
        some = [point for point in points if point.memory == memory and point.seconds]
        sizes = [None if point.peak is None else point.peak / MIB for point in some]
        lines[_name(memory)] = ([p.batch for p in some], [p.rate for p in some], sizes)
    failed: dict[float, str] = {point.batch: point.trouble.partition(":")[0] for point in points if point.trouble}
    ring = None if choice is None else (_name(choice.point.memory), float(choice.point.batch))
    most = None if limit is None else limit / MIB
    return batch_curves(lines, chosen=ring, limit=most, failed=failed, title=title)


def _name(memory: int | str) -> str:
    return f"memory = {toml(memory)}" + (" (steps of a segment)" if isinstance(memory, int) else "")
