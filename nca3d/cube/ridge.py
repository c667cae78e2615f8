"""Ridge regression (Hoerl & Kennard 1970): the best straight line from questions to answers, and how well it does."""

from typing import NamedTuple

import torch
from torch import Tensor

# Of the penalty, as shares of the mean square of the inputs; the best is found by leaving each question out in turn.
STRENGTHS = tuple(10.0**power for power in range(-6, 4))


class Ridge(NamedTuple):
    """x @ weight + bias, and the strength that was chosen."""

    weight: Tensor
    bias: Tensor
    strength: float

    def __call__(self, x: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs)."""
        return x @ self.weight.to(x) + self.bias.to(x)


def fit_ridge(x: Tensor, y: Tensor) -> Ridge:
    """Fit (N, inputs) to (N, outputs); leave-one-out errors come from one decomposition (Golub, Heath & Wahba 1979)."""
    x, y = x.double(), y.double()
    middle_x, middle_y = x.mean(dim=0), y.mean(dim=0)
    left, size, right = torch.linalg.svd(x - middle_x, full_matrices=False)
    share = left.T @ (y - middle_y)
    unit = size.square().sum() / max(1, len(size))
    best: tuple[float, float] = (torch.inf, STRENGTHS[-1])
    for strength in STRENGTHS:
        kept = size.square() / (size.square() + strength * unit)
        wrong = (y - middle_y) - left @ (kept[:, None] * share)
        leverage = (left.square() * kept).sum(dim=1) + 1 / len(x)
        error = float((wrong / (1 - leverage).clamp_min(1e-6)[:, None]).square().mean())
        best = min(best, (error, strength))
    weight = right.T @ ((size / (size.square() + best[1] * unit))[:, None] * share)
    return Ridge(weight.float(), (middle_y - middle_x @ weight).float(), best[1])
