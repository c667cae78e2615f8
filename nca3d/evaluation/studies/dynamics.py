"""How a body moves, and how its rule takes a small difference: `moving`, `period`, `specialisation`, `lyapunov`."""

import copy
import math

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule
from pools import pattern

# A wave stands clear when its power is so many times the median of the spectrum, times the log of its length.
CLEAR = 10.0

# A wave with an amplitude below this share of the series' size is left to the rounding of float32.
SLIGHT = 1e-4


@torch.no_grad()
def moving(
    rule: Rule, state: Tensor, *, steps: int, random_seed: int, sample_ids: Tensor, executor: str = "auto"
) -> dict[str, float | None]:
    """How one body moves: `activity`, `activity_period`, `specialisation`, `behaviours`. Holds two states at a time.

    Args:
        rule: what one cell does.
        state: float (1, C, D, H, W).
        steps: for how long it is watched, 1 or more.
        random_seed, sample_ids: choose the fire masks.
        executor: see `rollout`.

    Returns:
        The figures, None for what can't be told: a body that blows up has none.
    """
    alive = rule.alive_mask(state)[0, 0]
    start, activity = state, []
    hidden = slice(rule.alpha + 1, None) if rule.channels > rule.alpha + 1 else slice(0, None)
    total = torch.zeros_like(state[0, hidden][:, alive], dtype=torch.float64)
    square = torch.zeros_like(total)
    for step in range(steps):
        state = rollout(rule, start, 1, random_seed=random_seed, first_step=step, sample_ids=sample_ids, executor=executor)
        change = (state - start)[0, : rule.visible + 1].abs().mean(dim=0)
        activity.append(float(change.sum()) / max(1, int(alive.sum())))
        values = state[0, hidden][:, alive].double()
        total, square, start = total + values, square + values.square(), state
    return {
        "activity": sum(activity) / steps,
        "activity_period": period(torch.tensor(activity, dtype=torch.float64)),
        **specialisation(total, square, steps),
    }


def period(series: Tensor, *, fits: int = 3, spacing: int = 1, peak: bool = True) -> float | None:
    """Steps from crest to crest of the wave that stands clear in a series (Welch 1967); None where none does.

    It must rise above `CLEAR`, and be the strongest of those that fit in `fits` times or more.

    Args:
        series: (T,), one value a look; fewer than four looks for each time that the wave must fit in tell nothing.
        fits: how often the wave must fit in: slower ones can't be told from a drift.
        spacing: steps from one look to the next.
        peak: whether it must be a peak of the whole spectrum (what settles down falls all the way instead) and above `SLIGHT`;
            else it is held against the waves that it is chosen from, and the plain mean is taken off.

    Returns:
        2 .. T / fits looks, in steps, or None.
    """
    if len(series) < 4 * fits or not bool(series.isfinite().all()) or not bool((series != series[0]).any()):
        return None
    power = pattern.temporal_spectrum(series[:, None], weighted=peak)[1][:, 0]  # from the wave that fits in once
    best = int(power[fits - 1 :].argmax()) + fits - 1
    floor = power if peak else power[fits - 1 :]
    clear = float(power[best]) > CLEAR * math.log(len(floor)) * float(floor.median())
    if peak:  # a sine of amplitude a has the power (a · T / 4)² under the window
        slight = (SLIGHT * float(series.abs().mean()) * len(series) / 4) ** 2
        clear = clear and float(power[best]) > slight and bool(power[best] > power[best - 1])
    return spacing * len(series) / (best + 1) if clear else None


def eta_squared(between: Tensor, overall: Tensor, rounding: Tensor | float = 0.0) -> Tensor:
    """The share of a variance that lies between groups, η² (Fisher 1925), 0 .. 1; NaN where nothing varies beyond rounding."""
    return torch.where(overall > rounding, (between / overall).clamp_max(1.0), torch.nan)


