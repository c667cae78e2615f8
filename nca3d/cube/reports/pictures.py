"""The pictures of a cube's evaluation: accuracy, the effect of damage, which cells mind what, how a question travels."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nca3d.reports.report import Report
from nca3d.reports.values import display_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACTIVITY = "activity (root mean square of a cell's features)"
# What is measured of a damaged cube, by the state's name in the report, and its label in the legend.
STATES = {"hurt": "read at once", "healed": "after healing", "dead": "cells stay dead"}
SPLITS = {
    "test": "test · new questions",
    "compose": "compose · new combinations",
    "validation": "validation · held out",
    "train": "train · learnt from",
    "unrelated": "unrelated · of something else",
}
# The scale of strengths ends at the next multiple of ROUND_TO above this percentile: a few extreme cells would make all others
# pale, and round ends can be compared between reports.
ROUND_TO, PERCENTILE = 0.05, 99
ONE_KIND = "not drawn: all questions are of one kind, so there is none that a cell could mind more than others"
# Kinds of questions that have a colour of their own: more can't be told apart.
MOST_KINDS = 8
# Numbers at the axis of layers, which is two inches high.
MOST_TICKS = 8
# What is drawn of answers over training: the names in the log, by panel.
LOGGED = {"top-1 (share answered right)": ("top1", "validation_top1"), "cosine": ("cosine", "validation_cosine")}


def cube_figures(report: Report) -> "dict[str, Figure]":
    """Draws a report's series: retrieval, hurt, hurt-cosine, specialisation and layers, as far as they were measured.

    Args:
        report: The report that `evaluate_cube` returned.

    Returns:
        The figures by name.
    """
    series, figures = report.series, {}
    if series.get("retrieval"):
        figures["retrieval"] = _retrieval(series["retrieval"], report.get("chance"))
    if series.get("hurt"):
        undamaged = series.get("unhurt", {})
        levels = {"unhurt": undamaged.get("top1"), "ridge": undamaged.get("ridge_top1"), "chance": report.get("chance")}
        figures["hurt"] = _damage(report, "top1", "share answered right (top-1)", levels)
        if any(row.get("cosine") is not None for row in series["hurt"]):
            label = "cosine with the right answer"
            figures["hurt-cosine"] = _damage(report, "cosine", label, {"unhurt": undamaged.get("cosine")})
    if series.get("specialisation"):
        figures["specialisation"] = _specialisation(series["specialisation"])
    if series.get("layers"):
        figures["layers"] = _layers(series["layers"])
    return figures


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> "dict[str, Figure]":
    """Draws losses and answers over training; what wasn't logged is left out.

    Args:
        metrics: The records of a training, in their order.

    Returns:
        The figures by name: losses, answers.
    """
    import visualize

    logged = list(dict.fromkeys(name for record in metrics for name, value in record.items() if value is not None))
    losses = ["loss"] * ("loss" in logged) + sorted(name for name in logged if name.startswith("loss_"))
    balance = sorted(name for name in logged if name.startswith("balance_"))
    figures: dict[str, Figure] = {}
    if losses:
        figures["losses"] = visualize.logged(metrics, {"loss": losses, **({"factor of a loss": balance} if balance else {})})
        # An empty axis has no logarithmic range; values of 0 are left out of it.
        if figures["losses"].axes[0].lines:
            figures["losses"].axes[0].set_yscale("log")
    panels = {label: names for label, names in LOGGED.items() if set(names) & set(logged)}
    if panels:
        figures["answers"] = visualize.logged(metrics, panels)
        figures["answers"].axes[0].set_ylim(0, 1.02)
    return figures


def activity_by_layer(activity: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the root mean square of activity (T, D, H, W) over the cells of each layer, (T, D)."""
    return np.sqrt(np.square(np.asarray(activity, float)).mean(axis=(2, 3)))


def _retrieval(rows: Sequence[Mapping[str, Any]], chance: float | None) -> "Figure":
    """Draws the cube beside ridge regression, for each split as a whole and by kind of question."""
    import visualize

    lines, headings = [], {}
    for index, row in enumerate(rows):
        # The rows of a split follow each other; a heading stands above the first.
        if index == 0 or row["split"] != rows[index - 1]["split"]:
            headings[index] = SPLITS.get(row["split"], row["split"])
        name = f"{display_name(row['kind']) if row['kind'] else 'all'} ({row['n']:,})"
        lines.append((name, {who: (row.get(who), row.get(f"{who}_low"), row.get(f"{who}_high")) for who in ("cube", "ridge")}))
    label = "share answered right (top-1), with 95 % intervals"
    return visualize.grouped_dot_plot(lines, headings=headings, reference=chance, label=label)


