"""The linear adapter: principal components, rotated so that each pixel carries a part of each of them."""

import torch
from torch import Tensor, nn

from nca3d.cube.adapters.adapter import Adapter, components, orthonormal

# Components are scaled to one size, but those below this share of the largest are not scaled up any further: they are noise.
FLOOR = 0.1


class LinearAdapter(Adapter):
    """Computes y = W x + b, and has a linear map back.

    `fit` has a closed form. Principal components are scaled to equal size (with a floor), then turned by a random rotation.
    Without it each component would be one pixel: the first pixels would say all, and the last ones noise. Rotated, each pixel
    carries an equal part of each component; where there are fewer components than pixels, all pixels are used nevertheless.
    The mean of a pixel is 0, its size about 1.
    """

    closed_form = True

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        """Draws random maps there and back, each the other's inverse as far as the sizes allow, with pixels of size 1."""
        super().__init__(embedding, pixels, generator)
        self.into = nn.Linear(embedding, pixels)
        self.back = nn.Linear(pixels, embedding)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.back.bias)
        # On the meta device only shapes count: there are no values to draw.
        if self.into.weight.is_meta:
            return
        turn = orthonormal(max(pixels, embedding), min(pixels, embedding), generator)
        turn = turn if pixels >= embedding else turn.T
        larger = max(1.0, pixels / embedding) ** 0.5
        with torch.no_grad():
            self.into.weight.copy_(turn * larger)
            self.back.weight.copy_(turn.T / larger)

    def squeeze(self, x: Tensor) -> Tensor:
        """Returns surfaces (B, pixels) for embeddings (B, E), both of size 1."""
        return self.into(x)

    def spread(self, y: Tensor) -> Tensor:
        """Returns embeddings (B, E) of size 1 for surfaces (B, pixels)."""
        return self.back(y)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets the weights by the closed form: the principal components of embeddings x, (N, E), and the same back."""
        # `directions` are of x itself; `squeeze` gets x divided by this size.
        size = float(self.log_size.exp())
        directions, sizes = components(x, self.pixels)
        turn = orthonormal(self.pixels, len(sizes), generator).to(x.device)
        if len(sizes):
            scale = 1 / torch.maximum(sizes, FLOOR * sizes[0])
            scale = scale * (self.pixels / (scale * sizes).square().sum()).sqrt()
        else:
            scale = sizes  # embeddings that don't vary have no components: the surface is blank
        self.into.weight.copy_((turn * scale) @ directions * size)
        self.back.weight.copy_(directions.T @ (turn / scale).T / size)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.back.bias)
