"""A coarse lattice over the fine one: blocks of cells are averaged, exchange signals, and speak back to their cells.

A signal crosses a block in one step, where it takes `side` steps from cell to cell: local → global → local.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Coarse(nn.Module):
    """Computes what each block of side³ cells feeds to its cells.

    A block has the mean features of its cells; a 3×3×3 convolution over blocks and a small network follow.

    Args:
        features: F, the number of features of a cell.
        external: E, the number of channels that a block feeds to its cells.
        side: The side of a block in cells; blocks at the far faces may be smaller.
        generator: Draws the initial weights; None = torch's global one.
    """

    def __init__(self, features: int, external: int, side: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.side, bound = side, (27 * features) ** -0.5
        self.sight = nn.Parameter(torch.empty(2 * external, features, 3, 3, 3).uniform_(-bound, bound, generator=generator))
        self.sight_bias = nn.Parameter(torch.zeros(2 * external))
        bound = (2 * external) ** -0.5
        self.word = nn.Parameter(torch.empty(external, 2 * external).uniform_(-bound, bound, generator=generator))

    def forward(self, features: Tensor) -> Tensor:
        """Returns what blocks feed to their cells, (B, E, D, H, W), the same for all cells of a block.

        Args:
            features: The features of the cells, (B, F, D, H, W).
        """
        # The padding of a smaller block at the border doesn't count, else its mean would depend on the lattice's size.
        blocks = F.avg_pool3d(features, self.side, ceil_mode=True, count_include_pad=False)
        perception = F.gelu(F.conv3d(blocks, self.sight, self.sight_bias, padding=1))
        output = torch.einsum("ec,bcdhw->bedhw", self.word, perception)
        # Each block's vector is repeated for its cells, and cut where the last block is smaller.
        for axis, length in enumerate(features.shape[2:], start=2):
            output = output.repeat_interleave(self.side, dim=axis).narrow(axis, 0, length)
        return output
