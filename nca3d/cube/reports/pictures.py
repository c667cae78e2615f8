"""The pictures of a cube's evaluation: who answers right, what damage takes, which cells mind what, how a question travels."""

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
STATES = {"hurt": "read at once", "healed": "healed", "dead": "cells stay dead"}
SPLITS = {
    "test": "test · new questions",
    "compose": "compose · new combinations",
    "validation": "validation · held out",
    "train": "train · learnt from",
}
PAPER_AT, PERCENTILE = 0.05, 99  # strengths are shown up to the next multiple of it above this percentile
ONE_KIND = "not drawn: all questions are of one kind, so there is none that a cell could mind more than others"
MOST_KINDS = 8  # that have a colour
MOST_TICKS = 8  # of layers, on an axis that is two inches high
# What is drawn of answers over training, by panel.
LOGGED = {"top-1 (share answered right)": ("top1", "validation_top1"), "cosine": ("cosine", "validation_cosine")}


def cube_figures(report: Report) -> "dict[str, Figure]":
    """The pictures that a report's series can be drawn as, by name: retrieval, hurt, hurt-cosine, specialisation, layers.

    Args:
        report: what `evaluate_cube` returned.
    """
    series, figures = report.series, {}
    if series.get("retrieval"):
        figures["retrieval"] = _retrieval(series["retrieval"], report.get("chance"))
    if series.get("hurt"):
        unhurt = series.get("unhurt", {})
        levels = {"unhurt": unhurt.get("top1"), "ridge": unhurt.get("ridge_top1"), "chance": report.get("chance")}
        figures["hurt"] = _hurt(report, "top1", "share answered right (top-1)", levels)
        if any(row.get("cosine") is not None for row in series["hurt"]):
            words = "cosine with the right answer"
            figures["hurt-cosine"] = _hurt(report, "cosine", words, {"unhurt": unhurt.get("cosine")})
    if series.get("specialisation"):
        figures["specialisation"] = _specialisation(series["specialisation"])
    if series.get("layers"):
        figures["layers"] = _layers(series["layers"])
    return figures


def training_figures(metrics: Sequence[Mapping[str, Any]]) -> "dict[str, Figure]":
    """Losses and answers over training, and which cells were reached; what wasn't logged is left out."""
    import visualize

    logged = list(dict.fromkeys(name for record in metrics for name, value in record.items() if value is not None))
    losses = ["loss"] * ("loss" in logged) + sorted(name for name in logged if name.startswith("loss_"))
    balance = sorted(name for name in logged if name.startswith("balance_"))
    figures: dict[str, Figure] = {}
    if losses:
        figures["losses"] = visualize.logged(metrics, {"loss": losses, **({"factor of a loss": balance} if balance else {})})
        if figures["losses"].axes[0].lines:  # values of 0 are left out of it
            figures["losses"].axes[0].set_yscale("log")
    panels = {label: names for label, names in LOGGED.items() if set(names) & set(logged)}
    if panels:
        figures["answers"] = visualize.logged(metrics, panels)
        figures["answers"].axes[0].set_ylim(0, 1.02)
    return figures


def activity_by_layer(activity: NDArray[np.floating]) -> NDArray[np.float64]:
    """(T,D), the root mean square of (T,D,H,W) over the cells of a layer."""
    return np.sqrt(np.square(np.asarray(activity, float)).mean(axis=(2, 3)))


def _retrieval(rows: Sequence[Mapping[str, Any]], chance: float | None) -> "Figure":
    """The cube beside ridge regression, for each split as a whole and by kind of question."""
    import visualize

    lines, headings = [], {}
    for index, row in enumerate(rows):
        if index == 0 or row["split"] != rows[index - 1]["split"]:
            headings[index] = SPLITS.get(row["split"], row["split"])
        name = f"{display_name(row['kind']) if row['kind'] else 'all'} ({row['n']:,})"
        lines.append((name, {who: (row.get(who), row.get(f"{who}_low"), row.get(f"{who}_high")) for who in ("cube", "ridge")}))
    label = "share answered right (top-1), with 95 % intervals"
    return visualize.grouped_dot_plot(lines, headings=headings, reference=chance, label=label)


