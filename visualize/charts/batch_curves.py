"""What a batch costs and brings: throughput above, memory below, over the batch in doublings."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visualize.arguments import quoted
from visualize.charts.costs import MARKERS
from visualize.charts.figure import COLOURS, INK, QUIET, heading, literal, new_figure, quiet
from visualize.charts.measured import Numbers, mark_missing, numbers
from visualize.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 7.2, 5.6  # inches
LIMIT: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (5, 3))}
RING: dict[str, Any] = {"marker": "o", "markersize": 15, "markerfacecolor": "none", "markeredgecolor": INK, "linestyle": "none"}
CROSS: dict[str, Any] = {"marker": "x", "markersize": 8, "markeredgewidth": 2, "color": INK, "linestyle": "none"}


def batch_curves(
    lines: Mapping[str, tuple[Any, Any, Any]],
    *,
    chosen: tuple[str, float] | None = None,
    limit: float | None = None,
    failed: Mapping[float, str] | None = None,
    unit: str = "samples/s",
    title: str | None = None,
) -> "Figure":
    """A Figure of two panels that share their horizontal axis, the batch.

    Args:
        lines: name → (batches (N,), samples a second (N,), MiB (N,)); None or NaN where not measured. At most six.
        chosen: the name and the batch of the point to ring.
        limit: MiB that there are, drawn across the lower panel.
        failed: batch → why it has no numbers; a cross in the lower panel.
        unit: of the upper panel.
        title: a line above.

    Raises:
        ValueError: numbers of a line don't belong together, or too many lines.
    """
    if len(lines) > len(COLOURS):
        raise ArgumentError("batch_curves", "lines", quoted(list(lines)), f"at most {len(COLOURS)}")
    checked = {name: _checked(name, line) for name, line in lines.items()}
    batches = sorted({float(x) for at, *_ in checked.values() for x in at} | {float(x) for x in failed or {}})
    figure = new_figure(WIDTH, HEIGHT)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    above, below = figure.subplots(2, 1, sharex=True)
    for place, (name, (at, rates, sizes)) in enumerate(checked.items()):
        look: dict[str, Any] = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 6, "markeredgecolor": "white"}
        for axes, values in ((above, rates), (below, sizes)):
            axes.plot(at, values, label=name, linewidth=2, zorder=3, **look)
            if chosen is not None and chosen[0] == name and chosen[1] in at:
                axes.plot(chosen[1], values[at == chosen[1]][0], label="chosen", zorder=4, **RING)
    _memory(below, checked, limit, failed or {})
    _axes(above, below, batches, unit)
    signs = {line.get_label(): line for axes in (above, below) for line in axes.lines}
    heading(figure, list(signs.values()), title, min(3, len(signs)), fontsize=9.5, labelspacing=0.9)
    for axes, known in ((above, [r for _, r, _ in checked.values()]), (below, [s for _, _, s in checked.values()])):
        if not any(np.isfinite(values).any() for values in known):
            mark_missing(axes, alone=False)
    literal(figure)
    return figure


def _checked(name: str, line: tuple[Any, Any, Any]) -> tuple[Numbers, Numbers, Numbers]:
    at, rates, sizes = (numbers(part, f"batch_curves: {name}").ravel() for part in line)
    if not len(at) == len(rates) == len(sizes):
        raise ArgumentError("batch_curves", name, f"{len(at)} batches, {len(rates)} rates, {len(sizes)} sizes", "equally many")
    order = np.argsort(at)
    return at[order], rates[order], sizes[order]


def _memory(axes: "Axes", lines: Mapping[str, Sequence[Numbers]], limit: float | None, failed: Mapping[float, str]) -> None:
    axes.set_yscale("log")
    known = [float(size) for _, _, sizes in lines.values() for size in sizes if np.isfinite(size)]
    if limit is not None:
        axes.axhline(limit, label=f"limit {limit:,.0f} MiB", **LIMIT)
        known.append(limit)
    if known:
        axes.set_ylim(min(known) / 1.6, max(known) * 1.6)
        for why in dict.fromkeys(failed.values()):
            at = [batch for batch, said in failed.items() if said == why]
            axes.plot(at, [max(known)] * len(at), label=why, zorder=4, clip_on=False, **CROSS)
        # Numbers in full where powers of ten would be one tick or none.
        from matplotlib.ticker import LogLocator, NullFormatter

        wide = max(known) / min(known) > 30
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def _axes(above: "Axes", below: "Axes", batches: Sequence[float], unit: str) -> None:
    above.set_ylabel(unit)
    below.set_ylabel("peak memory in MiB")
    below.set_xlabel("batch")
    above.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    for axes in (above, below):
        quiet(axes)
        axes.tick_params(axis="x", labelcolor=QUIET)
    if batches:
        above.set_xscale("log", base=2)
        above.set_xlim(min(batches) / 1.4, max(batches) * 1.4)
        below.set_xticks(batches, [f"{batch:,g}" for batch in batches])
        below.set_xticks([], minor=True)
    # Room for the ring around the best.
    above.set_ylim(0, above.get_ylim()[1] * 1.08)
