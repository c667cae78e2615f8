"""The report of a body, of a training run and of an evaluation alike: the text and the charts of its page."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nca3d.reports import life
from nca3d.reports.folder import write_folder
from nca3d.reports.page import Kind, Measure, Section, Words
from nca3d.reports.training import took
from nca3d.reports.values import EXPLANATIONS, HELD, WHOLE, as_text, display_name, is_number, measured_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nca3d.reports.pictures import Strip
    from nca3d.reports.report import Report

# The figures that a comparison draws, in this order, where at least one report has them.
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

# The curves of pattern and diversity over training: by the label of each panel the keys of the log, and the name of each
# curve with its unit or range. One panel for each unit: curves of different units would hide each other's changes.
LOGGED = {
    "pattern of the bodies": {
        "pattern_morans_i": "Moran's I, −1 .. 1",
        "pattern_compressibility": "compressibility, 0 .. 1",
    },
    "pattern of the bodies, in bits": {
        "pattern_spatial_entropy": "spatial entropy, 0 .. 8 bits",
        "pattern_neighbour_information": "neighbour information, bits",
    },
    "distance of states in the pool, RMS": {
        "pool_distance_mean": "mean over all pairs",
        "pool_distance_nearest": "mean to the nearest state",
    },
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
    """Writes report.json, report.md, report.html and its pictures into a folder, each whole or not at all.

    Args:
        folder: The folder; it is created if it does not exist.
        report: The report that `evaluate` returned.
        filmed: One body that grows and heals; None = without its pictures.
        metrics: The records of a training run, for its curves; None = there are none.
        config_toml: The run's config as it was loaded; "" = there is none.
        moving: Whether to write film.mp4 (or .gif) of the filmed body too, in place of its portrait.
        progress: Whether to print on stderr what is being drawn.

    Returns:
        The path of report.html.
    """

    def pictures() -> "Iterator[tuple[str, Figure | Strip]]":
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


# The text of the page -------------------------------------------------------------------------------------------------


def body_words(report: "Report", pictures: Collection[str]) -> Words:
    """Returns the text of a body's page.

    Args:
        report: The figures of the body.
        pictures: The names of the pictures that the page will show; parts without one are left out.
    """
    about = report.about
    name = f"{Path(about.get('name', about.get('target', 'rule'))).name} · {about.get('preset', 'evaluation')}"
    healed = [name.removeprefix("heal-") for name in pictures if name.startswith("heal-")]
    return Words(about.get("title", name), _lead(report, healed), _sections(report, healed), measures(report), FOOTER)


def measures(figures: Mapping[str, Any]) -> Iterator[Measure]:
    """Yields the figures that have a goal, in the order in which a body lives: grow, hold, heal.

    Args:
        figures: A report, or figures by name, nested or with dotted names. With the spread of a report, a healing measure
            says how many bodies healed.
    """
    horizon = figures.get("horizon")
    if "grow_iou" in figures:
        when = f"at step {horizon:g}, the horizon" if is_number(horizon) else "at the horizon"
        yield Measure("Grown", f"IoU with the target {when}", figures["grow_iou"], 0.95)
    for key, value in figures.items():  # the number of steps is part of the key: a preset may hold for any
        held = re.fullmatch(r"hold_iou_(\d+)", key)
        if held:
            yield Measure("Held", f"IoU {int(held[1]):,} steps later, with no retraining", value, 0.93)
    damaged = dict(_by_damage(figures, "hurt_iou"))
    for damage, value in _by_damage(figures, "heal_iou"):
        before = damaged.get(damage)
        # "healed" is the share of bodies below: a mean IoU near 1 is not it.
        note = f"from {before:.2f} right after the damage" if is_number(before) else "two horizons after the damage"
        yield Measure(f"IoU after healing, {display_name(damage)}", note, value, 0.90, _not_healed(figures, damage))
    grid = figures.get("regeneration", {})
    if "recovered_small" in grid:
        note = "share over all kinds of damage, up to 25 % of the body"
        yield Measure("Healed, small wounds", note, grid["recovered_small"], 0.95)
    if "recovered_half_space" in grid:
        note = "share over half-spaces, cut in six directions"
        yield Measure("Healed, halves", note, grid["recovered_half_space"], 0.80)


def _not_healed(figures: Mapping[str, Any], damage: str) -> str:
    """Returns how many bodies healed from a damage, where not all did; else "".

    The mean IoU can be above its goal while bodies are short of 95 % of their own quality, or lose it again later: that is
    what recovery.png shows, and the page must not say otherwise.
    """
    share = dict(_by_damage(figures, "recovered")).get(damage)
    if not is_number(share) or not share < 1:  # NaN is no share either
        return ""
    judged = measured_values(getattr(figures, "spread", {}).get(f"recovered.{damage}", []))
    count = f"{sum(judged):g} of {len(judged)}" if judged else f"{share:.0%} of"
    return f"only {count} bodies healed: back at {WHOLE:.0%} of their own IoU, and still so at the end"


def _by_damage(figures: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Yields the name of each damage and a figure of it, whether the figures are nested or have dotted names."""
    value = figures.get(key, {})
    yield from value.items() if isinstance(value, Mapping) else [("", value)]
    yield from ((name.removeprefix(f"{key}."), inner) for name, inner in figures.items() if name.startswith(f"{key}."))


