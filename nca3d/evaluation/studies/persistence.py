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

# Quality (IoU) below which there is no body that could be held or damaged: a heap of cells that stays a heap has not held.
GROWN = 0.5

# Steps of one window: some of the periods of a shimmering body, so that each window shows its worst moment.
WINDOW = 100

# A body has blown up when its largest |value| exceeds the first number times that at the horizon, or its volume reaches the
# second number times. A shimmer stays far below both; a body that runs away passes them within some tens of steps.
LARGEST, SWOLLEN = 10.0, 3.0

# How often a wave must come back within a hold to be called one; a slower one could be a drift.
SLOWEST = 8


def persistence(watch: Watch) -> dict[str, list[Any]]:
    """Judges how well grown bodies hold.

    Compare Mordvintsev et al. 2020, "Growing Neural Cellular Automata" (Distill), whose persistent bodies are attractors.

    Args:
        watch: The figures of a hold; its first look is the horizon.

    Returns:
        Figures by name, one value for each body in a list:

        steps_held: The most steps, 0 .. those tried, up to which all values are finite, max|x| <= 10 times that at the
            horizon, the living volume is below 3 times, and the worst IoU of every window is at least 0.95 of that at the
            horizon.
        blow_up_step: The first step after the horizon at which values aren't finite or are too large, or the volume is;
            None = never.
        extinction_step: The first step after the horizon at which no cell lives; None = never.
        drift: The change of IoU in 1,000 steps, the slope of a least-squares line.
        period: The period of the living volume in steps, see `dynamics.period` (Welch 1967); None = no clear one.
        amplitude: (max - min) / (2 · mean) of the living volume in the last ten windows, 0 and above.
    """
    after = watch.steps - watch.steps[0]
    blown = ~watch.finite | (watch.peak > LARGEST * watch.peak[0]) | (watch.volume >= SWOLLEN * watch.volume[0])
    # A window's worst is below the mark exactly when one of its steps is, so each step can be judged alone. `~(a >= b)`
    # and not `a < b`: a quality that is not a number has not held.
    lost = blown | ~(watch.quality >= HELD * watch.quality[0]) | (watch.quality[0] < GROWN)
    spacing = int(after[1]) if len(after) > 1 else 1
    return {
        "steps_held": _held(lost, after),
        "blow_up_step": _first(blown, after),
        "extinction_step": _first(watch.volume == 0, after),
        "drift": _slope(after, watch.quality),
        # Without the horizon itself: the looks after it are evenly spaced.
        "period": [period(volume, fits=SLOWEST, spacing=spacing, peak=False) for volume in watch.volume[1:].t()],
        "amplitude": _amplitude(watch.volume[after > after[-1] - 10 * WINDOW]),
    }


def windows(watch: Watch) -> dict[str, list[Any]]:
    """Returns the envelope of a hold, for a picture.

    Args:
        watch: The figures of a hold; its first look is the horizon.

    Returns:
        `steps`: the end of each of W windows in steps since the horizon; `worst` and `best`: IoU in each window, (W, B).
    """
    after, quality = (watch.steps - watch.steps[0])[1:], watch.quality[1:]
    # The last window ends with the hold, even where it is shorter than the others.
    ends = sorted({*range(WINDOW, int(after[-1]) + 1, WINDOW), int(after[-1])}) if len(after) else []
    parts = [quality[(after > start) & (after <= end)] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    return {
        "steps": ends,
        "worst": [part.amin(0).tolist() for part in parts],
        "best": [part.amax(0).tolist() for part in parts],
    }


def _held(lost: Tensor, after: Tensor) -> list[int]:
    """Returns for each body the step of the last look before anything was lost, (T, B) -> B."""
    # argmax finds the first True, but says 0 where there is none: then it is the end of the hold.
    first = torch.where(lost.any(dim=0), lost.float().argmax(dim=0), len(after))
    return [int(after[max(0, number - 1)]) for number in first.tolist()]


def _first(happens: Tensor, after: Tensor) -> list[int | None]:
    """Returns for each body the first step at which something happens, (T, B) -> B; None = never."""
    return [int(after[body.nonzero()[0, 0]]) if body.any() else None for body in happens.t()]


def _slope(after: Tensor, quality: Tensor) -> list[float]:
    """Returns the slope of a least-squares line through each body's quality, in 1,000 steps: Σ t·q / Σ t², t centred."""
    at = after.double() - after.double().mean()
    if len(after) < 2:
        return [0.0] * quality.shape[1]
    return (1000 * (at @ (quality.double() - quality.double().mean(0))) / at.square().sum()).tolist()


def _amplitude(volume: Tensor) -> list[float]:
    """Returns half the range of each body's volume (T, B) as a share of its mean; 0 for a body that is gone."""
    middle = volume.mean(0)
    spread = (volume.amax(0) - volume.amin(0)) / 2
    return torch.where(middle > 0, spread / middle.clamp_min(1e-9), 0.0).tolist()
