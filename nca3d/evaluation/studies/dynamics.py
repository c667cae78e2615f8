"""How a body moves, and whether a small difference grows: `moving`, `period`, `specialisation`, `lyapunov`."""

import copy
import math

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.rollout import rollout
from nca3d.rules.cell import Rule
from pools import pattern

# A wave stands clear when its power is above this number times the median of the spectrum times the log of its length: the
# largest of n noise powers grows with log n, so that longer series don't find waves by chance more often.
CLEAR = 10.0

# A wave with an amplitude below this share of the series' mean |value| could be the rounding of float32.
SLIGHT = 1e-4


@torch.no_grad()
def moving(
    rule: Rule, state: Tensor, *, steps: int, random_seed: int, sample_ids: Tensor, executor: str = "auto"
) -> dict[str, float | None]:
    """Measures how one body moves. Two states are held at a time, whatever the number of steps.

    Args:
        rule: What one cell does.
        state: The body, float (1, C, D, H, W).
        steps: The number of steps for which it is watched, T, 1 or more.
        random_seed: Chooses the fire masks, together with sample_ids.
        sample_ids: The number of the body, int (1,).
        executor: The executor's name, see `nca3d.rollout`.

    Returns:
        `activity` = (1/T) Σ_t Σ_cells mean_c |x_t - x_(t-1)| / number of living cells, over the visible channels and alpha,
        0 and above; `activity_period` in steps, see `period`; `specialisation` and `behaviours`, see `specialisation`. Each
        is None where it can't be told: a body that blows up has none.
    """
    alive = rule.alive_mask(state)[0, 0]
    start, activity = state, []
    # A rule without hidden channels is judged by all that it has.
    hidden = slice(rule.alpha + 1, None) if rule.channels > rule.alpha + 1 else slice(0, None)
    # Sums in place of the trajectory, in float64: the variance is a small difference of large numbers.
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
    """Finds the wave that stands clear in a series: argmax of its power spectrum (windowed as in Welch 1967).

    The wave is the strongest of those that fit in `fits` times or more, and its power is above `CLEAR` · median(power) ·
    ln(number of waves).

    Args:
        series: One value for each look, (T,). With fewer than 4 · `fits` looks nothing is told.
        fits: How often the wave must fit into the series: slower ones can't be told from a drift.
        spacing: The steps from one look to the next.
        peak: True: the wave must be a peak of the whole spectrum (the spectrum of a body that settles down has no peak, it
            falls all the way) and have an amplitude above `SLIGHT`. False: it is compared with the waves that fit in
            alone, and only the mean is subtracted.

    Returns:
        Steps from crest to crest, 2 · spacing .. T · spacing / fits; None where no wave stands clear.
    """
    if len(series) < 4 * fits or not bool(series.isfinite().all()) or not bool((series != series[0]).any()):
        return None
    power = pattern.temporal_spectrum(series[:, None], weighted=peak)[1][:, 0]  # begins with the wave that fits in once
    best = int(power[fits - 1 :].argmax()) + fits - 1
    floor = power if peak else power[fits - 1 :]
    clear = float(power[best]) > CLEAR * math.log(len(floor)) * float(floor.median())
    if peak:  # a sine of amplitude a has the power (a · T / 4)² under the window
        slight = (SLIGHT * float(series.abs().mean()) * len(series) / 4) ** 2
        clear = clear and float(power[best]) > slight and bool(power[best] > power[best - 1])
    return spacing * len(series) / (best + 1) if clear else None


def eta_squared(between: Tensor, overall: Tensor, rounding: Tensor | float = 0.0) -> Tensor:
    """Returns the share of a variance that lies between groups, η² = between / overall (Fisher 1925).

    Args:
        between: The variance of the groups' means.
        overall: The variance of all values, of the same shape.
        rounding: The overall variance up to which nothing is taken to vary.

    Returns:
        0 .. 1; NaN where nothing varies beyond rounding.
    """
    return torch.where(overall > rounding, (between / overall).clamp_max(1.0), torch.nan)


