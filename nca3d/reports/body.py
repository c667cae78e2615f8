"""The report of a body, of a training run and of an evaluation alike: what its page says and shows."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.reports import life
from nca3d.reports.folder import write_folder
from nca3d.reports.page import Kind, Measure, Section, Words
from nca3d.reports.values import EXPLANATIONS, HELD, WHOLE, as_text, display_name, is_number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.report import Report

# The figures that a comparison draws, where at least one report has them.
HEADLINES = (
    "grow_iou",
    "grow_colour_error",
    "grow_label_accuracy",
    "hold_iou_1000",
    "heal_iou.half_space",
    "heal_iou.sphere",
    "heal_iou.random_cells",
    "steps_held",
    "regeneration.recovered_small",
    "regeneration.recovered_half_space",
    "emergence.lyapunov",
)

# What is drawn of pattern and diversity over training, by panel.
LOGGED = {
    "of the bodies at hand": ("pattern_morans_i", "pattern_compressibility"),
    "bits": ("pattern_spatial_entropy", "pattern_neighbour_information"),
    "of the pool": ("pool_distance_mean", "pool_distance_nearest"),
}

FOOTER = (
    "IoU is the overlap of a body with its target: cells occupied in both, divided by cells occupied in either (occupied: "
    "alpha above 0.1). It is measured with random draws that training never used."
)


def write_body(
    folder: Path,
    report: "Report",
    filmed: life.FilmedLife | None = None,
    *,
    metrics: Sequence[Mapping[str, Any]] | None = None,
    config_toml: str = "",
    moving: bool = False,
    progress: bool = False,
) -> Path:
    """Write report.json, report.md, report.html and its pictures into a folder, each whole or not at all.

    Args:
        folder: is made if need be.
        report: what `evaluate` returned.
        filmed: one body that grows and heals; None = without its pictures.
        metrics: the records of a training, for its curves; None = of an evaluation alone.
        config_toml: the run's config as it was loaded.
        moving: write film.mp4 (or .gif) of the filmed body too, in place of its portrait.
        progress: say on stderr what is being drawn.

    Returns:
        The path of report.html.
    """

    def pictures() -> "Iterator[tuple[str, Figure]]":
        if filmed is not None:
            yield from life.life_figures(filmed)
        yield from body_figures(report).items()
        if metrics is not None:
            yield from training_figures(metrics)

    def hero(folder: Path) -> tuple[str, list[str]]:
        if filmed is None:
            return "", []
        return life.film(folder, filmed) if moving else (life.still(filmed), [])

    return write_folder(folder, report, body_words, pictures(), hero=hero, config_toml=config_toml, progress=progress)


# What the page says ---------------------------------------------------------------------------------------------------


def body_words(report: "Report", pictures: Collection[str]) -> Words:
    """The page around the figures of a body."""
    about = report.about
    name = f"{Path(about.get('name', about.get('target', 'rule'))).name} · {about.get('preset', 'evaluation')}"
    healed = [name.removeprefix("heal-") for name in pictures if name.startswith("heal-")]
    return Words(about.get("title", name), _lead(report, healed), _sections(report, healed), measures(report), FOOTER)


def measures(figures: Mapping[str, Any]) -> Iterator[Measure]:
    """The figures with a goal, in the order in which a body lives: grow, hold, heal."""
    horizon = figures.get("horizon")
    if "grow_iou" in figures:
        when = f"at step {horizon:g}, the horizon" if is_number(horizon) else "at the horizon"
        yield Measure("Grown", f"IoU with the target {when}", figures["grow_iou"], 0.95)
    for key, value in figures.items():
        held = re.fullmatch(r"hold_iou_(\d+)", key)
        if held:
            yield Measure("Held", f"IoU {int(held[1]):,} steps later, with no retraining", value, 0.93)
    hurt = figures.get("hurt_iou")
    for damage, value in _by_damage(figures, "heal_iou"):
        before = hurt.get(damage) if isinstance(hurt, Mapping) else None
        start = f"from {before:.2f} right after the cut" if is_number(before) else "once healed"
        yield Measure(f"Healed, {display_name(damage)}", f"IoU {start}", value, 0.90)
    grid = figures.get("regeneration", {})
    if "recovered_small" in grid:
        yield Measure("Recovered, small wounds", "of bodies, whole grid up to 25 %", grid["recovered_small"], 0.95)
    if "recovered_half_space" in grid:
        yield Measure("Recovered, halves", "of bodies, cut in six directions", grid["recovered_half_space"], 0.80)


def _by_damage(figures: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    value = figures.get(key, {})
    yield from value.items() if isinstance(value, Mapping) else [("", value)]
    yield from ((name.removeprefix(f"{key}."), inner) for name, inner in figures.items() if name.startswith(f"{key}."))


def _lead(report: "Report", healed: Sequence[str]) -> str:
    """What is to be seen and what was measured, with its own numbers."""
    about, horizon, samples = report.about, report.get("horizon"), report.get("samples")
    lattice = f" on a lattice of {' × '.join(map(str, about['size']))}" if "size" in about else ""
    cells = f" of {about['cells']:,} cells" if "cells" in about else ""
    steps = f" in {horizon} steps" if horizon else ""
    cut = f", is cut and left to heal: {', '.join(map(display_name, healed))}" if healed else ""
    measured = f" Measured on {samples} bodies, on random draws that training never used." if samples else ""
    all_alike = "Every cell runs the same small rule and sees its neighbours alone."
    return f"One cell{lattice} grows into a body{cells}{steps}{cut}. {all_alike}{measured}"


def _sections(report: "Report", healed: Sequence[str]) -> list[Section]:
    """The parts of the page, in order; those without pictures and rows are not shown."""
    moves = report.get("emergence", {})
    held, tried = as_text(report.get("steps_held")), as_text(report.get("steps_tried"))
    return [
        Section(
            "Growth",
            "From one cell to the body, and the target that it was asked for.",
            [("growth", "The same eye throughout; pale cells are still faint.")],
        ),
        Section(
            "Cut and healing",
            "Cells in the wound lose all they knew; only their neighbours can rebuild them.",
            [(f"heal-{damage}", f"{display_name(damage).capitalize()}: before, cut, and steps since.") for damage in healed],
        ),
        Section(
            "A life in numbers",
            "Overlap with the target at every step, through growth, cut and healing.",
            [("timeline", "One body for each damage; they share their growth.")],
        ),
        Section(
            "Persistence",
            f"Held for {held} of {tried} steps by the worst body: finite, not swollen, and in every window of 100 steps at no "
            f"less than {HELD} of its quality at the horizon.",
            [("persistence", "Worst and best step of each window, over all bodies.")],
        ),
        Section(
            "Regeneration",
            f"Recovered: {WHOLE:.0%} of the quality before the wound within two horizons, and still so 1,000 steps later.",
            [
                ("regeneration", "Fraction of bodies that recovered, by damage and severity."),
                ("recovery", "Quality since the wound as a share of that before: median, and from the worst body to the best."),
            ],
        ),
        Section(
            "Robustness",
            "Grown and held in a world other than that of training; with 95 % bootstrap intervals.",
            [("robustness", "The line is the same trial with nothing changed.")],
        ),
        Section(
            "Emergence",
            "What the pattern is and how it moves.",
            rows={f"{display_name(name)}: {EXPLANATIONS.get(name, '')}": as_text(value) for name, value in moves.items()},
        ),
        Section("Laws", "What must hold for any rule.", rows=report.get("laws", {})),
        Section(
            "Training",
            "What was asked for, and how close the bodies came.",
            [
                ("curves", "Thin: every record. Thick: smoothed."),
                ("pattern", "Pattern of the bodies, and distances between the states of the pool (0: all are copies)."),
            ],
        ),
    ]


# What it shows --------------------------------------------------------------------------------------------------------


def body_figures(report: "Report") -> "dict[str, Figure]":
    """The pictures that a report's series and figures can be drawn as, by name."""
    import visualize

    series, figures = report.series, {}
    if "hold" in series:
        hold = series["hold"]
        mark = round(HELD * report["grow_iou"], 3)
        figures["persistence"] = visualize.envelope(hold["steps"], hold["worst"], hold["best"], goal=mark, label="IoU")
    if "grid" in series:
        figures["regeneration"] = _heat_map(series["grid"])
    if "recovery" in series:
        curves = {display_name(name): (curve["steps"], curve["quality"]) for name, curve in series["recovery"].items()}
        notes = {display_name(name): _note(curve["recovered"]) for name, curve in series["recovery"].items()}
        figures["recovery"] = visualize.recovery(curves, goal=WHOLE, horizon=report.get("horizon"), notes=notes)
    if "robustness" in report:
        found = {name: value for name, value in report["robustness"].items() if name != "unchanged"}
        intervals = {name: report.intervals.get(f"robustness.{name}") for name in found}
        figures["robustness"] = visualize.dot_plot(
            found,
            intervals={name: (low_high[0], low_high[1]) for name, low_high in intervals.items() if low_high},
            reference=report["robustness"].get("unchanged"),
            groups={name: group for name, group in series.get("conditions", {}).items() if name in found},
            label="IoU with the target, 200 steps after the horizon",
        )
    return figures


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> "Iterator[tuple[str, Figure]]":
    """Curves of a training; pattern and diversity where they were logged."""
    import visualize

    yield "curves", visualize.curves(metrics)
    if any("pattern_morans_i" in record for record in metrics):
        yield "pattern", visualize.logged(metrics, LOGGED)


def _heat_map(grid: Sequence[Mapping[str, Any]]) -> "Figure":
    """Damage by severity; several moments are columns of their own."""
    import visualize

    kinds = list(dict.fromkeys(row["damage"] for row in grid))
    columns = sorted({(row["moment"], row["severity"]) for row in grid})
    place = {(row["damage"], row["moment"], row["severity"]): row["recovered"] for row in grid}
    values = [[place.get((kind, *column)) for column in columns] for kind in kinds]
    late = any(moment for moment, _ in columns)
    names = [f"{severity:.0%}" + (f"\n+{moment}" if late else "") for moment, severity in columns]
    label = "share of the body destroyed" + (" · steps after the horizon" if late else "")
    return visualize.heat_map(values, [display_name(kind) for kind in kinds], names, goal=0.95, x_label=label)


def _note(recovered: Sequence[float | None]) -> str:
    judged = [value for value in recovered if value is not None]
    return f"{sum(judged):g} of {len(judged)} recovered" if judged else "too small to be seen"


BODIES = Kind(HEADLINES, body_figures, body_words)