def _lead(report: "Report", healed: Sequence[str]) -> str:
    """Returns the sentences under the headline: what the page shows, with the numbers of this report."""
    about, horizon, samples = report.about, report.get("horizon"), report.get("samples")
    lattice = f" on a lattice of {' × '.join(map(str, about['size']))}" if "size" in about else ""
    cells = f" of {about['cells']:,} cells" if "cells" in about else ""
    steps = f" in {horizon} steps" if horizon else ""
    damage = f", is damaged and left to heal ({', '.join(map(display_name, healed))})" if healed else ""
    measured = f" Measured on {samples} bodies, with random draws that training never used." if samples else ""
    locality = "Every cell runs the same small rule and sees only its neighbours."
    # "should": whether it does is what the figures below say.
    return f"One cell{lattice} should grow into a body{cells}{steps}{damage}. {locality}{measured}"


def _sections(report: "Report", healed: Sequence[str]) -> list[Section]:
    """Returns the parts of the page, in order; those without pictures and rows are not shown."""
    emergence = report.get("emergence", {})
    held, tried = as_text(report.get("steps_held")), as_text(report.get("steps_tried"))
    return [
        Section(
            "Growth",
            "The way from one cell to the body, and the target beside it.",
            [("growth", "All pictures are taken from the same side. Faded cells have a low alpha: they are still growing.")],
        ),
        Section(
            "Damage and healing",
            "Cells in the wound lose all channels; only their neighbours can rebuild them.",
            [
                (f"heal-{damage}", f"{display_name(damage).capitalize()}: before, right after, and steps since the damage.")
                for damage in healed
            ],
        ),
        Section(
            "A life in numbers",
            "IoU with the target over the steps of growth, damage and healing.",
            [("timeline", "One line for each damage; all begin with the same grown body.")],
        ),
        Section(
            "Persistence",
            f"The worst body held for {held} of {tried} steps. A body holds while its values are finite, it doesn't swell, and "
            f"its IoU in every window of 100 steps is at least {HELD} of that at the horizon.",
            [("persistence", "Worst and best IoU in each window, over all bodies.")],
        ),
        Section(
            "Regeneration",
            f"A body is healed when its IoU is back at {WHOLE:.0%} of that before the wound within two horizons, and is "
            "there at the last measurement too (1,000 steps later in the shipped presets).",
            [
                ("regeneration", "Share of bodies that healed, by damage and severity."),
                (
                    "recovery",
                    "IoU since the wound as a share of that before: 1.0 is as good as before. Line: median body; band: "
                    "worst to best. The worst wound comes first: most bodies below the goal, then the lowest mean over time.",
                ),
            ],
        ),
        Section(
            "Robustness",
            "IoU of bodies that grew and held in a world other than that of training, with 95 % bootstrap intervals.",
            [("robustness", "The line is the same trial with nothing changed.")],
        ),
        Section(
            "Emergence",
            "Measures of the pattern and of how it moves, with the range and the source of each.",
            rows={f"{display_name(name)}: {EXPLANATIONS.get(name, '')}": as_text(value) for name, value in emergence.items()},
        ),
        Section("Laws", "What must hold for any rule.", rows=report.get("laws", {})),
        Section(
            "Training",
            "The loss, and how close the bodies came to the target.",
            [
                ("curves", "Thin lines: every record. Thick lines: smoothed."),
                ("pattern", "Pattern of the bodies, and distances between the states of the pool (0: all are copies)."),
            ],
        ),
        took(report),
    ]


