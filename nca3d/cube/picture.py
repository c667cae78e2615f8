"""How a cube looks: the activity of its cells, dark to bright."""

import numpy as np
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.rules.cell import Rule


def activity(state: Tensor, rule: Rule, scale: float | None = None) -> np.ndarray:
    """Returns colours by each cell's activity, the root mean square of its features; opacity grows with it.

    A cell whose activity overflows is not shown.

    Args:
        state: The states, float32 (B, C, D, H, W), on the processor.
        rule: The cube's rule, which says which channels are features.
        scale: The activity of the brightest colour, above 0; None = the largest activity in these states.

    Returns:
        Red, green, blue and opacity, float32 (B, D, H, W, 4), 0 to 1.

    Raises:
        ArgumentError: The scale is not above 0.
    """
    if scale is not None and not 0 < scale < np.inf:
        raise ArgumentError("scale", scale, "above 0, or None")
    strength = state[:, : rule.visible].square().mean(dim=1).sqrt().numpy()
    finite = np.isfinite(strength)
    # A cube at rest has a largest activity of 0, and shall not divide by it.
    most = scale or strength.max(where=finite, initial=0.0) or 1.0
    level = np.where(finite, strength / most, 0.0).clip(0.0, 1.0)
    # Opacity is the activity itself, so that cells at rest don't hide those behind them.
    return np.concatenate([dark_to_bright(level), level[..., None]], axis=-1).astype(np.float32)


def dark_to_bright(level: np.ndarray) -> np.ndarray:
    """Returns colours (…, 3), 0 to 1: from black over violet, red and orange to pale yellow, in even steps of lightness.

    It is the map "inferno" of Smith and van der Walt (2015, public domain) at 17 points, linear between them.

    Args:
        level: How bright each colour is, (…), 0 to 1.
    """
    # Equal steps of lightness: neither a printer nor a colour-blind eye loses the order.
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
