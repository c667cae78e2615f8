"""What an adapter is: an embedding squeezed onto the pixels of a face, and brought back. How it learns alone."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError, InputError

LEARNING_RATE = 3e-4
# Share of their mean square by which embeddings may vary and still be the same.
ALIKE = 1e-12
# Weight of the wish that every pixel has size 1: a cell must not be told numbers of quite another size than its neighbour.
EVEN = 0.1


class Adapter(nn.Module, ABC):
    """Embedding (B, E) to surface (B, pixels) and back.

    Embeddings are centred and brought to size 1 first, by weights that `fit` sets: hidden states of a language model are
    hundreds large, TF-IDF a hundredth. A subclass says `squeeze` and `spread`, between numbers of size 1.

    Args:
        embedding: E, the teacher's width.
        pixels: of the face.
        generator: draws the initial weights.

    Raises:
        ValueError: a size below 1.
    """

    # Embeddings in one step of a fit.
    batch = 128
    # Whether `begin` finds the best weights there are, so that nothing is left to learn.
    closed_form = False

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        for name, size in (("embedding", embedding), ("pixels", pixels)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(name, repr(size), "a whole number of 1 or more")
        self.embedding, self.pixels = embedding, pixels
        self.centre = nn.Parameter(torch.zeros(embedding))
        self.log_size = nn.Parameter(torch.zeros(()))  # a logarithm: learning on with the cube can't bring it to zero

    @abstractmethod
    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""

    @abstractmethod
    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""

    def encode(self, x: Tensor) -> Tensor:
        """Embeddings (B, E) -> surfaces (B, pixels)."""
        return self.squeeze((x - self.centre) * torch.exp(-self.log_size))

    def decode(self, y: Tensor) -> Tensor:
        """Surfaces (B, pixels) -> embeddings (B, E)."""
        return self.spread(y) * torch.exp(self.log_size) + self.centre

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (B, E) -> surfaces (B, pixels)."""
        return self.encode(x)

    def fit(self, embeddings: Tensor, steps: int = 300, generator: torch.Generator | None = None) -> float:
        """Learn alone, to bring back what was squeezed.

        Args:
            embeddings: (N, E), finite.
            steps: of Adam, where there is no closed form.
            generator: draws batches (default: one of its own, so that a fit is repeatable).

        Returns:
            The share of the embeddings' variance that is not brought back, 0 to 1.

        Raises:
            InputError: embeddings of another width, none, or not finite.
        """
        x = self._checked(embeddings)
        generator = generator or torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.centre.copy_(x.mean(dim=0))
            size = (x - self.centre).square().mean().sqrt()
            even = size**2 <= ALIKE * x.square().mean()  # all alike, but for rounding: not to be blown up to size 1
            self.log_size.copy_(torch.zeros(()) if even else size.log())
            self.begin(x, generator)
        if not self.closed_form:
            self._learn(x, steps, generator)
        return self.lost(x)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Weights that have a closed form, from embeddings (N, E)."""

    def objective(self, x: Tensor) -> Tensor:
        """What Adam makes small, over embeddings (B, E) of size 1."""
        y = self.squeeze(x)
        return (self.spread(y) - x).square().mean() + EVEN * (y.square().mean(dim=0) - 1).square().mean()

    def lost(self, embeddings: Tensor) -> float:
        """The share of the variance of embeddings (N, E) that is not brought back, 0 to 1."""
        with torch.no_grad():
            back = self.decode(self.encode(embeddings)).double()
        wide = embeddings.double()
        missing = float((back - wide).square().sum())
        total = float((wide - wide.mean(dim=0)).square().sum())
        rounding = 1e-12 * float(wide.square().sum())
        return min(1.0, missing / total) if total > rounding else float(missing > rounding)

    def _learn(self, x: Tensor, steps: int, generator: torch.Generator) -> None:
        x = (x - self.centre.detach()) * torch.exp(-self.log_size.detach())
        optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        with torch.enable_grad():
            for _ in range(steps):
                batch = x
                if len(x) > self.batch:
                    batch = x[torch.randint(len(x), (self.batch,), generator=generator).to(x.device)]
                optimizer.zero_grad()
                self.objective(batch).backward()
                optimizer.step()
                schedule.step()
        optimizer.zero_grad()

    def _checked(self, embeddings: Tensor) -> Tensor:
        shape = tuple(embeddings.shape)
        if len(shape) != 2 or shape[1] != self.embedding or not shape[0]:
            raise InputError("adapter", "embeddings", shape, f"(N, {self.embedding}), N at least 1")
        if not embeddings.is_floating_point() or not torch.isfinite(embeddings).all():
            found = "numbers that are not finite" if embeddings.is_floating_point() else embeddings.dtype
            raise InputError("adapter", "embeddings", found, "finite floating-point numbers")
        return embeddings.detach().to(self.centre.device, self.centre.dtype)


class Components(NamedTuple):
    """Principal components: `directions` (k, E), orthonormal, and the standard deviation along each, `sizes` (k,), falling."""

    directions: Tensor
    sizes: Tensor


def components(x: Tensor, most: int) -> Components:
    """At most `most` principal components of x (N, E); fewer where the variance ends earlier. float64.

    From the smaller one of the two Gram matrices, N×N or E×E: quicker than a singular value decomposition of a long table.
    """
    wide = x.double() - x.double().mean(dim=0)
    rows, columns = wide.shape
    values, vectors = torch.linalg.eigh(wide @ wide.T if rows <= columns else wide.T @ wide)
    values, vectors = values.flip(0), vectors.flip(1)
    rank = int((values > 1e-10 * values[0]).sum()) if values[0] > 0 else 0
    kept = min(rank, most)
    values, vectors = values[:kept], vectors[:, :kept]
    directions = vectors.T if rows > columns else vectors.T @ wide / values.sqrt()[:, None]
    return Components(directions, (values / rows).sqrt())


def orthonormal(rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    """A random matrix (rows, columns), columns <= rows, whose columns are orthonormal. float64."""
    q, r = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    return q * r.diagonal().sign()
