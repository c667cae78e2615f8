"""The autoencoder adapter: what the linear one does, corrected by a small network on either side."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.cube.adapters.linear import LinearAdapter

HIDDEN = 128


class AutoencoderAdapter(LinearAdapter):
    """y = W x + narrow(GELU(widen(x))), and the same back.

    `fit` begins with principal components and a correction of zero, so Adam can only learn what a linear map misses.
    """

    closed_form = False

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        self.bend_into = Bend(embedding, pixels, generator)
        self.bend_back = Bend(pixels, embedding, generator)

    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""
        return super().squeeze(x) + self.bend_into(x)

    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""
        return super().spread(y) + self.bend_back(y)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Principal components, from embeddings (N, E)."""
        super().begin(x, generator)
        nn.init.zeros_(self.bend_into.narrow.weight)
        nn.init.zeros_(self.bend_back.narrow.weight)


class Bend(nn.Module):
    """narrow(GELU(widen(x))), small at first."""

    def __init__(self, inside: int, outside: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(inside, HIDDEN), nn.Linear(HIDDEN, outside)
        for layer, size in ((self.widen, inside**-0.5), (self.narrow, 0.1 * HIDDEN**-0.5)):
            nn.init.normal_(layer.weight, std=size, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inside) -> (B, outside)."""
        return self.narrow(F.gelu(self.widen(x)))
