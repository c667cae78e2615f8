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

import difflib
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

import torch
from torch import Tensor

from pools import geodesic, places
from pools.errors import ArgumentError
from pools.places import Vector

Severity = float | Sequence[float] | Tensor
Size = Sequence[int]

# Alpha above which a cell belongs to the body.
ALIVE_THRESHOLD = 0.1
# The registered damages by name.
DAMAGES: dict[str, Callable[..., Tensor]] = {}
# In cells: many cells of a lattice are equally far from a point; this breaks ties without moving a surface.
_JITTER = 1e-6
_F = TypeVar("_F", bound=Callable[..., Tensor])


def register(name: str) -> Callable[[_F], _F]:
    """Returns a decorator that adds a damage to `DAMAGES`.

    A damage that is defined again in the same place replaces the old one, so a cell of a notebook can be run twice.

    Args:
        name: a name that is not taken.
    """

    def enter(damage: _F) -> _F:
        known = DAMAGES.get(name, damage)
        if (known.__module__, known.__qualname__) != (damage.__module__, damage.__qualname__):
            _refuse("name", repr(name), "a name that is not taken: " + ", ".join(DAMAGES))
        DAMAGES[name] = damage
        return damage

    return enter


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
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
    centers = places.middles(bodies) if center is None else places.centers(bodies, center, g)
    return carve(places.offsets(bodies, centers).abs().amax(dim=1), severity=severity, body=bodies, generator=g)


