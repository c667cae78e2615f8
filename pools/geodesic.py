"""How far it is from cell to cell on ways that stay inside a body, where a straight line would leave it.

Lengths are the 3-4-5 chamfer metric (Borgefors 1984, "Distance transformations in arbitrary dimensions"): a third of a cell
is 1, so a step over a face is 3, over an edge 4, over a corner 5. Whole numbers: equal ways have equal lengths.
"""

import torch
from torch import Tensor

CELL = 3
UNREACHED = 1 << 30
TURNS = 4  # between two looks at whether all ways are found: each look makes a GPU wait
NEAR = 0.15  # of the longest way in a body: finds the four legs and the snout of a frog, and no warts


def distances(bodies: Tensor, start: Tensor) -> Tensor:
    """Length of the shortest way inside each body from one of its cells.

    Args:
        bodies: bool (n,D,H,W).
        start: int64 (n,), flat index of a cell of each body.

    Returns:
        int32 (n,D,H,W), in thirds of a cell; `UNREACHED` outside the body and in pieces that hang on nothing.
    """
    found = torch.full(bodies.shape, UNREACHED, dtype=torch.int32, device=bodies.device)
    begun = torch.zeros(bodies.flatten(1).shape, dtype=torch.bool, device=bodies.device)
    found[begun.scatter_(1, start[:, None], True).view_as(bodies) & bodies] = 0
    box = _box(bodies)
    part, outside = found[box], ~bodies[box]
    while True:  # as often as the longest way has steps
        before = part
        for _ in range(TURNS):
            part = relax(part).masked_fill_(outside, UNREACHED)
        if torch.equal(part, before):
            found[box] = part
            return found


def relax(found: Tensor) -> Tensor:
    """Lengths (n,D,H,W) once more, through each cell's 26 neighbours where that is shorter."""
    x, y, z = _least(found, -1), _least(found, -2), _least(found, -3)
    yx, zx, zy = _least(x, -2), _least(x, -3), _least(y, -3)
    # Each minimum holds the nearer neighbours too, which changes nothing: they come again with a shorter step.
    faces = torch.minimum(torch.minimum(x, y), z) + 3
    edges = torch.minimum(torch.minimum(yx, zx), zy) + 4
    corners = _least(yx, -3) + 5
    return torch.minimum(torch.minimum(found, faces), torch.minimum(edges, corners))


def order(bodies: Tensor, start: Tensor) -> Tensor:
    """A field for `pools.damage.carve`: each cell's way from one cell of its body, in cells.

    Args:
        bodies: bool (n,D,H,W).
        start: int64 (n,), flat index of a cell of each body.

    Returns:
        float64 (n,D,H,W), finite. Pieces that hang on nothing come after all that was reached, the nearest first. The skin,
        one layer of cells around the body, goes with the cell it lies on; what is beyond it comes last of all.
    """
    found = distances(bodies, start)
    skin = torch.where(found < UNREACHED, found, relax(found)).double()
    axes = [torch.arange(side, device=bodies.device) for side in bodies.shape[1:]]
    cells = torch.stack(torch.meshgrid(*axes, indexing="ij")).double()
    begun = cells.flatten(1)[:, start].T
    straight = (cells - begun[:, :, None, None, None]).square().sum(dim=1).sqrt()
    return torch.where(skin < UNREACHED, skin / CELL, UNREACHED * (1 + ~bodies) + straight)


def tips(found: Tensor) -> Tensor:
    """bool (n,D,H,W): the ends of what sticks out, cells that are the furthest of all around them.

    "Around" grows with the body, `NEAR` of its longest way: a lump on the belly is no limb, a toe is none beside another.
    """
    reached = found < UNREACHED
    ways = torch.where(reached, found, 0)  # what wasn't reached counts as the start itself: never further
    longest = ways.flatten(1).amax(dim=1)
    around = (longest * NEAR / CELL).round().clamp(min=1).tolist()
    ends = torch.zeros_like(reached)
    for radius in set(around):
        rows = [row for row, own in enumerate(around) if own == radius]
        furthest = -ways[rows]
        for _ in range(int(radius)):
            furthest = _least(_least(_least(furthest, -1), -2), -3)
        ends[rows] = reached[rows] & (ways[rows] == -furthest)
    return ends


def _least(values: Tensor, axis: int) -> Tensor:
    """Minimum of each cell and its two neighbours along an axis."""
    least, length = values.clone(), values.shape[axis]
    for here, there in ((0, 1), (1, 0)):
        part = least.narrow(axis, here, length - 1)
        torch.minimum(part, values.narrow(axis, there, length - 1), out=part)
    return least


def _box(bodies: Tensor) -> tuple[slice, ...]:
    """What all bodies (n,D,H,W) lie in: most of a lattice is empty, and looking there takes most of the time."""
    spans = [slice(None)]
    for others in ((0, 2, 3), (0, 1, 3), (0, 1, 2)):
        filled = bodies.any(dim=others).nonzero().flatten().tolist() or [0]
        spans.append(slice(filled[0], filled[-1] + 1))
    return tuple(spans)
