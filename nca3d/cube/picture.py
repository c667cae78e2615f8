"""How a cube looks: activity, dark to bright."""

import numpy as np
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.rules.cell import Rule


def activity(state: Tensor, rule: Rule, scale: float | None = None) -> np.ndarray:
    """The root mean square of a cell's features; alpha grows with it. Overflow counts as infinite, so not as there.

    Args:
        state: float32 (B, C, D, H, W), on the processor.
        rule: says which channels are features.
        scale: the activity that is brightest; None = the largest of these states.

    Returns:
        float32 (B, D, H, W, 4), 0..1.

    Raises:
        ValueError: a scale that is not above 0.
    """
    if scale is not None and not 0 < scale < np.inf:
        raise ArgumentError("scale", scale, "above 0, or None")
    shown = state[:, : rule.visible].square().mean(dim=1).sqrt().numpy()
    there = np.isfinite(shown)
    most = scale or shown.max(where=there, initial=0.0) or 1.0
    level = np.where(there, shown / most, 0.0).clip(0.0, 1.0)
    return np.concatenate([dark_to_bright(level), level[..., None]], axis=-1).astype(np.float32)


def dark_to_bright(level: np.ndarray) -> np.ndarray:
    """0 .. 1 -> colours (…, 3): black, violet, red, orange, pale yellow in even steps of lightness.

    The map "inferno" of Smith and van der Walt (2015, public domain), at 17 points with straight lines between them.
    """
    codes = [
        "000004",
        "0b0724",
        "210c4a",
        "3d0965",
        "57106e",
        "71196e",
        "8a226a",
        "a32c61",
        "bc3754",
        "d24644",
        "e45a31",
        "f1731d",
        "f98e09",
        "fcac11",
        "f9cb35",
        "f2ea69",
        "fcffa4",
    ]
    stops = np.array([[int(code[k : k + 2], 16) / 255 for k in (0, 2, 4)] for code in codes])
    return np.stack([np.interp(level, np.linspace(0, 1, len(stops)), channel) for channel in stops.T], axis=-1)
