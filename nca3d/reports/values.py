"""The numbers of a report: by dotted name, as tables show them, as JSON can say them, with their means and intervals.

Here too are the marks that bodies are judged by and what each figure of emergence means: studies judge by them, pages say them.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

# How often the values are drawn anew for a bootstrap interval.
RESAMPLES = 2000

# Share of its quality at the horizon that a body must keep in the worst step of every window.
HELD = 0.95

# Share of its quality before the wound at which a body counts as whole again.
WHOLE = 0.95

# What each figure of emergence means, with its range and its paper.
EXPLANATIONS = {
    "morans_i": "likeness of neighbouring cells' looks, −1 .. 1 (Moran 1950)",
    "spatial_entropy": "bits of the body's 2×2×2 blocks, 0 .. 8 (Shannon 1948; Batty 1974)",
    "compressibility": "1 − zlib size / size of what is shown (Zenil et al. 2010)",
    "neighbour_information": "bits that a cell's look tells about its neighbour's (Shannon 1948; Miller 1955)",
    "peak_wavelength": "cells from crest to crest of the strongest spatial wave (Field 1987)",
    "spectral_centroid": "mean spatial frequency by power, cycles per cell, 0 .. ½",
    "activity": "mean absolute change a step of what is shown, per living cell",
    "activity_period": "steps from peak to peak of the activity, where a wave stands clear (Welch 1967)",
    "lyapunov": "growth rate a step of a small difference under the same fire masks (Benettin et al. 1980)",
    "specialisation": "share of the hidden state's variance that lies between cells, 0 .. 1 (η², Fisher 1925)",
    "behaviours": "effective number of independent ways in which cells differ (participation ratio of their PCA)",
}


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as (dotted name, value)."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def as_text(value: Any) -> str:
    """A figure as tables show it; "—" for what was not measured."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def display_name(name: str) -> str:
    """A name as a page says it: "half space" of "half_space"."""
    return name.replace("_", " ")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a figure is a number that can be drawn: neither missing nor a yes or no."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def json_safe(value: Any) -> Any:
    """The same value in what strict JSON can say: non-finite numbers become null, numpy's become Python's."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return json_safe(value.tolist()) if hasattr(value, "tolist") else str(value)


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what was measured; None if nothing was."""
    known = measured_values(values)
    return statistics.fmean(known) if known else None


def measured_values(values: Iterable[Any]) -> list[float]:
    """The values that there are."""
    return [float(value) for value in values if value is not None]


def bootstrap(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """The percentile interval of the mean (Efron 1979): values drawn anew, with replacement, `RESAMPLES` times.

    The draws are the same in every call, so that a report can be reproduced. With one value there is no telling: None.
    """
    import torch

    known = torch.tensor(measured_values(values), dtype=torch.float64)
    if len(known) < 2:
        return None
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(len(known), (RESAMPLES, len(known)), generator=generator)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = known[picks].mean(dim=1).quantile(edges).tolist()
    return [low, high]


def wilson(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """The score interval of a share (Wilson 1927), of values that are each 0 or 1; None without any.

    None or all of a few say little, and so it tells: 0 of 5 may be anything up to 0.43, where drawing anew only ever finds 0.
    """
    known = measured_values(values)
    if not known:
        return None
    count, share = len(known), statistics.fmean(known)
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    middle, shrunk = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    return [max(0.0, (middle - half) / shrunk), min(1.0, (middle + half) / shrunk)]
