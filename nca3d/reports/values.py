"""The numbers of a report: by dotted name, as text, as strict JSON, with their means and intervals.

The marks that bodies are judged by and the meaning of figures stand here too, because studies and pages both need them.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeGuard

# Resamples of a bootstrap interval: the ends of a 95 % interval then vary by a few hundredths of its width.
RESAMPLES = 2000

# The share of its IoU at the horizon that a body must keep in the worst step of every window: trained bodies shimmer by a
# few percent, and one that loses more is on its way to another shape.
HELD = 0.95

# The share of its IoU before the wound at which a body counts as whole again.
WHOLE = 0.95

# The figures that are those of the worst body. What is known of a mean, such as its interval, is not known of them.
WORST = ("steps_held",)

# What figures mean that could be mistaken for each other, by patterns of their dotted names. A body that is *healed* is whole
# again; *IoU after healing* says how much of it is there, and can be high where no body is healed.
MEANINGS = {
    "hurt_iou.*": "IoU right after the damage",
    "heal_iou.*": "IoU after healing, two horizons later",
    "hurt.*.healed.*": "after healing",
    "recovered.*": f"healed: share of bodies back at {100 * WHOLE:.0f} % of their IoU",
    "mse_regained.*": "share of the squared error by damage made good",
    "half_recovery_step.*": "steps until half of the lost IoU was back",
    "regeneration.recovered_small": "healed: share over all kinds of damage, up to 25 % of the body",
    "regeneration.recovered_half_space": "healed: share over half-spaces, cut in six directions",
    "regeneration.recovered_each.*": "healed: share of bodies",
    "regeneration.injury.*": "IoU after healing from that many wounds in a row",
    "right_body.grown": "share nearest to its own target, by alpha and colours or kinds (confusion is of alpha alone)",
    "right_body.fragment": "the same, after healing from a quarter of the body",
    "confusion.*": "IoU of what grew (first) with a target (second)",
    "switch.*": "IoU with the new body, three horizons after cells were told",
    "switched": "share of ordered pairs with an IoU of 0.9",
    "between": "share of bodies that live under a code in the middle of two",
    "beside.*": "share of pairs, so many bodies apart, in which both become their own body",
    "regeneration.control_*": "healed, of a rule that can't heal: 0 if the measure is right",
}

# What each figure of emergence means, with its range and its paper.
EXPLANATIONS = {
    "morans_i": "similarity of the looks of neighbouring cells, −1 .. 1 (Moran 1950)",
    "spatial_entropy": "entropy of the body's 2×2×2 blocks in bits, 0 .. 8 (Shannon 1948; Batty 1974)",
    "compressibility": "1 − zlib size / size of the visible channels, 0 .. 1 (Zenil et al. 2010)",
    "neighbour_information": "bits that a cell's look tells about its neighbour's, 0 and above (Shannon 1948; Miller 1955)",
    "peak_wavelength": "cells from crest to crest of the strongest spatial wave, 2 and above (Field 1987)",
    "spectral_centroid": "mean spatial frequency by power, cycles per cell, 0 .. ½ (Field 1987)",
    "activity": "mean absolute change of the visible channels in a step, per living cell, 0 and above",
    "activity_period": "steps from peak to peak of the activity, where a wave stands clear (Welch 1967)",
    "lyapunov": "rate at which a small difference grows (> 0) or fades (< 0) in a step (Benettin et al. 1980)",
    "specialisation": "share of the hidden state's variance that lies between cells, 0 .. 1 (η², Fisher 1925)",
    "behaviours": "effective number of independent ways in which cells differ, 1 and above (participation ratio of their PCA)",
}


def flat(figures: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yields nested figures as (dotted name, value).

    Args:
        figures: Figures by name, nested to any depth.
        before: What stands before each name.
    """
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def as_text(value: object) -> str:
    """Returns a figure as tables show it; "—" for what was not measured."""
    if value is None:
        return "—"
    if isinstance(value, bool) or not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def display_name(name: str) -> str:
    """Returns a name as a page writes it: "half space" for "half_space"."""
    return name.replace("_", " ")


def meaning(name: str, values: Iterable[float | None] = ()) -> str:
    """Returns in words what a figure is, where its name could be mistaken; else "".

    Args:
        name: The figure's dotted name.
        values: The values over the bodies behind it, as far as they are known.
    """
    if name in WORST:
        count = len(measured_values(values))
        return f"by the worst of {count} bodies" if count > 1 else "by the worst body"
    return next((words for pattern, words in MEANINGS.items() if fnmatchcase(name, pattern)), "")


def is_number(value: object) -> TypeGuard[float]:
    """Whether a figure is a number that can be drawn: neither missing nor True or False."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def json_safe(value: object) -> object:
    """Returns the same value as strict JSON can hold it: non-finite numbers become None, numpy's become Python's."""
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
    """Returns the mean of the values that were measured; None if there are none."""
    known = measured_values(values)
    return statistics.fmean(known) if known else None


def measured_values(values: Iterable[float | None]) -> list[float]:
    """Returns the values that were measured, without the None among them."""
    return [float(value) for value in values if value is not None]


def bootstrap(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """Returns the bootstrap interval of the mean: percentiles of the means of `RESAMPLES` resamples (Efron 1979).

    The draws are the same in every call, so that a report can be reproduced.

    Args:
        values: The measured values; None among them is left out.
        level: The share of resamples that the interval holds, 0 .. 1.

    Returns:
        [low, high]; None for fewer than two values.
    """
    import torch

    known = torch.tensor(measured_values(values), dtype=torch.float64)
    if len(known) < 2:
        return None
    generator = torch.Generator().manual_seed(0)  # a generator of its own: the global one belongs to the user
    picks = torch.randint(len(known), (RESAMPLES, len(known)), generator=generator)
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = known[picks].mean(dim=1).quantile(edges).tolist()
    return [low, high]


def wilson(values: Iterable[float | None], *, level: float = 0.95) -> list[float] | None:
    """Returns the score interval of a share (Wilson 1927).

    (p + z²/2n ± z·√(p(1 − p)/n + z²/4n²)) / (1 + z²/n), for a share p of n values. It stays honest where a bootstrap does not:
    0 of 5 may be any share up to 0.43, while resamples of five zeros are always zero.

    Args:
        values: Values that are each 0 or 1; None among them is left out.
        level: The confidence level, 0 .. 1.

    Returns:
        [low, high] within 0 .. 1; None without any value.
    """
    known = measured_values(values)
    if not known:
        return None
    count, share = len(known), statistics.fmean(known)
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    middle, shrunk = share + z**2 / (2 * count), 1 + z**2 / count
    half = z * (share * (1 - share) / count + (z / (2 * count)) ** 2) ** 0.5
    return [max(0.0, (middle - half) / shrunk), min(1.0, (middle + half) / shrunk)]
