"""The attention adapter: each pixel asks the pieces of an embedding for what else it could show (Vaswani et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.cube.adapters.linear import LinearAdapter

# Numbers of an embedding in one piece.
PIECE = 64
WIDTH, HEADS = 32, 4


class AttentionAdapter(LinearAdapter):
    """y = W x + cross-attention, and the same back: pixels ask pieces of the embedding, pieces ask pixels.

    An embedding is cut into pieces of 64 numbers. Each piece has a projection of its own into keys and values; each pixel has a
    query, and a vector that reads one number off what its heads bring. Back it is the same with the parts exchanged. `fit`
    begins with principal components and an attention that brings nothing: without W, as many steps bring back half as much.
    """

    batch = 32
    closed_form = False

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        self.pieces = -(-embedding // PIECE)

        def draw(*shape: int, size: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator) * size)

        self.piece_keys = draw(self.pieces, PIECE, WIDTH, size=0.1 * PIECE**-0.5)
        self.piece_values = draw(self.pieces, PIECE, WIDTH, size=PIECE**-0.5)
        self.piece_places = draw(self.pieces, WIDTH, size=1)
        self.pixel_queries = draw(pixels, WIDTH, size=1)
        self.pixel_reads = draw(pixels, WIDTH, size=0.1 * WIDTH**-0.5)
        self.pixel_values = draw(pixels, WIDTH, size=1)
        self.pixel_places = draw(pixels, WIDTH, size=1)
        self.piece_queries = draw(self.pieces, WIDTH, size=1)
        self.piece_reads = draw(self.pieces, WIDTH, PIECE, size=0.1 * WIDTH**-0.5)

    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""
        pieces = F.pad(x, (0, self.pieces * PIECE - self.embedding)).unflatten(1, (self.pieces, PIECE))
        keys = torch.einsum("btw,twd->btd", pieces, self.piece_keys) + self.piece_places
        values = torch.einsum("btw,twd->btd", pieces, self.piece_values)
        return super().squeeze(x) + (_attend(self.pixel_queries, keys, values) * self.pixel_reads).sum(dim=-1)

    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""
        values = y[..., None] * self.pixel_values
        brought = _attend(self.piece_queries, self.pixel_places + 0.1 * values, values)
        return super().spread(y) + torch.einsum("btd,tdw->btw", brought, self.piece_reads).flatten(1)[:, : self.embedding]

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Principal components, from embeddings (N, E)."""
        super().begin(x, generator)
        nn.init.zeros_(self.pixel_reads)
        nn.init.zeros_(self.piece_reads)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Queries (Q, d) over keys and values (B, K, d), in heads -> (B, Q, d)."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(-2, -3)

    asked = heads(queries).expand(len(keys), -1, -1, -1)
    return F.scaled_dot_product_attention(asked, heads(keys), heads(values)).transpose(-2, -3).flatten(-2)