def _hurt(report: Report, measure: str, label: str, references: Mapping[str, float | None]) -> "Figure":
    """What is left of a measure over the share of cells destroyed: a panel for each damage."""
    import visualize

    panels: dict[str, dict[str, Any]] = {}
    found: list[float | None] = []
    for damage in dict.fromkeys(row["damage"] for row in report.series["hurt"]):
        for state, words in STATES.items():
            rows = [row for row in report.series["hurt"] if (row["damage"], row["state"]) == (damage, state)]
            if not rows:
                continue
            names = [f"hurt.{damage}.{round(100 * row['severity'])}.{state}.{measure}" for row in rows]
            ends = [report.intervals.get(name) or (None, None) for name in names]
            panels.setdefault(display_name(damage), {})[words] = (
                [row["severity"] for row in rows],
                [row.get(measure) for row in rows],
                *zip(*ends, strict=True),
            )
            found += [number for row, span in zip(rows, ends, strict=True) for number in (row.get(measure), *span)]
    known = [number for number in (*found, *references.values()) if number is not None and math.isfinite(number)]
    lowest = min(0.0, *known) if known else 0.0
    return visualize.dose_response(
        panels,
        references=references,
        x_label="share of the cube's cells destroyed",
        y_label=label,
        limits=(lowest - 0.05 * (lowest < 0), 1),
    )


def _specialisation(found: Mapping[str, Any]) -> "Figure":
    """Which kind of question each cell prefers, the stronger the more colour."""
    import visualize
    from visualize.charts import QUIET, new_figure

    if len(found["kinds"]) < 2:  # in place of a picture that would show nothing: why
        figure = new_figure(7.8, 0.5)
        figure.text(0.01, 0.5, ONE_KIND, color=QUIET, fontsize=10, style="italic", va="center")
        return figure
    strength = np.array(found["strength"], float)
    known = strength[np.isfinite(strength)]
    most = math.ceil(float(np.percentile(known, PERCENTILE)) / PAPER_AT) * PAPER_AT if known.size else 1.0
    preferred, kinds = _few(np.array(found["preferred"]), found["kinds"])
    return visualize.layers(
        strength,
        categories=preferred,
        names=[display_name(kind) for kind in kinds],
        limits=(0, min(max(most, PAPER_AT), 1)),
        label="share of a cell's variance that the kind of question explains",
    )


def _few(preferred: NDArray[np.integer], kinds: Sequence[str]) -> tuple[NDArray[np.integer], Sequence[str]]:
    """Kinds as many as there are colours: of more, those that fewest cells prefer become one."""
    if len(kinds) <= MOST_KINDS:
        return preferred, kinds
    order = np.argsort(-np.bincount(preferred.ravel(), minlength=len(kinds)), kind="stable")
    place = np.minimum(np.argsort(order), MOST_KINDS - 1)
    return place[preferred], [*(kinds[kind] for kind in order[: MOST_KINDS - 1]), "all other kinds"]


def _layers(found: Mapping[str, Any]) -> "Figure":
    """How activity travels: steps across, layers upward."""
    import visualize

    activity = np.array(found["activity"], float)
    figure = visualize.kymograph(activity[:, :, None, None], "z", show="mean", steps=found["steps"])
    layers = np.arange(0, activity.shape[1], math.ceil(activity.shape[1] / MOST_TICKS))
    figure.axes[0].set_yticks(layers + 0.5, [str(layer) for layer in layers])  # a layer lies from its number to the next
    figure.axes[0].set_ylabel("layer (0 = front face)")
    figure.axes[-1].set_ylabel("activity of a layer (RMS)")
    return figure
