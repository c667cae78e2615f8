"""The linear adapter: principal components, turned so that each pixel carries a part of each of them."""

from __future__ import annotations

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

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        self.into = nn.Linear(embedding, pixels)
        self.back = nn.Linear(pixels, embedding)
        draw_pair(self.into, self.back, generator)

    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""
        return self.into(x)

    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""
        return self.back(y)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """The closed form, from embeddings (N, E)."""
        set_pair(self.into, self.back, x, float(self.log_size.exp()), generator)

    def _learn(self, x: Tensor, steps: int, generator: torch.Generator) -> None:
        """No linear map brings back more."""


def draw_pair(into: nn.Linear, back: nn.Linear, generator: torch.Generator | None) -> None:
    """Random maps there and back before any fit, each the other's inverse as far as sizes allow; pixels of size 1."""
    pixels, embedding = into.weight.shape
    nn.init.zeros_(into.bias)
    nn.init.zeros_(back.bias)
    if into.weight.is_meta:
        return
    turn = orthonormal(max(pixels, embedding), min(pixels, embedding), generator)
    turn = turn if pixels >= embedding else turn.T
    larger = max(1.0, pixels / embedding) ** 0.5
    with torch.no_grad():
        into.weight.copy_(turn * larger)
        back.weight.copy_(turn.T / larger)


def set_pair(into: nn.Linear, back: nn.Linear, x: Tensor, size: float, generator: torch.Generator) -> None:
    """Principal components of embeddings x (N, E) there, and the same back.

    Args:
        into: from embeddings of size 1, which are (x − mean) / size.
        back: to them.
        x: (N, E).
        size: root mean square of x − mean.
        generator: draws the rotation.
    """
    directions, sizes = components(x, into.out_features)
    turn = orthonormal(into.out_features, len(sizes), generator).to(x.device)
    if len(sizes):
        scale = 1 / torch.maximum(sizes, FLOOR * sizes[0])
        scale = scale * (into.out_features / (scale * sizes).square().sum()).sqrt()
    else:
        scale = sizes
    into.weight.copy_((turn * scale) @ directions * size)
    back.weight.copy_(directions.T @ (turn / scale).T / size)
    nn.init.zeros_(into.bias)
    nn.init.zeros_(back.bias)
