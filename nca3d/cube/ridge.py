"""Ridge regression (Hoerl & Kennard 1970): the best linear map from questions to answers, which a cube has to beat."""

from typing import NamedTuple

import torch
from torch import Tensor

# Strengths of the penalty, relative to the mean square of the inputs along a direction; the one with the least leave-one-out
# error is chosen.
STRENGTHS = tuple(10.0**power for power in range(-6, 4))


class Ridge(NamedTuple):
    """A linear map, x @ weight + bias.

    Attributes:
        weight: The matrix, (inputs, outputs).
        bias: The vector, (outputs,).
        strength: The strength of the penalty that was chosen, one of `STRENGTHS`.
    """

    weight: Tensor
    bias: Tensor
    strength: float

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the outputs (N, outputs) for inputs x, (N, inputs)."""
        return x @ self.weight.to(x) + self.bias.to(x)


def fit_ridge(x: Tensor, y: Tensor) -> Ridge:
    """Fits a linear map, and chooses the penalty by leaving each sample out in turn.

    All leave-one-out errors come from one singular value decomposition (Golub, Heath & Wahba 1979).

    Args:
        x: The inputs, (N, inputs).
        y: The outputs that they should give, (N, outputs).
    """
    # In float64: with a weak penalty, small singular values are divided by their squares.
    x, y = x.double(), y.double()
    middle_x, middle_y = x.mean(dim=0), y.mean(dim=0)
    left, size, right = torch.linalg.svd(x - middle_x, full_matrices=False)
    share = left.T @ (y - middle_y)
    unit = size.square().sum() / max(1, len(size))
    best: tuple[float, float] = (torch.inf, STRENGTHS[-1])
    for strength in STRENGTHS:
        shrinkage = size.square() / (size.square() + strength * unit)
        residual = (y - middle_y) - left @ (shrinkage[:, None] * share)
        # How much a sample's own output moves its prediction: residual / (1 − leverage) is its error when it is left out.
        leverage = (left.square() * shrinkage).sum(dim=1) + 1 / len(x)
        error = float((residual / (1 - leverage).clamp_min(1e-6)[:, None]).square().mean())
        best = min(best, (error, strength))
    weight = right.T @ ((size / (size.square() + best[1] * unit))[:, None] * share)
    return Ridge(weight.float(), (middle_y - middle_x @ weight).float(), best[1])
