"""What an adapter is: it maps an embedding to the pixels of a face and back, and can be fitted to embeddings alone."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError, InputError

# Adam's learning rate in a fit.
LEARNING_RATE = 3e-4
# Embeddings whose variance is below this share of their mean square are the same, but for rounding.
ALIKE = 1e-12
# The weight of a penalty on pixels whose size is not 1: a cell must not get numbers of quite another size than its neighbour.
EVEN = 0.1


class Adapter(nn.Module, ABC):
    """Maps embeddings (B, E) to surfaces (B, pixels) and back.

    Embeddings are centred and scaled to size 1 (root mean square) first, by parameters that `fit` sets: hidden states of a
    language model can be hundreds large, those of TF-IDF a hundredth. A subclass defines `squeeze` and `spread`, between
    numbers of size 1.

    Args:
        embedding: E, the width of the teacher's embeddings.
        pixels: The number of pixels of the face.
        generator: Draws the initial weights; None = torch's global one.

    Raises:
        ArgumentError: A size is below 1.
    """

    # How many embeddings one step of a fit uses.
    batch = 128
    # Whether `begin` finds the best weights there are, so that Adam has nothing left to learn.
    closed_form = False

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        for name, size in (("embedding", embedding), ("pixels", pixels)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(name, repr(size), "a whole number of 1 or more")
        self.embedding, self.pixels = embedding, pixels
        self.centre = nn.Parameter(torch.zeros(embedding))
        self.log_size = nn.Parameter(torch.zeros(()))  # a logarithm, so that training with the cube can't make the size 0

    @abstractmethod
    def squeeze(self, x: Tensor) -> Tensor:
        """Returns surfaces (B, pixels) for embeddings (B, E), both of size 1."""

    @abstractmethod
    def spread(self, y: Tensor) -> Tensor:
        """Returns embeddings (B, E) of size 1 for surfaces (B, pixels)."""

    def encode(self, x: Tensor) -> Tensor:
        """Returns the surfaces (B, pixels) of embeddings x, (B, E)."""
        return self.squeeze((x - self.centre) * torch.exp(-self.log_size))

    def decode(self, y: Tensor) -> Tensor:
        """Returns the embeddings (B, E) of surfaces y, (B, pixels)."""
        return self.spread(y) * torch.exp(self.log_size) + self.centre

    def forward(self, x: Tensor) -> Tensor:
        """Returns the surfaces (B, pixels) of embeddings x, (B, E)."""
        return self.encode(x)

    def fit(self, embeddings: Tensor, steps: int = 300, generator: torch.Generator | None = None) -> float:
        """Fits the adapter alone, so that decoding a surface gives its embedding back.

        Args:
            embeddings: The embeddings to fit to, (N, E), finite.
            steps: The number of steps of Adam, where there is no closed form.
            generator: Draws batches; None = one with a fixed seed, so that a fit is repeatable.

        Returns:
            The share of the embeddings' variance that is lost, 0 to 1; see `lost`.

        Raises:
            InputError: The embeddings have another width, are not finite, or there are none.
        """
        x = self._checked(embeddings)
        generator = generator or torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.centre.copy_(x.mean(dim=0))
            size = (x - self.centre).square().mean().sqrt()
            # Embeddings that are all the same would have their rounding errors scaled up to size 1.
            same = size**2 <= ALIKE * x.square().mean()
            self.log_size.copy_(torch.zeros(()) if same else size.log())
            self.begin(x, generator)
        if not self.closed_form:
            self._learn(x, steps, generator)
        return self.lost(x)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets the weights that have a closed form, from embeddings x, (N, E); by default there are none."""

    def objective(self, x: Tensor) -> Tensor:
        """Returns what Adam minimises, a scalar, for embeddings x of size 1, (B, E)."""
        y = self.squeeze(x)
        return (self.spread(y) - x).square().mean() + EVEN * (y.square().mean(dim=0) - 1).square().mean()

    def lost(self, embeddings: Tensor) -> float:
        """Returns the share of the variance of embeddings (N, E) that is lost by encoding and decoding, 0 to 1."""
        with torch.no_grad():
            back = self.decode(self.encode(embeddings)).double()
        wide = embeddings.double()
        missing = float((back - wide).square().sum())
        total = float((wide - wide.mean(dim=0)).square().sum())
        # Where embeddings don't vary there is no share: nothing is lost, or all.
        rounding = 1e-12 * float(wide.square().sum())
        return min(1.0, missing / total) if total > rounding else float(missing > rounding)

    def _learn(self, x: Tensor, steps: int, generator: torch.Generator) -> None:
        x = (x - self.centre.detach()) * torch.exp(-self.log_size.detach())
        optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
        # A caller may have switched gradients off.
        with torch.enable_grad():
            for _ in range(steps):
                batch = x
                if len(x) > self.batch:
                    batch = x[torch.randint(len(x), (self.batch,), generator=generator).to(x.device)]
                optimizer.zero_grad()
                self.objective(batch).backward()
                optimizer.step()
                schedule.step()
        optimizer.zero_grad()  # the cube's first step must not begin with gradients of this fit

    def _checked(self, embeddings: Tensor) -> Tensor:
        shape = tuple(embeddings.shape)
        if len(shape) != 2 or shape[1] != self.embedding or not shape[0]:
            raise InputError("adapter", "embeddings", shape, f"(N, {self.embedding}), N at least 1")
        if not embeddings.is_floating_point() or not torch.isfinite(embeddings).all():
            found = "numbers that are not finite" if embeddings.is_floating_point() else embeddings.dtype
            raise InputError("adapter", "embeddings", found, "finite floating-point numbers")
        return embeddings.detach().to(self.centre.device, self.centre.dtype)


class Components(NamedTuple):
    """The principal components of a table.

    Attributes:
        directions: Orthonormal rows, (k, E).
        sizes: The standard deviation along each, (k,), the largest first.
    """

    directions: Tensor
    sizes: Tensor


def components(x: Tensor, most: int) -> Components:
    """Returns the principal components of x in float64, fewer than `most` where the variance ends earlier.

    They come from the smaller of the two Gram matrices, N×N or E×E, which is faster than a singular value decomposition of a
    long table.

    Args:
        x: The table, (N, E).
        most: The largest number of components.
    """
    wide = x.double() - x.double().mean(dim=0)
    rows, columns = wide.shape
    values, vectors = torch.linalg.eigh(wide @ wide.T if rows <= columns else wide.T @ wide)
    values, vectors = values.flip(0), vectors.flip(1)
    # Eigenvalues are squares: 1e-10 is a size of 1e-5 of the largest, below which directions are rounding errors.
    rank = int((values > 1e-10 * values[0]).sum()) if values[0] > 0 else 0
    count = min(rank, most)
    values, vectors = values[:count], vectors[:, :count]
    directions = vectors.T if rows > columns else vectors.T @ wide / values.sqrt()[:, None]
    return Components(directions, (values / rows).sqrt())


def orthonormal(rows: int, columns: int, generator: torch.Generator | None) -> Tensor:
    """Returns a random matrix with orthonormal columns, float64 (rows, columns).

    Args:
        rows: The number of rows.
        columns: The number of columns, at most `rows`.
        generator: Draws the matrix; None = torch's global one.
    """
    q, r = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    # The signs make the draw uniform over all such matrices (Mezzadri 2007), and the same whatever the library's convention.
    return q * r.diagonal().sign()