def specialisation(total: Tensor, square: Tensor, steps: int) -> dict[str, float | None]:
    """How differently cells behave, from sums over time of each cell's channels and of their squares.

    `specialisation`, η² = variance between the cells' means / variance of all values (Fisher 1925): 0, all do the same; 1, each
    keeps to a way of its own. `behaviours` = (Σλ)² / Σλ², λ the variances along the principal axes of the cells' means: in how
    many independent ways they differ.

    Args:
        total, square: float64 (C, N), sums over time for N cells.
        steps: how many moments were added up.

    Returns:
        0 .. 1, and 1 .. C; None where nothing varies or something isn't finite.
    """
    found: dict[str, float | None] = {"specialisation": None, "behaviours": None}
    if not total.numel() or not steps or not bool((total.isfinite() & square.isfinite()).all()):
        return found
    mean = total / steps
    between = mean.var(dim=1, correction=0).sum()
    power = (square / steps).mean(dim=1)
    rounding = 1e-12 * power.sum()
    share = float(eta_squared(between, (power - mean.mean(dim=1).square()).sum(), rounding))
    found["specialisation"] = None if math.isnan(share) else share
    if between > rounding:
        spread = torch.linalg.eigvalsh(torch.cov(mean, correction=0).reshape(len(mean), -1)).clamp_min(0)
        found["behaviours"] = float(spread.sum() ** 2 / spread.square().sum())
    return found


@torch.no_grad()
def lyapunov(
    rule: Rule,
    states: Tensor,
    *,
    steps: int = 64,
    random_seed: int,
    sample_ids: Tensor | None = None,
    executor: str = "auto",
    every: int = 4,
    distance: float = 1e-6,
) -> list[float | None]:
    """Finite-time Lyapunov exponent a step: does a small difference grow (> 0) or fade (< 0) under the same fire masks?

    λ = (1/T) Σ ln(|d_k| / |d_0|), the difference set back to |d_0| after every few steps (Benettin et al. 1980, Meccanica 15);
    in float64, the difference on living cells alone.

    Args:
        rule: what one cell does; it is copied, not changed.
        states: (B, C, D, H, W).
        steps: T, 1 or more.
        random_seed, sample_ids: choose the fire masks, the same for both.
        executor: see `rollout`.
        every: steps between two renormalisations.
        distance: |d_0|, the root mean square over the living cells' values.

    Returns:
        One rate a body; None where nothing lives, the difference vanished altogether or became infinite.

    Raises:
        ValueError: steps or every below 1.
    """
    if steps < 1 or every < 1:
        raise ArgumentError("lyapunov", f"steps {steps}, every {every}", "1 or more")
    exact = copy.deepcopy(rule).double().requires_grad_(False)
    one = states.double()
    cells = rule.alive_mask(states).expand_as(states)
    generator = torch.Generator().manual_seed(random_seed)
    noise = torch.randn(one.shape, generator=generator, dtype=torch.float64).to(one.device)
    difference = torch.where(cells, noise, 0.0)
    size = difference.flatten(1).norm(dim=1)
    wanted = distance * cells.flatten(1).sum(dim=1).double().sqrt()
    difference = difference * _scale(wanted / size.clamp_min(1e-300))
    growth, whole = torch.zeros(len(states), dtype=torch.float64), size > 0
    done = 0
    while done < steps:
        part = min(every, steps - done)
        run = {"random_seed": random_seed, "first_step": done, "sample_ids": sample_ids, "executor": executor}
        one, other = (rollout(exact, state, part, **run) for state in (one, one + difference))  # type: ignore[arg-type]
        difference = other - one
        size = difference.flatten(1).norm(dim=1)
        whole &= (size > 0) & size.isfinite()
        ratio = torch.where(whole, size / wanted.clamp_min(1e-300), 1.0)
        growth += ratio.log().cpu()
        difference = difference.nan_to_num(0.0, 0.0, 0.0) * _scale(1 / ratio)
        done += part
    return [float(value) / steps if fine else None for value, fine in zip(growth, whole.tolist(), strict=True)]


def _scale(factor: Tensor) -> Tensor:
    return factor[:, None, None, None, None]
