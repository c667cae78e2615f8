"""Emergence, plainly named: the pattern of grown bodies (`pools.pattern`) and how it moves (`dynamics`), body by body."""

import math
from typing import Any

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.evaluation.studies.dynamics import lyapunov, moving
from nca3d.reports.values import EXPLANATIONS
from nca3d.rules.cell import Rule
from pools import pattern


@torch.no_grad()
def emergence(
    rule: Rule, states: Tensor, *, steps: int = 64, random_seed: int, executor: str = "auto"
) -> dict[str, list[float | None]]:
    """Every figure of `EXPLANATIONS` for grown bodies, one value a body; None where it can't be measured.

    Args:
        rule: what one cell does.
        states: grown bodies (B, C, D, H, W).
        steps: for how long they are watched, 1 or more.
        random_seed: chooses the fire masks; take it from `nca3d.fire.evaluation_seed`.
        executor: see `rollout`.

    Returns:
        Lists of B values, all finite or None; a body that is dead or not finite at the start has none.

    Raises:
        ValueError: steps below 1, or states that the rule can't have.
    """
    if steps < 1:
        raise ArgumentError("steps", steps, "1 or more", "emergence")
    if states.ndim != 5 or states.shape[1] != rule.channels:
        raise ArgumentError("states", tuple(states.shape), f"(B, {rule.channels}, D, H, W)", "emergence")
    found: dict[str, list[float | None]] = {name: [] for name in EXPLANATIONS}
    for number, state in enumerate(states):
        one = state[None]  # one body at a time: memory does not grow with their number
        figures: dict[str, Any] = dict.fromkeys(EXPLANATIONS)
        if bool(rule.alive_mask(one).any()) and bool(one.isfinite().all()):
            run: dict[str, Any] = {"steps": steps, "random_seed": random_seed, "executor": executor}
            run["sample_ids"] = torch.tensor([number])
            shown = cropped(one, rule)[:, : rule.visible + 1]
            figures |= {name: value.item() for name, value in pattern.summary(shown, rule.visible_kind).items()}
            figures |= wavelength(pattern.colours(shown, rule.visible_kind))
            figures |= moving(rule, one, **run)
            figures["lyapunov"] = lyapunov(rule, one, **run)[0]
        for name in EXPLANATIONS:
            value = figures[name]
            found[name].append(value if value is not None and math.isfinite(value) else None)
    return found


def cropped(states: Tensor, rule: Rule) -> Tensor:
    """States within the box of their living cells, so that the lattice around a body does not count."""
    return pattern.cropped(states, rule.alive_mask(states)[:, 0])


def wavelength(field: Tensor) -> dict[str, float | None]:
    """Peak wavelength (cells) and centroid (cycles per cell) of the spatial spectrum of one field, (1, K, D, H, W).

    Returns:
        `peak_wavelength`, `spectral_centroid`; None for a constant field.
    """
    frequencies, power = pattern.spatial_spectrum(field)
    total = float(power.sum())
    if total <= 0:
        return {"peak_wavelength": None, "spectral_centroid": None}
    peak = float(1 / frequencies[int(power[0].argmax())])
    return {"peak_wavelength": peak, "spectral_centroid": float((frequencies * power[0]).sum()) / total}
