"""The autoencoder adapter: a linear map there and back, each corrected by a small network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.cube.adapters.linear import LinearAdapter

# The hidden width of each correction.
HIDDEN = 128


class AutoencoderAdapter(LinearAdapter):
    """Computes y = W x + narrow(GELU(widen(x))), and the same back.

    `fit` begins with principal components and a correction of zero, so that Adam starts from the best linear map.
    """

    closed_form = False

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        # The names of saved weights.
        self.bend_into = Correction(embedding, pixels, generator)
        self.bend_back = Correction(pixels, embedding, generator)

    def squeeze(self, x: Tensor) -> Tensor:
        """Returns surfaces (B, pixels) for embeddings (B, E), both of size 1."""
        return super().squeeze(x) + self.bend_into(x)

    def spread(self, y: Tensor) -> Tensor:
        """Returns embeddings (B, E) of size 1 for surfaces (B, pixels)."""
        return super().spread(y) + self.bend_back(y)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets W by principal components of embeddings x, (N, E), and both corrections to zero."""
        super().begin(x, generator)
        # Only the last layers are zero: they get a gradient from the first step, and those below from the second.
        nn.init.zeros_(self.bend_into.narrow.weight)
        nn.init.zeros_(self.bend_back.narrow.weight)


class Correction(nn.Module):
    """Computes narrow(GELU(widen(x))), a non-linear correction that is small at first.

    Args:
        inside: The width of what it takes.
        outside: The width of what it returns.
        generator: Draws the initial weights; None = torch's global one.
    """

    def __init__(self, inside: int, outside: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.widen, self.narrow = nn.Linear(inside, HIDDEN), nn.Linear(HIDDEN, outside)
        for layer, size in ((self.widen, inside**-0.5), (self.narrow, 0.1 * HIDDEN**-0.5)):
            nn.init.normal_(layer.weight, std=size, generator=generator)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the correction (B, outside) for x, (B, inside)."""
        return self.narrow(F.gelu(self.widen(x)))
