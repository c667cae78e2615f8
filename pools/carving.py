"""Carving: how much of a body a damage destroys, where two of them meet, and what destroyed cells hold (law 10)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pools import places
from pools.errors import ArgumentError

Severity = float | Sequence[float] | Tensor
Size = Sequence[int]

# Alpha above which a cell belongs to the body.
ALIVE_THRESHOLD = 0.1
# In cells: many cells of a lattice are equally far from a point; this breaks ties without moving a surface.
_JITTER = 1e-6


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
        raise ArgumentError("damage", "field", tuple(field.shape), "(n,D,H,W), finite")
    n = len(field)
    bodies, g = bodies_and_generator(field.shape[1:], n, body, generator)
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
        found = f"{shapes} {[str(mask.dtype) for mask in masks]}"
        raise ArgumentError("damage", "masks", found, "bool (n,1,D,H,W), all of one shape")
    union = torch.stack(masks).any(dim=0)
    if body is None:
        return union
    bodies, g = bodies_and_generator(shapes[0][2:], len(union), body.to(union.device), generator)
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
        raise ArgumentError("damage", "mask", f"{tuple(mask.shape)} {mask.dtype}", f"bool {(n, 1, *size)}")
    # Selected, never multiplied: NaN times 0 is NaN.
    dead = torch.as_tensor(dead_value, dtype=state.dtype, device=state.device)
    return torch.where(mask.to(state.device), dead, state)


def bodies_and_generator(
    size: Size, n: int, body: Tensor | None, generator: torch.Generator | None
) -> tuple[Tensor, torch.Generator]:
    """Checks the arguments that all damages have in common.

    Args:
        size: (D,H,W).
        n: number of samples.
        body: bool (D,H,W) or (n,D,H,W); None = the whole lattice.
        generator: None = a fresh one seeded with 0.

    Returns:
        The body of each sample, bool (n,D,H,W), and the generator to draw from.

    Raises:
        ValueError: an argument is out of its range, or the body doesn't fit the size.
    """
    if len(size) != 3 or any(int(side) != side or side < 1 for side in size):
        raise ArgumentError("damage", "size", tuple(size), "(D,H,W), whole numbers from 1")
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ArgumentError("damage", "n", n, "a whole number from 1")
    size = tuple(int(side) for side in size)
    bodies = torch.ones(size, dtype=torch.bool) if body is None else body
    if bodies.dtype != torch.bool or tuple(bodies.shape) not in (size, (n, *size)):
        raise ArgumentError("damage", "body", f"{tuple(bodies.shape)} {bodies.dtype}", f"bool {size} or {(n, *size)}")
    # A fixed seed: the same call gives the same masks, also in a notebook that is run again.
    g = torch.Generator().manual_seed(0) if generator is None else generator
    return bodies.expand(n, *size), g


def _severities(severity: Severity, n: int) -> Tensor:
    """Returns a checked severity for each sample, float64 (n,) in 0..1."""
    try:
        values = torch.as_tensor(severity, dtype=torch.float64)
    except (TypeError, ValueError) as error:  # a word
        raise ArgumentError("damage", "severity", repr(severity), "0..1, one number or one for each sample") from error
    if values.shape not in ((), (1,), (n,)):
        raise ArgumentError("damage", "severity", tuple(values.shape), f"one number or ({n},)")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise ArgumentError("damage", "severity", values.tolist(), "0..1")
    return values.expand(n)
