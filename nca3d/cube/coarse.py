"""A coarse lattice over the fine one: local → global → local. Blocks of cells are summed up, talk, and speak to their cells."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Coarse(nn.Module):
    """What blocks of side³ cells say to their cells: mean features, one 3×3×3 convolution over blocks, a small network.

    Args:
        features: F of a cell, what a block sums up.
        external: E, what it says.
        side: of a block; blocks at the far faces may be smaller.
        generator: draws the initial weights.
    """

    def __init__(self, features: int, external: int, side: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.side, bound = side, (27 * features) ** -0.5
        self.sight = nn.Parameter(torch.empty(2 * external, features, 3, 3, 3).uniform_(-bound, bound, generator=generator))
        self.sight_bias = nn.Parameter(torch.zeros(2 * external))
        bound = (2 * external) ** -0.5
        self.word = nn.Parameter(torch.empty(external, 2 * external).uniform_(-bound, bound, generator=generator))

    def forward(self, features: Tensor) -> Tensor:
        """(B, F, D, H, W) -> (B, E, D, H, W), alike for all cells of a block."""
        blocks = F.avg_pool3d(features, self.side, ceil_mode=True, count_include_pad=False)
        seen = F.gelu(F.conv3d(blocks, self.sight, self.sight_bias, padding=1))
        said = torch.einsum("ec,bcdhw->bedhw", self.word, seen)
        for axis, length in enumerate(features.shape[2:], start=2):
            said = said.repeat_interleave(self.side, dim=axis).narrow(axis, 0, length)
        return said
