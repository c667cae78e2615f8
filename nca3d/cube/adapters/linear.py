"""The linear adapter: principal components, turned so that each pixel carries a part of each of them."""

import torch
from torch import Tensor, nn

from nca3d.cube.adapters.adapter import Adapter, components, orthonormal

# Components are brought to one size, but those below this part of the largest are not blown up any further.
FLOOR = 0.1


class LinearAdapter(Adapter):
    """y = W x + b and back.

    `fit` is the closed form. Principal components are brought to equal size (with a floor), then turned by a random rotation:
    by itself a component is a pixel, and the first ones would say all and the last ones noise. Turned, each pixel carries an
    equal part of each, and the pixels that are left over when there are fewer components than pixels carry more of the same
    rather than nothing. The mean of a pixel is 0, its size about 1.
    """

    closed_form = True

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        """Random maps there and back before any fit, each the other's inverse as far as sizes allow; pixels of size 1."""
        super().__init__(embedding, pixels, generator)
        self.into = nn.Linear(embedding, pixels)
        self.back = nn.Linear(pixels, embedding)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.back.bias)
        if self.into.weight.is_meta:
            return
        turn = orthonormal(max(pixels, embedding), min(pixels, embedding), generator)
        turn = turn if pixels >= embedding else turn.T
        larger = max(1.0, pixels / embedding) ** 0.5
        with torch.no_grad():
            self.into.weight.copy_(turn * larger)
            self.back.weight.copy_(turn.T / larger)

    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""
        return self.into(x)

    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""
        return self.back(y)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """The closed form, from embeddings (N, E): their principal components there, and the same back."""
        size = float(self.log_size.exp())
        directions, sizes = components(x, self.pixels)
        turn = orthonormal(self.pixels, len(sizes), generator).to(x.device)
        if len(sizes):
            scale = 1 / torch.maximum(sizes, FLOOR * sizes[0])
            scale = scale * (self.pixels / (scale * sizes).square().sum()).sqrt()
        else:
            scale = sizes
        self.into.weight.copy_((turn * scale) @ directions * size)
        self.back.weight.copy_(directions.T @ (turn / scale).T / size)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.back.bias)