def specialisation(total: Tensor, square: Tensor, steps: int) -> dict[str, float | None]:
    """Measures how differently cells behave, from sums over time.

    Args:
        total: The sum over time of each cell's channels, float64 (C, N) for N cells.
        square: The sum over time of their squares, float64 (C, N).
        steps: The number of moments that were added up.

    Returns:
        `specialisation`, η² = variance between the cells' means / variance of all values, 0 .. 1 (Fisher 1925): at 0 all
        cells do the same, at 1 each keeps to a way of its own. `behaviours` = (Σλ)² / Σλ², 1 .. C, where λ are the variances
        along the principal axes of the cells' means: the number of independent ways in which cells differ (participation
        ratio, Bell & Dean 1970). Each is None where nothing varies or a value isn't finite.
    """
    figures: dict[str, float | None] = {"specialisation": None, "behaviours": None}
    if not total.numel() or not steps or not bool((total.isfinite() & square.isfinite()).all()):
        return figures
    mean = total / steps
    between = mean.var(dim=1, correction=0).sum()
    power = (square / steps).mean(dim=1)
    # Variances are differences of squares: what is this small beside the squares is rounding of float64.
    rounding = 1e-12 * power.sum()
    share = float(eta_squared(between, (power - mean.mean(dim=1).square()).sum(), rounding))
    figures["specialisation"] = None if math.isnan(share) else share
    if between > rounding:
        # One channel has a covariance without axes: the reshape gives it two. Rounding may make an eigenvalue negative.
        spread = torch.linalg.eigvalsh(torch.cov(mean, correction=0).reshape(len(mean), -1)).clamp_min(0)
        figures["behaviours"] = float(spread.sum() ** 2 / spread.square().sum())
    return figures


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
    """Measures the finite-time Lyapunov exponent: does a small difference grow (> 0) or fade (< 0) under the same fire masks?

    λ = (1/T) Σ_k ln(|d_k| / |d_0|), in 1 / step; the difference d is set back to the size |d_0| after every few steps
    (Benettin et al. 1980, Meccanica 15). Computed in float64; the first difference lies on living cells alone.

    Args:
        rule: What one cell does. It is copied, not changed.
        states: Grown bodies (B, C, D, H, W).
        steps: T, 1 or more.
        random_seed: Chooses the first difference and, together with sample_ids, the fire masks, the same for both bodies.
        sample_ids: The numbers of the bodies, int (B,); None = 0 .. B - 1.
        executor: The executor's name, see `nca3d.rollout`.
        every: The steps between two renormalisations.
        distance: |d_0|, as a root mean square over the living cells' values.

    Returns:
        One rate for each body, any number; None where nothing lives, or the difference vanished or became infinite.

    Raises:
        ValueError: If steps or every is below 1.
    """
    if steps < 1 or every < 1:
        raise ArgumentError("lyapunov", f"steps {steps}, every {every}", "1 or more")
    # In float32 the difference would drown: 1e-6 is about the rounding of values near 1.
    exact = copy.deepcopy(rule).double().requires_grad_(False)
    one = states.double()
    cells = rule.alive_mask(states).expand_as(states)
    generator = torch.Generator().manual_seed(random_seed)
    noise = torch.randn(one.shape, generator=generator, dtype=torch.float64).to(one.device)
    difference = torch.where(cells, noise, 0.0)
    size = difference.flatten(1).norm(dim=1)
    start_size = distance * cells.flatten(1).sum(dim=1).double().sqrt()
    difference = difference * _scale(start_size / size.clamp_min(1e-300))
    growth, whole = torch.zeros(len(states), dtype=torch.float64), size > 0
    done = 0
    while done < steps:
        part = min(every, steps - done)
        run = {"random_seed": random_seed, "first_step": done, "sample_ids": sample_ids, "executor": executor}
        one, other = (rollout(exact, state, part, **run) for state in (one, one + difference))  # type: ignore[arg-type]
        difference = other - one
        size = difference.flatten(1).norm(dim=1)
        whole &= (size > 0) & size.isfinite()
        # A body that is out of the count goes on with a ratio of 1, so that the others needn't be taken out of the batch.
        ratio = torch.where(whole, size / start_size.clamp_min(1e-300), 1.0)
        growth += ratio.log().cpu()
        difference = difference.nan_to_num(0.0, 0.0, 0.0) * _scale(1 / ratio)
        done += part
    return [float(value) / steps if fine else None for value, fine in zip(growth, whole.tolist(), strict=True)]


def _scale(factor: Tensor) -> Tensor:
    """Returns one factor for each body in the shape (B, 1, 1, 1, 1) that multiplies its state."""
    return factor[:, None, None, None, None]
