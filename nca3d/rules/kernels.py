"""What a cell can perceive: 3×3×3 kernels, weighted sums over its neighbours that give a field's value, slope and curvature.

Their scale is that of calculus (law 7): a ramp of slope 1 gives 1 under a gradient kernel, and x² gives 2 under the Laplacian.
"""

import torch
from torch import Tensor

from nca3d.lattice import AXES

# The Sobel kernel is a product of these: a difference along its axis, a smoothing across it that averages noise away.
_SMOOTH = torch.tensor([1.0, 2.0, 1.0])
_SLOPE = torch.tensor([-1.0, 0.0, 1.0])

# By how many axes a neighbour is away (3, 3, 3): itself 0, faces 1, edges 2, corners 3.
_AWAY = torch.tensor([1, 0, 1])
AXES_AWAY = _AWAY[:, None, None] + _AWAY[None, :, None] + _AWAY[None, None, :]


def sobel(axis: str) -> Tensor:
    """Returns the derivative along an axis ("x", "y", "z") as a Sobel kernel (3, 3, 3): slope along it, smoothing across it."""
    factors = [_SMOOTH, _SMOOTH, _SMOOTH]
    factors[AXES[axis]] = _SLOPE
    return torch.einsum("d,h,w->dhw", *factors) / 32  # 2 · 4 · 4, so that a unit ramp gives 1


def laplacian() -> Tensor:
    """Returns the 27-point Laplacian as a kernel (3, 3, 3): faces 6, edges 3, corners 2, centre −88, all divided by 26."""
    # All 27 add up to 0, since an even field has no curvature.
    return torch.tensor([-88.0, 6.0, 3.0, 2.0])[AXES_AWAY] / 26


# What the Laplacian is divided by where its name says so: by the whole of it a cell sees 3.4 times itself, and a lone first
# cell that learns by that dies easily; by a quarter it sees as much as by others (docs/experiments.md, "What binds").
QUARTER = 4

_GRADIENT = (None, *(sobel(axis) for axis in "xyz"))

# Fixed perceptions: kernels (3, 3, 3) in order; None is the identity.
PERCEPTIONS: dict[str, tuple[Tensor | None, ...]] = {
    "gradient": _GRADIENT,
    "gradient+laplacian": (*_GRADIENT, laplacian()),
    "gradient+laplacian/4": (*_GRADIENT, laplacian() / QUARTER),
    "isotropic": (None, laplacian()),
}

# How many kernels each channel learns under perception "learned".
LEARNED_KERNELS = 3