def _damage(report: Report, measure: str, label: str, references: Mapping[str, float | None]) -> "Figure":
    """Draws what is left of a measure over the share of cells destroyed, with a panel for each kind of damage."""
    import visualize

    panels: dict[str, dict[str, Any]] = {}
    values: list[float | None] = []
    for damage in dict.fromkeys(row["damage"] for row in report.series["hurt"]):
        for state, state_label in STATES.items():
            rows = [row for row in report.series["hurt"] if (row["damage"], row["state"]) == (damage, state)]
            if not rows:
                continue
            names = [f"hurt.{damage}.{round(100 * row['severity'])}.{state}.{measure}" for row in rows]
            ends = [report.intervals.get(name) or (None, None) for name in names]
            panels.setdefault(display_name(damage), {})[state_label] = (
                [row["severity"] for row in rows],
                [row.get(measure) for row in rows],
                *zip(*ends, strict=True),
            )
            values += [number for row, span in zip(rows, ends, strict=True) for number in (row.get(measure), *span)]
    # Shares begin at 0; a cosine may lie below, and then the axis must show it, with a margin.
    known = [number for number in (*values, *references.values()) if number is not None and math.isfinite(number)]
    lowest = min(0.0, *known) if known else 0.0
    return visualize.dose_response(
        panels,
        references=references,
        x_label="share of the cube's cells destroyed",
        y_label=label,
        limits=(lowest - 0.05 * (lowest < 0), 1),
    )


def _specialisation(series: Mapping[str, Any]) -> "Figure":
    """Draws which kind of question each cell prefers: the stronger the preference, the more colour."""
    import visualize
    from visualize.charts import QUIET, new_figure

    if len(series["kinds"]) < 2:  # instead of a picture that would show nothing, the reason
        figure = new_figure(7.8, 0.5)
        figure.text(0.01, 0.5, ONE_KIND, color=QUIET, fontsize=10, style="italic", va="center")
        return figure
    strength = np.array(series["strength"], float)
    known = strength[np.isfinite(strength)]
    most = math.ceil(float(np.percentile(known, PERCENTILE)) / ROUND_TO) * ROUND_TO if known.size else 1.0
    preferred, kinds = _few(np.array(series["preferred"]), series["kinds"])
    return visualize.layers(
        strength,
        categories=preferred,
        names=[display_name(kind) for kind in kinds],
        limits=(0, min(max(most, ROUND_TO), 1)),
        label="share of a cell's variance that the kind of question explains",
    )


def _few(preferred: NDArray[np.integer], kinds: Sequence[str]) -> tuple[NDArray[np.integer], Sequence[str]]:
    """Returns preferred kinds and names, at most one a colour: of more, the kinds that fewest cells prefer become one."""
    if len(kinds) <= MOST_KINDS:
        return preferred, kinds
    # Stable: kinds that equally many cells prefer stay in their order, whatever the machine.
    order = np.argsort(-np.bincount(preferred.ravel(), minlength=len(kinds)), kind="stable")
    place = np.minimum(np.argsort(order), MOST_KINDS - 1)
    return place[preferred], [*(kinds[kind] for kind in order[: MOST_KINDS - 1]), "all other kinds"]


def _layers(series: Mapping[str, Any]) -> "Figure":
    """Draws how activity travels: steps across, layers upward."""
    import visualize

    activity = np.array(series["activity"], float)
    figure = visualize.kymograph(activity[:, :, None, None], "z", show="mean", steps=series["steps"])
    layers = np.arange(0, activity.shape[1], math.ceil(activity.shape[1] / MOST_TICKS))
    figure.axes[0].set_yticks(
        layers + 0.5, [str(layer) for layer in layers]
    )  # a layer fills the axis from its number to the next
    figure.axes[0].set_ylabel("layer (0 = front face)")
    figure.axes[-1].set_ylabel("activity of a layer (RMS)")
    return figure
