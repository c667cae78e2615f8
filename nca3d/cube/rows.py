"""Rows: the cells of a lattice one after the other, each with the numbers of its neighbours.

States are (B, C, D, H, W), and a step works on rows, (cells, B, C), in which cells that follow one another are one slice.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.lattice import NEIGHBOURHOODS, Size


def neighbour_table(size: Size) -> Tensor:
    """Returns the neighbours of each cell, int64 (cells, 6), in the order d−, d+, h−, h+, w−, w+.

    The number `cells` stands for what lies outside the lattice: the row of zeros that `with_border_row` adds.

    Args:
        size: The lattice (D, H, W).
    """
    index = torch.arange(math.prod(size)).view(size)
    padded = F.pad(index, (1,) * 6, value=math.prod(size))
    depth, height, width = size
    return torch.stack(
        [
            padded[1 + d : 1 + d + depth, 1 + h : 1 + h + height, 1 + w : 1 + w + width].flatten()
            for d, h, w in NEIGHBOURHOODS["von_neumann"]
        ],
        dim=1,
    )


def with_border_row(visible: Tensor) -> Tensor:
    """Adds a row of zeros to features (cells, B, F), (cells + 1, B, F): what cells at the border see outside the lattice."""
    return torch.cat([visible, visible.new_zeros(1, *visible.shape[1:])])


def to_rows(values: Tensor) -> Tensor:
    """Returns values (B, C, D, H, W) as rows (cells, B, C), without a copy where channels come last in memory."""
    return values.flatten(2).permute(2, 0, 1)


def from_rows(rows: Tensor, size: Size) -> Tensor:
    """Returns rows (cells, B, C) as (B, C, D, H, W), for a lattice of size (D, H, W)."""
    return rows.permute(1, 2, 0).unflatten(-1, size)
