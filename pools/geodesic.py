"""Geodesic distances: how far it is from cell to cell along paths that stay inside a body.

Lengths are those of the 3-4-5 chamfer metric (Borgefors 1984, "Distance transformations in arbitrary dimensions"). The unit
is a third of a cell: a step over a face is 3, over an edge 4, over a corner 5. They are whole numbers, so that equal paths
have equal lengths.
"""

import torch
from torch import Tensor

# The side of a cell, in units of length.
CELL = 3
# The distance of cells that no path reaches.
UNREACHED = 1 << 30
# Rounds of relaxation between two checks for convergence: each check makes a GPU wait.
ROUNDS = 4
# A tip is the farthest of its surroundings within this share of the longest path: this finds the four legs and the snout of a
# frog, and no warts.
TIP_RADIUS = 0.15


def distances(bodies: Tensor, start: Tensor) -> Tensor:
    """Returns the length of the shortest path inside each body from one of its cells to all others.

    Args:
        bodies: bool (n,D,H,W).
        start: int64 (n,), flat index of a cell of each body.

    Returns:
        int32 (n,D,H,W), in thirds of a cell; `UNREACHED` outside the body and in pieces that are not connected to the start.
    """
    lengths = torch.full(bodies.shape, UNREACHED, dtype=torch.int32, device=bodies.device)
    at_start = torch.zeros(bodies.flatten(1).shape, dtype=torch.bool, device=bodies.device)
    lengths[at_start.scatter_(1, start[:, None], True).view_as(bodies) & bodies] = 0
    box = _box(bodies)
    part, outside = lengths[box], ~bodies[box]
    # Each round lengthens the known paths by one step, so this ends after as many rounds as the longest path has steps.
    while True:
        before = part
        for _ in range(ROUNDS):
            part = relax(part).masked_fill_(outside, UNREACHED)
        if torch.equal(part, before):
            lengths[box] = part
            return lengths


def relax(lengths: Tensor) -> Tensor:
    """Returns lengths (n,D,H,W) after one round of relaxation: through a neighbour (of 26) where that is shorter."""
    x, y, z = _least(lengths, -1), _least(lengths, -2), _least(lengths, -3)
    yx, zx, zy = _least(x, -2), _least(x, -3), _least(y, -3)
    # Each minimum includes nearer neighbours too, which changes nothing: they come again with a shorter step.
    faces = torch.minimum(torch.minimum(x, y), z) + 3
    edges = torch.minimum(torch.minimum(yx, zx), zy) + 4
    corners = _least(yx, -3) + 5
    return torch.minimum(torch.minimum(lengths, faces), torch.minimum(edges, corners))


def order(bodies: Tensor, start: Tensor) -> Tensor:
    """Returns a field for `pools.damage.carve`: each cell's geodesic distance from one cell of its body, in cells.

    Args:
        bodies: bool (n,D,H,W).
        start: int64 (n,), flat index of a cell of each body.

    Returns:
        float64 (n,D,H,W), finite. Pieces that are not connected to the start come after all that was reached, the nearest
        first. The skin, one layer of cells around the body, goes with the cell beside it; the rest of the lattice comes last.
    """
    lengths = distances(bodies, start)
    skin = torch.where(lengths < UNREACHED, lengths, relax(lengths)).double()
    axes = [torch.arange(side, device=bodies.device) for side in bodies.shape[1:]]
    cells = torch.stack(torch.meshgrid(*axes, indexing="ij")).double()
    origin = cells.flatten(1)[:, start].T
    straight = (cells - origin[:, :, None, None, None]).square().sum(dim=1).sqrt()
    return torch.where(skin < UNREACHED, skin / CELL, UNREACHED * (1 + ~bodies) + straight)


def tips(lengths: Tensor) -> Tensor:
    """Returns the tips of limbs, bool (n,D,H,W): cells that are farther from the start than all cells around them.

    How far "around" reaches grows with the body, `TIP_RADIUS` of its longest path: a lump on the belly is no limb, and two
    toes side by side are one tip.

    Args:
        lengths: int32 (n,D,H,W), as `distances` returns them.
    """
    reached = lengths < UNREACHED
    # What wasn't reached counts as the start itself, which is never the farthest.
    lengths = torch.where(reached, lengths, 0)
    longest = lengths.flatten(1).amax(dim=1)
    around = (longest * TIP_RADIUS / CELL).round().clamp(min=1).tolist()
    ends = torch.zeros_like(reached)
    # Bodies of one radius go together.
    for radius in set(around):
        rows = [row for row, own in enumerate(around) if own == radius]
        # The negative, because `_least` takes minima.
        farthest = -lengths[rows]
        for _ in range(int(radius)):
            farthest = _least(_least(_least(farthest, -1), -2), -3)
        ends[rows] = reached[rows] & (lengths[rows] == -farthest)
    return ends


def _least(values: Tensor, axis: int) -> Tensor:
    """Returns the minimum of each cell and its two neighbours along an axis."""
    least, length = values.clone(), values.shape[axis]
    for here, there in ((0, 1), (1, 0)):
        part = least.narrow(axis, here, length - 1)
        torch.minimum(part, values.narrow(axis, there, length - 1), out=part)
    return least


def _box(bodies: Tensor) -> tuple[slice, ...]:
    """Returns the smallest box around all bodies (n,D,H,W): most of a lattice is empty, and costs as much as the rest."""
    spans = [slice(None)]
    for others in ((0, 2, 3), (0, 1, 3), (0, 1, 2)):
        filled = bodies.any(dim=others).nonzero().flatten().tolist() or [0]
        spans.append(slice(filled[0], filled[-1] + 1))
    return tuple(spans)
