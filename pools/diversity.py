"""How varied a pool of states is. A pool that collapsed to one state teaches nothing new, while its loss looks healthy."""

import torch
from torch import Tensor

from pools.carving import ALIVE_THRESHOLD
from pools.errors import ArgumentError

# float64 values of one array that are in memory at once: 16 MiB.
_CHUNK_VALUES = 1 << 21


def summary(states: Tensor, alpha_channel: int | None = None, *, max_states: int = 256) -> dict[str, float]:
    """Returns measures of a pool's variety; a distance is the root mean square difference of two states' values.

    Distances and effective numbers are computed from at most `max_states` states, evenly spaced in the pool and the same
    each time; counts of cells and shares from all. Memory stays under about 100 MiB besides the states.

    - `states`, `compared`: how many states there are, and how many of them are compared
    - `distance_mean`, `distance_nearest`: over all pairs; from each state to its nearest other (0 = duplicates)
    - `distance_to_mean`: from each state to the mean state
    - `effective_states`: effective rank, the exponential of the entropy of the normalised singular values of the
      states as rows (Roy & Vetterli 2007): 1 if all are equal, k if there are k orthogonal ones of equal size
    - `participation_ratio`: (sum of squared singular values)² / sum of their fourth powers;
      small values count less than in the rank
    - `dead_share`: share of states without a living cell
    - `non_finite_share`: share of states with NaN or infinity, which are left out of distances
    - `living_cells_mean`, `_std`, `_min`, `_max`: living cells per state

    Args:
        states: (N,C,D,H,W).
        alpha_channel: a cell lives where this channel is above 0.1; None: where any channel is not 0, which needs no
            knowledge of the channels (dead cells hold 0 in all of them).
        max_states: 1 or more.

    Raises:
        ValueError: there are no states, their rank is wrong, or there is no such channel.
    """
    if states.ndim != 5 or not states.numel():
        raise ArgumentError("diversity", "states", tuple(states.shape), "(N,C,D,H,W), none of them 0")
    if alpha_channel is not None and not 0 <= alpha_channel < states.shape[1]:
        raise ArgumentError("diversity", "alpha_channel", alpha_channel, f"0..{states.shape[1] - 1}")
    if max_states < 1:
        raise ArgumentError("diversity", "max_states", max_states, "1 or more")
    states = states.detach()
    living, finite = _cells(states, alpha_channel)
    rows = finite.nonzero().flatten()
    # Every k-th row, with k rounded up: no more than `max_states` of them.
    rows = rows[:: -(-len(rows) // max_states)] if len(rows) else rows
    measures = {"states": float(len(states)), "compared": float(len(rows)), **_spread(states, rows)}
    return measures | {
        "dead_share": float((living == 0).double().mean()),
        "non_finite_share": float((~finite).double().mean()),
        "living_cells_mean": float(living.mean()),
        "living_cells_std": float(living.std(correction=0)),
        "living_cells_min": float(living.min()),
        "living_cells_max": float(living.max()),
    }


def _cells(states: Tensor, alpha_channel: int | None) -> tuple[Tensor, Tensor]:
    """Returns the number of living cells, float64 (N,), and whether all values are finite, bool (N,)."""
    living, finite = [], []
    for part in states.split(max(1, _CHUNK_VALUES // states[0].numel())):
        lives = (part != 0).any(dim=1) if alpha_channel is None else part[:, alpha_channel] > ALIVE_THRESHOLD
        living.append(lives.flatten(1).sum(dim=1).double())
        finite.append(part.isfinite().flatten(1).all(dim=1))
    return torch.cat(living), torch.cat(finite)


def _spread(states: Tensor, rows: Tensor) -> dict[str, float]:
    """Returns distances and effective numbers of the states at `rows`, all from one matrix of inner products."""
    n, values = len(rows), states[0].numel()
    if not n:
        return dict.fromkeys(_SPREAD, 0.0)
    # Of the first state and the differences from it, so that equal states have distance 0 exactly, without cancellation.
    products = _products(states, rows)
    own, with_first, first = products[1:, 1:], products[0, 1:], products[0, 0]
    square = own.diagonal()
    apart = (square[:, None] + square - 2 * own).clamp(min=0).div(values).sqrt()
    to_mean = (square - 2 * own.mean(dim=1) + own.mean()).clamp(min=0).div(values).sqrt()
    eigen = torch.linalg.eigvalsh(own + with_first[:, None] + with_first + first).clamp(min=0)
    # A smaller eigenvalue is a rounding error, and its square root would count as a ten-millionth of a state.
    eigen = torch.where(eigen > n * torch.finfo(torch.float64).eps * eigen.max(), eigen, 0.0)
    effective, participation = _effective(eigen)
    # Infinity on the diagonal: a state is not its own neighbour.
    others = apart + torch.diag(torch.full((n,), torch.inf, dtype=apart.dtype, device=apart.device))
    values_in_order = (
        float(apart.sum()) / max(1, n * (n - 1)),
        float(others.amin(dim=1).mean()) if n > 1 else 0.0,
        float(to_mean.mean()),
        effective,
        participation,
    )
    return dict(zip(_SPREAD, values_in_order, strict=True))


_SPREAD = ("distance_mean", "distance_nearest", "distance_to_mean", "effective_states", "participation_ratio")


def _products(states: Tensor, rows: Tensor) -> Tensor:
    """Returns the inner products of the first state and of each state's difference from it, float64 (n+1,n+1)."""
    flat, n = states.reshape(len(states), -1), len(rows)
    products = torch.zeros(n + 1, n + 1, dtype=torch.float64, device=states.device)
    # Values are summed chunk by chunk: a pool in float64 would take twice the memory that it has.
    width = max(1, _CHUNK_VALUES // (n + 1))
    for start in range(0, flat.shape[1], width):
        part = flat[:, start : start + width].index_select(0, rows).double()
        part = torch.cat([part[:1], part - part[:1]])
        products += part @ part.T
    return products


def _effective(eigen: Tensor) -> tuple[float, float]:
    """Returns effective rank and participation ratio from squared singular values; all-zero states count as one."""
    if not bool(eigen.max() > 0):
        return 1.0, 1.0
    share = eigen.sqrt() / eigen.sqrt().sum()
    entropy = -torch.special.xlogy(share, share).sum()
    return float(entropy.exp()), float(eigen.sum() ** 2 / (eigen**2).sum())