# The charts of the page -----------------------------------------------------------------------------------------------


def body_figures(report: "Report") -> "dict[str, Figure]":
    """Returns the charts that the series and figures of a report allow, by name."""
    import visualize

    series, figures = report.series, {}
    if "hold" in series:
        hold = series["hold"]
        # The line of the mean body; `steps_held` compares each body with its own start.
        mark = round(HELD * report["grow_iou"], 3)
        figures["persistence"] = visualize.envelope(hold["steps"], hold["worst"], hold["best"], goal=mark, label="IoU")
    if "grid" in series:
        figures["regeneration"] = _heat_map(series["grid"])
    if "recovery" in series:
        # The note says how many healed: a median at the goal hides the bodies below it.
        curves = {display_name(name): (curve["steps"], curve["quality"]) for name, curve in series["recovery"].items()}
        notes = {display_name(name): _note(curve["recovered"]) for name, curve in series["recovery"].items()}
        figures["recovery"] = visualize.recovery(curves, goal=WHOLE, horizon=report.get("horizon"), notes=notes, label="IoU")
    if "robustness" in report:
        # The unchanged world is the line that the others are compared with, not a dot among them.
        changed = {name: value for name, value in report["robustness"].items() if name != "unchanged"}
        intervals = {name: report.intervals.get(f"robustness.{name}") for name in changed}
        figures["robustness"] = visualize.dot_plot(
            changed,
            intervals={name: (low_high[0], low_high[1]) for name, low_high in intervals.items() if low_high},
            reference=report["robustness"].get("unchanged"),
            groups={name: group for name, group in series.get("conditions", {}).items() if name in changed},
            label="IoU with the target, 200 steps after the horizon",
        )
    return figures


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> "Iterator[tuple[str, Figure]]":
    """Yields the curves of a training run, and those of pattern and diversity where they were logged.

    Args:
        metrics: The records of the log, one mapping each.
    """
    import visualize

    yield "curves", visualize.curves(metrics)
    if any("pattern_morans_i" in record for record in metrics):
        # A chart labels its curves by their keys, so the records get the names that a reader understands.
        names = {key: name for panel in LOGGED.values() for key, name in panel.items()}
        records = [{names.get(key, key): value for key, value in record.items()} for record in metrics]
        yield "pattern", visualize.logged(records, {label: tuple(panel.values()) for label, panel in LOGGED.items()})


def _heat_map(grid: Sequence[Mapping[str, Any]]) -> "Figure":
    """Draws the share of bodies that healed by damage and severity; each moment has columns of its own."""
    import visualize

    kinds = list(dict.fromkeys(row["damage"] for row in grid))
    columns = sorted({(row["moment"], row["severity"]) for row in grid})
    place = {(row["damage"], row["moment"], row["severity"]): row["recovered"] for row in grid}
    # Not every wound exists at every severity: what was not measured is NaN, and drawn as a dash.
    values = [[place.get((kind, *column), math.nan) for column in columns] for kind in kinds]
    late = any(moment for moment, _ in columns)
    names = [f"{severity:.0%}" + (f"\n+{moment}" if late else "") for moment, severity in columns]
    # The second line of a column's name is the moment: the axis must say what both mean.
    label = "share of the body destroyed" + (" · steps after the horizon" if late else "")
    kinds = [display_name(kind) for kind in kinds]
    return visualize.heat_map(values, kinds, names, goal=0.95, label="healed: share of bodies", x_label=label)


def _note(recovered: Sequence[float | None]) -> str:
    """Returns the line under a wound's name: how many of the bodies that it really damaged healed."""
    judged = measured_values(recovered)
    return f"{sum(judged):g} of {len(judged)} healed" if judged else "too small to be seen"


BODIES = Kind(HEADLINES, body_figures, body_words)
