"""Who sees whom, as edges: the cells of a lattice, the vertices of a mesh. Plain torch; `graph.py` sends along them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.lattice import NEIGHBOURHOODS, Size

# The offset of the edge from a cell to itself: it carries the kernel's centre.
CENTRE = (0, 0, 0)


class LatticeGraph(NamedTuple):
    """`edges` int64 (2, E), source and target, sorted by target; `direction` int64 (E,), a place in the flat 3×3×3 kernel."""

    edges: Tensor
    direction: Tensor


@lru_cache(maxsize=8)
def lattice_graph(size: Size, padding: str, neighbourhood: str, device: torch.device) -> LatticeGraph:
    """Every cell's neighbours, and the cell itself, as edges; cells are counted in the order of (D, H, W).

    What lies beyond the border: "zeros", no edge; "replicate", an edge from the nearest cell of the lattice (so several
    may come from one cell); "circular", from the opposite side (from the cell itself along a side of 1).
    """
    # A cache must not hold what a first caller's inference mode makes useless for a later one's gradients.
    with torch.inference_mode(False):
        offsets = sorted((CENTRE, *NEIGHBOURHOODS[neighbourhood]))
        sides = torch.tensor(size)
        cells = torch.cartesian_prod(*(torch.arange(side) for side in size))
        sources = cells[:, None] + torch.tensor(offsets)  # (N, offsets, 3)
        inside = torch.ones(sources.shape[:2], dtype=torch.bool)
        if padding == "circular":
            sources = sources % sides
        elif padding == "replicate":
            sources = sources.clamp(torch.zeros(3, dtype=torch.long), sides - 1)
        else:
            inside = ((sources >= 0) & (sources < sides)).all(dim=2)
        strides = torch.tensor([size[1] * size[2], size[2], 1])
        targets = torch.arange(len(cells))[:, None].expand_as(inside)
        directions = torch.tensor([9 * (d + 1) + 3 * (h + 1) + (w + 1) for d, h, w in offsets]).expand_as(inside)
        edges = torch.stack([(sources * strides).sum(dim=2)[inside], targets[inside]])
        return LatticeGraph(edges.to(device), directions[inside].to(device))


def mesh_graph(faces: object) -> Tensor:
    """The graph of a mesh's vertices: an edge for each side of a face, in both directions, each once.

    Vertices that coincide without being one are not connected: merge them first (`trimesh` does so when it loads).

    Args:
        faces: whole numbers (F, 3), or (F, n) for polygons of n corners: tensor, array or lists.

    Returns:
        int64 (2, E), sorted by target.

    Raises:
        ValueError: not whole numbers of that shape, or a negative one.
    """
    corners = torch.as_tensor(faces)
    whole = not (corners.is_floating_point() or corners.is_complex() or corners.dtype == torch.bool)
    if not whole or corners.ndim != 2 or corners.shape[1] < 3 or (corners.long() < 0).any():
        raise ArgumentError("faces", f"{corners.dtype} {tuple(corners.shape)}", "whole numbers (F, 3 or more), 0 or more")
    corners = corners.long()
    sides = torch.stack([corners.flatten(), corners.roll(-1, 1).flatten()])
    sides = sides[:, sides[0] != sides[1]]
    return torch.cat([sides, sides.flip(0)], dim=1).unique(dim=1).flip(0)
