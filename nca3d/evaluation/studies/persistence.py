"""Persistence: for how many steps does a grown body stay what it is, and how does it fail when it does?

Trained bodies are attractors that shimmer: cells fire by chance, so no two steps are the same. What is judged is therefore the
envelope, the worst of every window, and never stillness.
"""

from typing import Any

import torch
from torch import Tensor

from nca3d.evaluation.studies.dynamics import period
from nca3d.evaluation.trials import Watch
from nca3d.reports.values import HELD

# Quality below which there was no body that could be held, or hurt.
GROWN = 0.5

# Steps of one window.
WINDOW = 100

# A body has blown up when its largest value reaches the first times that at the horizon, or its volume the second times.
LARGEST, SWOLLEN = 10.0, 3.0

# How often a wave must come back within a hold to be called one.
SLOWEST = 8


def persistence(seen: Watch) -> dict[str, list[Any]]:
    """Judge a hold; `seen` begins at the horizon. Every figure has one value a body.

    Returns:
        steps_held: the most steps up to which all values are finite, |x| <= 10 times its value at the horizon, the living
            volume is below 3 times, and the worst quality of every window is at least 0.95 of that at the horizon.
        blow_up_step, extinction_step: steps after the horizon until it has blown up, or nothing lives; None = never.
        drift: change of quality per 1,000 steps (least squares).
        period, amplitude: of the living volume, in steps (None = no clear one) and as a share of its mean (half the range of
            the last ten windows).
    """
    after = seen.steps - seen.steps[0]
    blown = ~seen.finite | (seen.peak > LARGEST * seen.peak[0]) | (seen.volume >= SWOLLEN * seen.volume[0])
    # A window's worst is below the mark exactly when one of its steps is.
    lost = blown | ~(seen.quality >= HELD * seen.quality[0]) | (seen.quality[0] < GROWN)  # nothing grown, nothing held
    spacing = int(after[1]) if len(after) > 1 else 1
    return {
        "steps_held": _held(lost, after),
        "blow_up_step": _first(blown, after),
        "extinction_step": _first(seen.volume == 0, after),
        "drift": _slope(after, seen.quality),
        "period": [period(volume, fits=SLOWEST, spacing=spacing, peak=False) for volume in seen.volume[1:].t()],
        "amplitude": _amplitude(seen.volume[after > after[-1] - 10 * WINDOW]),
    }


def windows(seen: Watch) -> dict[str, list[Any]]:
    """The envelope for a picture: the end of each window in steps since the horizon, its worst and best quality (W, B)."""
    after, quality = (seen.steps - seen.steps[0])[1:], seen.quality[1:]
    ends = sorted({*range(WINDOW, int(after[-1]) + 1, WINDOW), int(after[-1])}) if len(after) else []
    parts = [quality[(after > start) & (after <= end)] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return {
        "steps": ends,
        "worst": [part.amin(0).tolist() for part in parts],
        "best": [part.amax(0).tolist() for part in parts],
    }


def _held(lost: Tensor, after: Tensor) -> list[int]:
    """For each body the last look before anything was lost."""
    first = torch.where(lost.any(dim=0), lost.float().argmax(dim=0), len(after))
    return [int(after[max(0, number - 1)]) for number in first.tolist()]


def _first(happens: Tensor, after: Tensor) -> list[int | None]:
    """For each body the first step at which something happens, (T, B) -> B."""
    return [int(after[body.nonzero()[0, 0]]) if body.any() else None for body in happens.t()]


def _slope(after: Tensor, quality: Tensor) -> list[float]:
    at = after.double() - after.double().mean()
    if len(after) < 2:
        return [0.0] * quality.shape[1]
    return (1000 * (at @ (quality.double() - quality.double().mean(0))) / at.square().sum()).tolist()


def _amplitude(volume: Tensor) -> list[float]:
    middle = volume.mean(0)
    spread = (volume.amax(0) - volume.amin(0)) / 2
    return torch.where(middle > 0, spread / middle.clamp_min(1e-9), 0.0).tolist()
