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
    """Measures the pattern and the dynamics of grown bodies.

    What each figure means, its range and its paper stand in `nca3d.reports.values.EXPLANATIONS`; the formulas are in
    `pools.pattern` (pattern) and `dynamics` (movement).

    Args:
        rule: What one cell does.
        states: Grown bodies (B, C, D, H, W).
        steps: The number of steps for which they are watched, 1 or more.
        random_seed: Chooses the fire masks; take it from `nca3d.fire.evaluation_seed`, so that training never used them.
        executor: The executor's name, see `nca3d.rollout`.

    Returns:
        Every figure of `EXPLANATIONS` by name, a list of B values each: finite, or None where a figure can't be measured,
        as for a body that is dead or not finite at the start.

    Raises:
        ValueError: If steps is below 1, or the states are not of the rule's shape.
    """
    if steps < 1:
        raise ArgumentError("steps", steps, "1 or more", "emergence")
    if states.ndim != 5 or states.shape[1] != rule.channels:
        raise ArgumentError("states", tuple(states.shape), f"(B, {rule.channels}, D, H, W)", "emergence")
    values: dict[str, list[float | None]] = {name: [] for name in EXPLANATIONS}
    for number, state in enumerate(states):
        one = state[None]  # one body at a time: memory does not grow with their number
        figures: dict[str, Any] = dict.fromkeys(EXPLANATIONS)
        if bool(rule.alive_mask(one).any()) and bool(one.isfinite().all()):
            run: dict[str, Any] = {"steps": steps, "random_seed": random_seed, "executor": executor}
            run["sample_ids"] = torch.tensor([number])  # alone in its batch, it still draws the masks of its own number
            visible = cropped(one, rule)[:, : rule.visible + 1]
            figures |= {name: value.item() for name, value in pattern.summary(visible, rule.visible_kind).items()}
            figures |= wavelength(pattern.colours(visible, rule.visible_kind))
            figures |= moving(rule, one, **run)
            figures["lyapunov"] = lyapunov(rule, one, **run)[0]
        for name in EXPLANATIONS:
            value = figures[name]
            values[name].append(value if value is not None and math.isfinite(value) else None)
    return values


def cropped(states: Tensor, rule: Rule) -> Tensor:
    """Crops states (B, C, D, H, W) to the box of their living cells, so that the lattice around a body does not count."""
    return pattern.cropped(states, rule.alive_mask(states)[:, 0])


def wavelength(field: Tensor) -> dict[str, float | None]:
    """Measures the spatial spectrum of one field (Field 1987).

    Args:
        field: The looks of one body, (1, K, D, H, W).

    Returns:
        `peak_wavelength` = 1 / argmax_f P(f), in cells from crest to crest, 2 and above; and `spectral_centroid` =
        Σ f·P(f) / Σ P(f), in cycles per cell, 0 .. ½. Both are None for a constant field.
    """
    frequencies, power = pattern.spatial_spectrum(field)
    total = float(power.sum())
    if total <= 0:  # a constant field has no wave at all
        return {"peak_wavelength": None, "spectral_centroid": None}
    peak = float(1 / frequencies[int(power[0].argmax())])
    return {"peak_wavelength": peak, "spectral_centroid": float((frequencies * power[0]).sum()) / total}
