"""The hierarchical adapter, coarse to fine: large patches of the face hold the most, finer ones what those leave over."""

from typing import cast

import torch
from torch import Tensor, nn

from nca3d.cube.adapters.adapter import Adapter, components, orthonormal
from nca3d.cube.adapters.linear import FLOOR

# A patch covers 3 × 3 patches of the next finer level: a face of 15 × 15 pixels has levels of 15 × 15, 5 × 5 and 2 × 2.
BLOCK = 3


class HierarchicalAdapter(Adapter):
    """A pyramid over the face: a surface is the sum of its levels, each with mean zero within a patch of the coarser level.

    So each part of a surface belongs to exactly one level: it is what averages over that level's patches hold beyond those of
    the coarser level. Each level encodes what the coarser ones leave over of the embedding. `fit` has a closed form: the first
    principal components go to the coarsest level, the next ones to the next. No linear pyramid recovers more of the variance at
    any level (Eckart and Young 1936), so nothing is left for Adam.
    """

    closed_form = True

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        maps = patches(*sides(pixels))
        self.cells = [int(cells.max()) + 1 for cells in maps]
        # Not saved: patches follow from the number of pixels.
        for level, cells in enumerate(maps):
            self.register_buffer(f"patch_{level}", cells.to(self.centre.device), persistent=False)
        self.into = nn.ModuleList(nn.Linear(embedding, count) for count in self.cells)
        self.back = nn.ModuleList(nn.Linear(count, embedding) for count in self.cells)
        for into, back in self._maps():
            for layer, size in ((into, embedding**-0.5), (back, pixels**-0.5)):
                nn.init.normal_(layer.weight, std=size, generator=generator)
                nn.init.zeros_(layer.bias)

    def squeeze(self, x: Tensor) -> Tensor:
        """Returns surfaces (B, pixels) for embeddings (B, E), both of size 1."""
        surface = x.new_zeros(len(x), self.pixels)
        for level, (into, back) in enumerate(self._maps()):
            # The next, finer level sees what this one leaves over.
            part = self._own(into(x)[:, self._patch(level)], level)
            x = x - back(self._averages(part, level))
            surface = surface + part
        return surface

    def spread(self, y: Tensor) -> Tensor:
        """Returns embeddings (B, E) of size 1 for surfaces (B, pixels)."""
        parts = (back(self._averages(self._own(y, level), level)) for level, back in enumerate(self.back))
        return torch.stack(list(parts)).sum(dim=0)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """Sets the weights by the closed form, from embeddings x, (N, E)."""
        size, first = float(self.log_size.exp()), 0
        directions, sizes = components(x, self.pixels)
        # Components are made equally large, but weak ones not by more than FLOOR allows: they are mostly noise.
        scale = 1 / torch.maximum(sizes, FLOOR * sizes[:1])
        for level, (into, back) in enumerate(self._maps()):
            free = self._free(level).to(x.device)
            own = slice(first, min(first + free.shape[1], len(sizes)))
            turn = free @ orthonormal(free.shape[1], own.stop - own.start, generator).to(x.device)
            into.weight.copy_((turn * scale[own]) @ directions[own] * size)
            back.weight.copy_(directions[own].T @ (turn / scale[own]).T / size)
            nn.init.zeros_(into.bias)
            nn.init.zeros_(back.bias)
            first = own.stop
        # Surfaces of size 1, like those of the other adapters.
        pixel = self.encode(x).square().mean().sqrt()
        if pixel > 0:
            for into, back in self._maps():
                into.weight /= pixel
                back.weight *= pixel

    def _free(self, level: int) -> Tensor:
        """Returns an orthonormal basis (cells, free) of a level's patterns: mean zero within the coarser level's patches."""
        count = self.cells[level]
        spread = torch.eye(count, dtype=torch.float64)[:, self._patch(level).cpu()]
        allowed = self._averages(self._own(spread.to(self.centre.device), level), level).cpu().T
        # Singular values are averages of unit patterns: of order 1, or 0 but for rounding.
        left, values, _ = torch.linalg.svd(allowed)
        return left[:, values > 1e-9]

    def _maps(self) -> list[tuple[nn.Linear, nn.Linear]]:
        return cast(list[tuple[nn.Linear, nn.Linear]], list(zip(self.into, self.back, strict=True)))

    def _patch(self, level: int) -> Tensor:
        patch: Tensor = getattr(self, f"patch_{level}")
        return patch

    def _averages(self, y: Tensor, level: int) -> Tensor:
        """Returns the averages of y (B, pixels) over a level's patches, (B, cells of the level)."""
        patch = self._patch(level)
        sums = y.new_zeros(len(y), self.cells[level]).index_add(1, patch, y)
        return sums / y.new_zeros(self.cells[level]).index_add(0, patch, torch.ones_like(y[0]))

    def _own(self, y: Tensor, level: int) -> Tensor:
        """Returns the part (B, pixels) of surfaces y (B, pixels) that belongs to a level."""
        here = self._averages(y, level)[:, self._patch(level)]
        return here - self._averages(y, level - 1)[:, self._patch(level - 1)] if level else here


def sides(pixels: int) -> tuple[int, int]:
    """Returns the sides of a face with so many pixels, as square as possible: 225 is 15 × 15, a prime is one row."""
    rows = next(n for n in range(int(pixels**0.5), 0, -1) if pixels % n == 0)
    return rows, pixels // rows


def patches(rows: int, columns: int) -> list[Tensor]:
    """Returns, for each level from coarse to fine, the number of the patch that each pixel lies in, (rows · columns,).

    Args:
        rows: The height of the face in pixels.
        columns: The width of the face in pixels.
    """
    down, across = torch.arange(rows, device="cpu"), torch.arange(columns, device="cpu")
    maps = []
    while True:
        wide = int(across[-1]) + 1
        maps.append((down[:, None] * wide + across).flatten())
        # The coarsest level has at most 2 patches a side.
        if max(int(down[-1]), int(across[-1])) < BLOCK:
            return maps[::-1]
        down, across = down // BLOCK, across // BLOCK
