"""The two faces of a cube: what is said to the front cells, what is read off the back ones, pixel by pixel, both learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Surface(nn.Module):
    """A pixel of the front face becomes features of its cell; the features of a back cell become a pixel.

    Args:
        pixels: of a face, H·W.
        features: F of a cell.
        generator: draws the initial weights.
    """

    def __init__(self, pixels: int, features: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(pixels, features, generator=generator))
        self.out = nn.Parameter(torch.randn(pixels, features, generator=generator) / features**0.5)
        self.out_bias = nn.Parameter(torch.zeros(pixels))

    def enter(self, surface: Tensor) -> Tensor:
        """(B, pixels) -> (B, pixels, F)."""
        return surface[..., None] * self.into

    def leave(self, face: Tensor) -> Tensor:
        """(B, pixels, F) -> (B, pixels)."""
        return (face * self.out).sum(dim=-1) + self.out_bias
