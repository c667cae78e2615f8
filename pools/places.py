"""Random cells, points and directions in lattices, and how far every cell lies from them: where damage is done.

Bodies are bool (n, D, H, W); points and vectors are float64. All draws are made where the generator lives.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pools.errors import ArgumentError

Vector = Sequence[float] | Tensor

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def uniform(shape: Sequence[int], g: torch.Generator, device: torch.device) -> Tensor:
    """Even in 0..1, drawn where the generator lives: the same masks whatever device the states are on."""
    return torch.rand(tuple(shape), generator=g, dtype=torch.float64, device=g.device).to(device)


def random_cell(inside: Tensor, g: torch.Generator) -> Tensor:
    """(n,) index of a random True of each row of (n,cells); the last cell where a row has none."""
    so_far = inside.cumsum(dim=1)
    pick = (uniform((len(inside),), g, inside.device) * so_far[:, -1]).floor().long() + 1
    return torch.searchsorted(so_far, pick[:, None]).flatten().clamp(max=inside.shape[1] - 1)


def centers(bodies: Tensor, center: Vector | None, g: torch.Generator) -> Tensor:
    """(n,3) points (d,h,w): anywhere within a random cell of each body, so that no two samples share one."""
    n, (_, height, width) = len(bodies), bodies.shape[1:]
    if center is not None:
        return as_vectors("center", center, n).to(bodies.device)
    cell = random_cell(bodies.flatten(1), g)
    middle = torch.stack([cell // (height * width), cell // width % height, cell % width], dim=1)
    return middle + uniform((n, 3), g, bodies.device) - 0.5


def middles(bodies: Tensor) -> Tensor:
    """(n,3) centres of mass (d,h,w); the corner (0,0,0) where there is no body."""
    away = offsets(bodies, torch.zeros(len(bodies), 3, dtype=torch.float64, device=bodies.device))
    inside = bodies[:, None]
    return (away * inside).sum(dim=(2, 3, 4)) / inside.sum(dim=(2, 3, 4)).clamp(min=1)


def directions(direction: str | Vector | None, bodies: Tensor, g: torch.Generator) -> Tensor:
    """(n,3,1,1,1) unit vectors in (d,h,w) order, given or random on the sphere."""
    n = len(bodies)
    if direction is None:
        # A normalised Gaussian is even on the sphere; a normalised cube would favour the corners.
        vectors = torch.randn(n, 3, generator=g, dtype=torch.float64, device=g.device)
    elif isinstance(direction, str):
        if len(direction) != 2 or direction[0] not in "+-" or direction[1] not in AXES:
            raise ArgumentError("damage", "direction", repr(direction), "+x, -x, +y, -y, +z, -z or (x,y,z)")
        vectors = as_vectors("direction", AXES[direction[1]], n) * (1.0 if direction[0] == "+" else -1.0)
    else:
        vectors = as_vectors("direction", direction, n)
    length = vectors.norm(dim=1, keepdim=True)
    if not bool((length > 0).all()):
        raise ArgumentError("damage", "direction", "a vector of length 0", "(x,y,z), not all 0")
    return (vectors / length).flip(1).to(bodies.device).view(n, 3, 1, 1, 1)


def as_vectors(field: str, values: Vector, n: int) -> Tensor:
    """(n,3) of one vector for all, or of one each; ArgumentError names the field."""
    found = torch.as_tensor(values, dtype=torch.float64)
    if tuple(found.shape) not in ((3,), (n, 3)) or not bool(found.isfinite().all()):
        raise ArgumentError("damage", field, found.tolist(), f"3 finite numbers or ({n},3)")
    return found.expand(n, 3)


def offsets(bodies: Tensor, origin: Tensor) -> Tensor:
    """(n,3,D,H,W) from each sample's origin to every cell, in cells, (d,h,w) order."""
    axes = [torch.arange(side, dtype=torch.float64, device=bodies.device) for side in bodies.shape[1:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")) - origin.view(-1, 3, 1, 1, 1)
