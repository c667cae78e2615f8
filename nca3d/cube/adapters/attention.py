"""The attention adapter: a linear map, corrected by attention between pixels and pieces (Vaswani et al. 2017)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.cube.adapters.linear import LinearAdapter

# How many numbers of an embedding make one piece: 4 pieces of TF-IDF's 225 numbers, 6 of MiniLM's 384.
PIECE = 64
# The width of keys, queries and values, and how many heads share it.
WIDTH, HEADS = 32, 4


class AttentionAdapter(LinearAdapter):
    """Computes y = W x + cross-attention from pixels to pieces of the embedding; back, the parts are exchanged.

    An embedding is cut into pieces of 64 numbers. Each piece has its own projection to keys and values; each pixel has a query,
    and a vector that reads one number off what its heads return. `fit` begins with principal components and an attention that
    adds nothing; without W, the same number of steps recovers half as much of the variance.
    """

    # Smaller than that of other adapters: attention costs pixels × pieces for each embedding.

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
        """Returns surfaces (B, pixels) for embeddings (B, E), both of size 1."""
        # The last piece is filled up with zeros.
        pieces = F.pad(x, (0, self.pieces * PIECE - self.embedding)).unflatten(1, (self.pieces, PIECE))
        keys = torch.einsum("btw,twd->btd", pieces, self.piece_keys) + self.piece_places
        values = torch.einsum("btw,twd->btd", pieces, self.piece_values)
        return super().squeeze(x) + (_attend(self.pixel_queries, keys, values) * self.pixel_reads).sum(dim=-1)

    def spread(self, y: Tensor) -> Tensor:
        """Returns embeddings (B, E) of size 1 for surfaces (B, pixels)."""
        values = y[..., None] * self.pixel_values
        attended = _attend(self.piece_queries, self.pixel_places + 0.1 * values, values)
        return super().spread(y) + torch.einsum("btd,tdw->btw", attended, self.piece_reads).flatten(1)[:, : self.embedding]

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets W by principal components of embeddings x, (N, E), and attention to add nothing."""
        super().begin(x, generator)
        # Only the last layers are zero: they get a gradient from the first step, and the others from the second.
        nn.init.zeros_(self.pixel_reads)
        nn.init.zeros_(self.piece_reads)


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Returns attention (B, Q, d) of queries (Q, d) over keys and values (B, K, d), split into heads."""

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(-2, -3)

    # The queries are parameters, the same for every sample.
    q = heads(queries).expand(len(keys), -1, -1, -1)
    return F.scaled_dot_product_attention(q, heads(keys), heads(values)).transpose(-2, -3).flatten(-2)
