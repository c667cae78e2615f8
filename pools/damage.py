"""Damage: masks of the cells of a body that are destroyed, with an honest severity (law 10).

Every damage is one idea: a scalar field over the lattice, low where destruction begins. `carve` then destroys the body's
cells in the order of the field until the given fraction is reached, so severity means the same for a ball and a plane.

    @pools.damage.register("corner")                                  # one line adds it to training and to the laws
    def corner(size, n, *, severity, body=None, generator=None):
        field = torch.stack(torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij")).sum(0)
        return pools.damage.carve(field.expand(n, *size), severity=severity, body=body, generator=generator)

Common arguments:

- `size` (D,H,W); `n` samples, each with its own centre and direction
- `severity` 0..1, one number or n: the fraction of the body's cells destroyed, the nearest achievable; one cell survives
- `body` bool (D,H,W) or (n,D,H,W), default the whole lattice
- `generator`, default a fresh one seeded with 0, so that the same call gives the same masks

Every damage returns bool (n,1,D,H,W), True = destroyed, and raises ValueError for arguments that don't fit. Random numbers
are drawn on the generator's device, so that masks don't depend on the body's device, where all else is computed.
"""

import torch
from torch import Tensor

from pools import geodesic, places
from pools.carving import ALIVE_THRESHOLD, Severity, Size, apply, bodies_and_generator, carve, compose
from pools.named_damages import DAMAGES, draw, mixture, register
from pools.places import Vector

__all__ = [
    "ALIVE_THRESHOLD",
    "DAMAGES",
    "Severity",
    "Size",
    "apply",
    "box",
    "carve",
    "compose",
    "cube",
    "draw",
    "half_space",
    "limb",
    "mixture",
    "random_cells",
    "register",
    "shell",
    "slab",
    "sphere",
]


@register("sphere")
def sphere(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    center: Vector | None = None,
) -> Tensor:
    """Destroys a ball around a random point of the body, or around `center` (d,h,w)."""
    bodies, g = bodies_and_generator(size, n, body, generator)
    distance = places.offsets(bodies, places.centers(bodies, center, g)).square().sum(dim=1).sqrt()
    return carve(distance, severity=severity, body=bodies, generator=g)


@register("box")
def box(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    center: Vector | None = None,
) -> Tensor:
    """Destroys a box along the axes around a random point of the body, or around `center` (d,h,w).

    Its sides are random, within a factor 2 of each other.
    """
    bodies, g = bodies_and_generator(size, n, body, generator)
    # Half-sides between 0.5 and 1; their scale doesn't matter, since severity decides how far carving goes.
    sides = 0.5 + 0.5 * places.uniform((n, 3, 1, 1, 1), g, bodies.device)
    reach = (places.offsets(bodies, places.centers(bodies, center, g)).abs() / sides).amax(dim=1)
    return carve(reach, severity=severity, body=bodies, generator=g)


@register("cube")
def cube(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    center: Vector | None = None,
) -> Tensor:
    """Destroys a cube around the body's centre of mass, or around `center` (d,h,w).

    Choose it to compare bodies: nothing in it is random, so every sample gets the same wound.
    """
    bodies, g = bodies_and_generator(size, n, body, generator)
    centers = places.middles(bodies) if center is None else places.centers(bodies, center, g)
    return carve(places.offsets(bodies, centers).abs().amax(dim=1), severity=severity, body=bodies, generator=g)


@register("limb")
def limb(
    size: Size, n: int, *, severity: Severity, body: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Destroys the end of a random limb, bool (n,1,D,H,W).

    Cells go in the order of their distance from the limb's tip *inside the body*, so that a belly close to the limb stays.
    """
    bodies, g = bodies_and_generator(size, n, body, generator)
    # Tips are the farthest from the innermost cell, which is a cell of the body even where its centre of mass is not.
    straight = places.offsets(bodies, places.middles(bodies)).square().sum(dim=1)
    innermost = straight.masked_fill(~bodies, torch.inf).flatten(1).argmin(dim=1)
    # One of the tips by chance, so that every limb gets its turn.
    tip = places.random_cell(geodesic.tips(geodesic.distances(bodies, innermost)).flatten(1), g)
    return carve(geodesic.order(bodies, tip), severity=severity, body=bodies, generator=g)


@register("half_space")
def half_space(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    direction: str | Vector | None = None,
) -> Tensor:
    """Destroys everything beyond a plane: the cells that are farthest along `direction`.

    The direction is "+x" … "-z" or a vector (x,y,z); the default is random.
    """
    bodies, g = bodies_and_generator(size, n, body, generator)
    # Any origin will do: a shift changes all values alike, and only their order counts.
    origin = torch.zeros(n, 3, dtype=torch.float64, device=bodies.device)
    along = (places.offsets(bodies, origin) * places.directions(direction, bodies, g)).sum(dim=1)
    # Negative, because carving begins where the field is lowest.
    return carve(-along, severity=severity, body=bodies, generator=g)


@register("slab")
def slab(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    direction: str | Vector | None = None,
    center: Vector | None = None,
) -> Tensor:
    """Destroys a slice between two planes across `direction`, through a random point of the body or `center` (d,h,w)."""
    bodies, g = bodies_and_generator(size, n, body, generator)
    offsets = places.offsets(bodies, places.centers(bodies, center, g))
    return carve(
        (offsets * places.directions(direction, bodies, g)).sum(dim=1).abs(), severity=severity, body=bodies, generator=g
    )


@register("shell")
def shell(
    size: Size,
    n: int,
    *,
    severity: Severity,
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
    center: Vector | None = None,
    radius: float | None = None,
) -> Tensor:
    """Destroys a hollow ball around a random point of the body and through a second one.

    `center` (d,h,w) and `radius`, in cells, take the place of the random ones.
    """
    bodies, g = bodies_and_generator(size, n, body, generator)
    centers = places.centers(bodies, center, g)
    # Through a second cell of the body, because a shell of any radius may miss a thin body.
    radii = (places.centers(bodies, None, g) - centers).norm(dim=1) if radius is None else centers.new_full((n,), radius)
    distance = places.offsets(bodies, centers).square().sum(dim=1).sqrt()
    return carve((distance - radii.view(n, 1, 1, 1)).abs(), severity=severity, body=bodies, generator=g)


@register("random_cells")
def random_cells(
    size: Size, n: int, *, severity: Severity, body: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Destroys single cells at random all over the body, bool (n,1,D,H,W)."""
    bodies, g = bodies_and_generator(size, n, body, generator)
    return carve(places.uniform(tuple(bodies.shape), g, bodies.device), severity=severity, body=bodies, generator=g)
