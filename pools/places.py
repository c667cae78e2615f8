"""Random cells, points and directions in lattices, where damage begins, and how far every cell is from them.

Bodies are bool (n,D,H,W); points and vectors are float64. Random numbers are drawn on the generator's device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pools.errors import ArgumentError

Vector = Sequence[float] | Tensor

# Unit vectors (x,y,z).
AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}


def uniform(shape: Sequence[int], g: torch.Generator, device: torch.device) -> Tensor:
    """Returns uniform random numbers in 0..1, float64 of the given shape (…,), on `device`.

    They are drawn on the generator's device, so masks are the same whatever device the states are on.
    """
    return torch.rand(tuple(shape), generator=g, dtype=torch.float64, device=g.device).to(device)


def random_cell(inside: Tensor, g: torch.Generator) -> Tensor:
    """Returns the index of a random True of each row, int64 (n,); the last cell where a row has none.

    Args:
        inside: bool (n,cells).
        g: draws one number for each row.
    """
    # The k-th True is the first place where the running count reaches k.
    so_far = inside.cumsum(dim=1)
    pick = (uniform((len(inside),), g, inside.device) * so_far[:, -1]).floor().long() + 1
    return torch.searchsorted(so_far, pick[:, None]).flatten().clamp(max=inside.shape[1] - 1)


def centers(bodies: Tensor, center: Vector | None, g: torch.Generator) -> Tensor:
    """Returns a point (d,h,w) for each body, (n,3).

    A random point lies anywhere within a random cell of the body, so that no two samples share one.

    Args:
        bodies: bool (n,D,H,W).
        center: the points instead of random ones, (3,) or (n,3).
        g: draws the cells and the points in them.
    """
    n, (_, height, width) = len(bodies), bodies.shape[1:]
    if center is not None:
        return as_vectors("center", center, n).to(bodies.device)
    cell = random_cell(bodies.flatten(1), g)
    middle = torch.stack([cell // (height * width), cell // width % height, cell % width], dim=1)
    # Up to half a cell to each side of the cell's middle.
    return middle + uniform((n, 3), g, bodies.device) - 0.5


def middles(bodies: Tensor) -> Tensor:
    """Returns the centres of mass (d,h,w) of bodies, (n,3); the corner (0,0,0) where a body is empty."""
    away = offsets(bodies, torch.zeros(len(bodies), 3, dtype=torch.float64, device=bodies.device))
    inside = bodies[:, None]
    # At least 1: an empty body has no centre, and any point will do.
    return (away * inside).sum(dim=(2, 3, 4)) / inside.sum(dim=(2, 3, 4)).clamp(min=1)


def directions(direction: str | Vector | None, bodies: Tensor, g: torch.Generator) -> Tensor:
    """Returns a unit vector (d,h,w) for each body, (n,3,1,1,1).

    Args:
        direction: "+x" … "-z", or a vector (x,y,z) for all or for each, (3,) or (n,3); None = random on the sphere.
        bodies: bool (n,D,H,W).
        g: draws random directions.

    Raises:
        ArgumentError: the direction is no axis, or a vector has length 0.
    """
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
    # Flipped from (x,y,z), which people write, to (d,h,w), the order of a lattice's axes.
    return (vectors / length).flip(1).to(bodies.device).view(n, 3, 1, 1, 1)


def as_vectors(field: str, values: Vector, n: int) -> Tensor:
    """Returns checked vectors, float64 (n,3).

    Args:
        field: name of the argument, for the message.
        values: one vector for all or one for each, (3,) or (n,3).
        n: number of samples.

    Raises:
        ArgumentError: the shape is another, or a number is not finite.
    """
    vectors = torch.as_tensor(values, dtype=torch.float64)
    if tuple(vectors.shape) not in ((3,), (n, 3)) or not bool(vectors.isfinite().all()):
        raise ArgumentError("damage", field, vectors.tolist(), f"3 finite numbers or ({n},3)")
    return vectors.expand(n, 3)


def offsets(bodies: Tensor, origin: Tensor) -> Tensor:
    """Returns the vectors (d,h,w) from each sample's origin (n,3) to every cell, (n,3,D,H,W), in cells."""
    axes = [torch.arange(side, dtype=torch.float64, device=bodies.device) for side in bodies.shape[1:]]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")) - origin.view(-1, 3, 1, 1, 1)
