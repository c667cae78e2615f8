"""The hierarchical adapter: coarse to fine. Large patches of the face say the most, finer ones what those leave over."""

from typing import cast

import torch
from torch import Tensor, nn

from nca3d.cube.adapters.adapter import Adapter, components, orthonormal
from nca3d.cube.adapters.linear import FLOOR

# Each level has blocks of 3 × 3 of the next finer one: 15 × 15, 5 × 5, 2 × 2.
BLOCK = 3


class HierarchicalAdapter(Adapter):
    """A pyramid over the face: surface = sum over levels of patches, each level of mean zero within a patch of the coarser one.

    So a surface says of itself which part of it belongs to which level: a level is what averages over its patches hold beyond
    those of the coarser level. Each level tells what the coarser ones left over of the embedding. `fit` is the closed form: the
    first principal components on the coarsest level, the next on the next. No linear pyramid brings back more, at any level
    (Eckart and Young 1936), so nothing is left for Adam.
    """

    closed_form = True

    def __init__(self, embedding: int, pixels: int, generator: torch.Generator | None = None) -> None:
        super().__init__(embedding, pixels, generator)
        maps = patches(*sides(pixels))
        self.cells = [int(cells.max()) + 1 for cells in maps]
        for level, cells in enumerate(maps):
            self.register_buffer(f"patch_{level}", cells.to(self.centre.device), persistent=False)
        self.into = nn.ModuleList(nn.Linear(embedding, count) for count in self.cells)
        self.back = nn.ModuleList(nn.Linear(count, embedding) for count in self.cells)
        for into, back in self._maps():
            for layer, size in ((into, embedding**-0.5), (back, pixels**-0.5)):
                nn.init.normal_(layer.weight, std=size, generator=generator)
                nn.init.zeros_(layer.bias)

    def squeeze(self, x: Tensor) -> Tensor:
        """(B, E) of size 1 -> (B, pixels)."""
        surface = x.new_zeros(len(x), self.pixels)
        for level, (into, back) in enumerate(self._maps()):
            part = self._own(into(x)[:, self._patch(level)], level)
            x = x - back(self._averages(part, level))
            surface = surface + part
        return surface

    def spread(self, y: Tensor) -> Tensor:
        """(B, pixels) -> (B, E) of size 1."""
        parts = (back(self._averages(self._own(y, level), level)) for level, back in enumerate(self.back))
        return torch.stack(list(parts)).sum(dim=0)

    def begin(self, x: Tensor, generator: torch.Generator) -> None:
        """The closed form, from embeddings (N, E)."""
        size, first = float(self.log_size.exp()), 0
        directions, sizes = components(x, self.pixels)
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
        pixel = self.encode(x).square().mean().sqrt()
        if pixel > 0:
            for into, back in self._maps():
                into.weight /= pixel
                back.weight *= pixel

    def _free(self, level: int) -> Tensor:
        """An orthonormal basis (cells, free) of what this level may say: mean zero within the patches of the coarser one."""
        count = self.cells[level]
        spread = torch.eye(count, dtype=torch.float64)[:, self._patch(level).cpu()]
        allowed = self._averages(self._own(spread.to(self.centre.device), level), level).cpu().T
        left, values, _ = torch.linalg.svd(allowed)
        return left[:, values > 1e-9]

    def _maps(self) -> list[tuple[nn.Linear, nn.Linear]]:
        return cast(list[tuple[nn.Linear, nn.Linear]], list(zip(self.into, self.back, strict=True)))

    def _patch(self, level: int) -> Tensor:
        patch: Tensor = getattr(self, f"patch_{level}")
        return patch

    def _averages(self, y: Tensor, level: int) -> Tensor:
        """(B, pixels) -> (B, cells of this level)."""
        patch = self._patch(level)
        sums = y.new_zeros(len(y), self.cells[level]).index_add(1, patch, y)
        return sums / y.new_zeros(self.cells[level]).index_add(0, patch, torch.ones_like(y[0]))

    def _own(self, y: Tensor, level: int) -> Tensor:
        """The part (B, pixels) of surfaces (B, pixels) that belongs to this level."""
        here = self._averages(y, level)[:, self._patch(level)]
        return here - self._averages(y, level - 1)[:, self._patch(level - 1)] if level else here


def sides(pixels: int) -> tuple[int, int]:
    """The sides of the face, as square as can be: 225 is 15 × 15, a prime is one row."""
    rows = next(n for n in range(int(pixels**0.5), 0, -1) if pixels % n == 0)
    return rows, pixels // rows


def patches(rows: int, columns: int) -> list[Tensor]:
    """For each level, coarse to fine: the number of the patch that each pixel of the face lies in, (rows · columns,)."""
    down, across = torch.arange(rows, device="cpu"), torch.arange(columns, device="cpu")
    found = []
    while True:
        wide = int(across[-1]) + 1
        found.append((down[:, None] * wide + across).flatten())
        if max(int(down[-1]), int(across[-1])) < BLOCK:
            return found[::-1]
        down, across = down // BLOCK, across // BLOCK