@register("limb")
def limb(
    size: Size, n: int, *, severity: Severity, body: Tensor | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """Destroys the end of a random limb, bool (n,1,D,H,W).

    Cells go in the order of their distance from the limb's tip *inside the body*, so that a belly close to the limb stays.
    """
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
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
    bodies, g = _start(size, n, body, generator)
    return carve(places.uniform(tuple(bodies.shape), g, bodies.device), severity=severity, body=bodies, generator=g)


def carve(field: Tensor, *, severity: Severity, body: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Destroys each body's cells from the lowest value of a field upwards; only here severity becomes a count (law 10).

    The field's value at the last destroyed cell is the edge: cells outside the body that lie below it are in the mask too.
    Cells of equal value go in random order.

    Args:
        field: (n,D,H,W) finite numbers; their order counts, not their scale (differences under 1e-6 are ties).
        severity: 0..1, one number or n: the fraction of the body's cells to destroy.
        body: bool (D,H,W) or (n,D,H,W); None = the whole lattice.
        generator: draws the order of ties; None = a fresh one seeded with 0.

    Returns:
        bool (n,1,D,H,W), True = destroyed.

    Raises:
        ValueError: arguments don't fit, or the field is not finite.
    """
    if field.ndim != 4 or not bool(field.isfinite().all()):
        _refuse("field", tuple(field.shape), "(n,D,H,W), finite")
    n = len(field)
    bodies, g = _start(field.shape[1:], n, body, generator)
    # Samples are rows from here on, cells are columns.
    inside = bodies.flatten(1)
    cells = inside.sum(dim=1)
    # Rounded to the nearest achievable count; one cell always survives, for an empty body can't regrow.
    count = (_severities(severity, n).to(field.device) * cells).round().long().minimum(cells - 1).clamp(min=0)

    field = (field.double() + _JITTER * places.uniform(tuple(field.shape), g, field.device)).flatten(1)
    # Only as many cells as the largest wound are sorted; the count is exact even if the jitter left a tie.
    first = field.masked_fill(~inside, torch.inf).topk(max(1, int(count.max())), dim=1, largest=False, sorted=True)
    chosen = torch.arange(first.values.shape[1], device=field.device) < count[:, None]
    destroyed = torch.zeros_like(inside).scatter_(1, first.indices, chosen)
    edge = first.values.gather(1, (count[:, None] - 1).clamp(min=0)).masked_fill(count[:, None] == 0, -torch.inf)
    # Cells outside the body below the edge are in the mask too: a wound is a region, wherever the body lies in it.
    return (destroyed | (~inside & (field <= edge))).view(n, 1, *bodies.shape[1:])


def compose(*masks: Tensor, body: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
    """Returns the union of masks; given the body, one random cell of it survives where all would be destroyed.

    Args:
        *masks: bool (n,1,D,H,W), all of one shape.
        body: bool (D,H,W) or (n,D,H,W); None = nothing is spared.
        generator: draws the cell that survives.

    Returns:
        bool (n,1,D,H,W), True = destroyed.

    Raises:
        ValueError: there is no mask, or shapes and dtypes don't fit.
    """
    shapes = [tuple(mask.shape) for mask in masks]
    if not masks or len(shapes[0]) != 5 or len(set(shapes)) > 1 or any(mask.dtype != torch.bool for mask in masks):
        _refuse("masks", f"{shapes} {[str(mask.dtype) for mask in masks]}", "bool (n,1,D,H,W), all of one shape")
    union = torch.stack(masks).any(dim=0)
    if body is None:
        return union
    bodies, g = _start(shapes[0][2:], len(union), body.to(union.device), generator)
    inside = bodies.flatten(1)
    # Samples that would lose every cell; an empty body has nothing to lose.
    lost = inside.any(dim=1) & ~(inside & ~union.flatten(1)).any(dim=1)
    spared = torch.zeros_like(inside).scatter_(1, places.random_cell(inside, g)[:, None], lost[:, None])
    return union & ~spared.view_as(union)


def apply(state: Tensor, mask: Tensor, dead_value: float | Tensor = 0.0) -> Tensor:
    """Returns the state with every channel inside the mask set to the dead value; nothing outside changes, bit for bit.

    Args:
        state: (n,C,D,H,W).
        mask: bool (n,1,D,H,W) or (1,1,D,H,W), True = destroyed.
        dead_value: a number, or a tensor that broadcasts to the state.

    Returns:
        A new state (n,C,D,H,W).

    Raises:
        ValueError: the mask doesn't fit the state.
    """
    n, size = len(state), tuple(state.shape[2:])
    if mask.dtype != torch.bool or tuple(mask.shape) not in ((n, 1, *size), (1, 1, *size)):
        _refuse("mask", f"{tuple(mask.shape)} {mask.dtype}", f"bool {(n, 1, *size)}")
    # Selected, never multiplied: NaN times 0 is NaN.
    dead = torch.as_tensor(dead_value, dtype=state.dtype, device=state.device)
    return torch.where(mask.to(state.device), dead, state)


def draw(
    names: str | Sequence[str],
    size: Size,
    n: int,
    *,
    severity: float | tuple[float, float] = (0.1, 0.6),
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws a damage of random kind and severity for each sample, as training uses it.

    Args:
        names: registered damages; one that is listed twice is twice as likely.
        size: (D,H,W).
        n: number of samples.
        severity: one number, or a range (low, high) within 0..1 to draw from evenly.
        body: bool (D,H,W) or (n,D,H,W); None = the whole lattice.
        generator: draws names, severities, centres and directions.

    Returns:
        bool (n,1,D,H,W), True = destroyed.

    Raises:
        ValueError: a name is unknown (the message has the nearest one), or the range is not within 0..1.
    """
    damages, (low, high) = _named(names), _range(severity)
    bodies, g = _start(size, n, body, generator)
    # Kinds and severities for all samples at once, so that they don't depend on how samples are grouped below.
    which = torch.randint(len(damages), (n,), generator=g, device=g.device).to(bodies.device)
    amount = low + (high - low) * places.uniform((n,), g, bodies.device)
    mask = torch.zeros(n, 1, *size, dtype=torch.bool, device=bodies.device)
    for number, damage in enumerate(damages):
        rows = (which == number).nonzero().flatten()
        if len(rows):
            mask[rows] = damage(size, len(rows), severity=amount[rows], body=bodies[rows], generator=g)
    return mask


def mixture(
    names: str | Sequence[str], *, severity: float | tuple[float, float] = (0.1, 0.6)
) -> Callable[[Tensor, torch.Generator | None], Tensor]:
    """Returns `draw` with fixed names and severity, as a function (bodies bool (k,D,H,W), generator) -> bool (k,1,D,H,W).

    Args:
        names: see `draw`.
        severity: see `draw`.

    Raises:
        ValueError: a name is unknown, or the range is not within 0..1.
    """
    # Checked now and not at the first use, which may come hours into a training.
    _named(names)
    _range(severity)

    def damage(bodies: Tensor, generator: torch.Generator | None = None) -> Tensor:
        size, n = bodies.shape[1:], len(bodies)
        return draw(names, size, n, severity=severity, body=bodies, generator=generator)

    return damage


def _start(size: Size, n: int, body: Tensor | None, generator: torch.Generator | None) -> tuple[Tensor, torch.Generator]:
    """Checks the common arguments; returns bodies, bool (n,D,H,W), and the generator to draw from."""
    if len(size) != 3 or any(int(side) != side or side < 1 for side in size):
        _refuse("size", tuple(size), "(D,H,W), whole numbers from 1")
    if isinstance(n, bool) or int(n) != n or n < 1:
        _refuse("n", n, "a whole number from 1")
    size = tuple(int(side) for side in size)
    bodies = torch.ones(size, dtype=torch.bool) if body is None else body
    if bodies.dtype != torch.bool or tuple(bodies.shape) not in (size, (n, *size)):
        _refuse("body", f"{tuple(bodies.shape)} {bodies.dtype}", f"bool {size} or {(n, *size)}")
    # A fixed seed: the same call gives the same masks, also in a notebook that is run again.
    g = torch.Generator().manual_seed(0) if generator is None else generator
    return bodies.expand(n, *size), g


def _severities(severity: Severity, n: int) -> Tensor:
    """Returns a checked severity for each sample, float64 (n,) in 0..1."""
    values = torch.as_tensor(severity, dtype=torch.float64)
    if values.shape not in ((), (1,), (n,)):
        _refuse("severity", tuple(values.shape), f"one number or ({n},)")
    if not bool(((values >= 0) & (values <= 1)).all()):
        _refuse("severity", values.tolist(), "0..1")
    return values.expand(n)


def _range(severity: float | Sequence[float]) -> tuple[float, float]:
    """Returns the checked range of a severity; one number is a range of length 0."""
    low, high = (severity, severity) if isinstance(severity, int | float) else tuple(severity)
    if not 0 <= low <= high <= 1:
        _refuse("severity", severity, "0..1 or (low, high) within it")
    return float(low), float(high)


def _named(names: str | Sequence[str]) -> list[Callable[..., Tensor]]:
    """Returns the damages of these names, once for each time that a name is listed."""
    requested = [names] if isinstance(names, str) else list(names)
    if not requested:
        _refuse("names", "none", ", ".join(DAMAGES))
    for name in requested:
        if name not in DAMAGES:
            near = difflib.get_close_matches(str(name), DAMAGES, n=1)
            _refuse("name", repr(name), ", ".join(DAMAGES) + (f"; did you mean {near[0]!r}?" if near else ""))
    return [DAMAGES[name] for name in requested]


def _refuse(field: str, found: object, allowed: str) -> NoReturn:
    raise ArgumentError("damage", field, found, allowed)
