"""Which cells of a cube a process has where several share one out, and what they tell each other at the cut.

Each rank has some columns of cells, from the front face to the back one, their weights and what an optimizer keeps of them. No
weight ever travels, features do: before a step those of cells at the cut, and after the last one the whole state.

The cut runs along the way of a question, not across it. Backward, nothing flows into the layers far from the answer before it
has come that far (the light cone), so a rank that had the front half of the layers would wait for the other one; and for a cube
of 15 × 15 × 11 a cut along the way is the smaller one, too.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from nca3d.cube.rows import neighbour_table
from nca3d.errors import ArgumentError, RunError
from nca3d.lattice import Size
from nca3d.ranks import Ranks, current

# Tensors whose second axis is cells, (…, cells, numbers, samples) in compiled code: see `Share.show`.
Views = Sequence[Tensor]


class Share:
    """The cells of one rank, by numbers of their own, and foreign cells that they see.

    Here cells have other numbers than in the lattice: first come the n own ones in the order of the lattice, then the h foreign
    ones that they see. What is outside the lattice has the number n + h.

    Args:
        size: The lattice (D, H, W).
        ranks: The processes that share it out.

    Attributes:
        cells: The number of cells of the lattice.
        pixels: The number of columns: of the pixels of a face.
        columns: Which of them each rank has.
        owners: The cells of each rank by their numbers in the lattice, int64 (n,), ascending.
        front: How many own cells are at the front face; they come first.
        rows: n + h.
        most_rows: The largest n + h of all ranks.
        table: The neighbours of own and seen cells, int64 (n + h, 6), by the numbers here. See `neighbour_table`.
        shown: By rank, which own cells it sees, int64 (k,).
        seen: By rank, which cells of its are seen here: a slice of the numbers n .. n + h − 1, in the order of the lattice.

    Raises:
        ArgumentError: There are more ranks than columns.
    """

    def __init__(self, size: Size, ranks: Ranks) -> None:
        pixels = size[1] * size[2]
        if ranks.size > pixels:
            raise ArgumentError("ranks", ranks.size, f"at most the {pixels} columns of a cube {size}")
        self.rank, self.size, self.cells, self.pixels = ranks.rank, ranks.size, math.prod(size), pixels
        shares = [ranks.share(pixels, rank) for rank in range(ranks.size)]
        self.columns = [slice(share.start, share.stop) for share in shares]
        lattice = torch.arange(self.cells).view(size[0], pixels)
        self.owners = [lattice[:, columns].flatten() for columns in self.columns]
        owner = torch.empty(self.cells + 1, dtype=torch.int64)
        for rank, own in enumerate(self.owners):
            owner[own] = rank
        table = neighbour_table(size)
        seen_by = [_foreign(table[own], own, self.cells) for own in self.owners]
        self.front = len(shares[self.rank])
        self.most_rows = max(len(own) + len(seen) for own, seen in zip(self.owners, seen_by, strict=True))
        seen = seen_by[self.rank]
        # Those of one rank side by side: what comes from it is then one piece.
        seen = torch.cat([seen[owner[seen] == rank] for rank in range(self.size)])
        here = torch.cat([self.own, seen])
        self.rows = len(here)
        number = torch.full((self.cells + 1,), self.rows)
        number[here] = torch.arange(self.rows)
        self.table = number[table[here]]
        self.shown = {rank: number[cells[owner[cells] == self.rank]] for rank, cells in enumerate(seen_by) if rank != self.rank}
        self.shown = {rank: cells for rank, cells in self.shown.items() if len(cells)}
        self.seen: dict[int, slice] = {}
        for rank in range(self.size):
            places = number[seen[owner[seen] == rank]]
            if len(places):
                self.seen[rank] = slice(int(places[0]), int(places[-1]) + 1)

    @property
    def own(self) -> Tensor:
        """The own cells by their numbers in the lattice, int64 (n,), ascending."""
        return self.owners[self.rank]

    @property
    def ranks(self) -> Ranks:
        """The processes that share the cube out.

        Raises:
            ArgumentError: This process is not, or no longer, one of them.
        """
        ranks = current()
        if (ranks.rank, ranks.size) != (self.rank, self.size):
            found = f"rank {ranks.rank} of {ranks.size} with the cells of rank {self.rank} of {self.size}"
            raise ArgumentError("ranks", found, "the processes that the cube was shared out to, or the whole cube")
        return ranks

    # At the cut -------------------------------------------------------------------------------------------------------

    def show(self, views: Views, face: Views = ()) -> None:
        """Fills the features of seen cells with those that their ranks have.

        Args:
            views: What the cells have, (c, n + h, …): on every rank as many tensors of the same shapes, but for n + h.
            face: What is added to the features of own cells at the front face before they are shown, (c, front, …); () = none.
        """
        sent = {
            rank: _packed([_shown(view, cells, face, n) for n, view in enumerate(views)]) for rank, cells in self._at(views)
        }
        received = self._swapped(sent, {rank: [view[:, cells] for view in views] for rank, cells in self.seen.items()})
        for rank, cells in self.seen.items():
            for view, part in zip(views, received[rank], strict=True):
                view[:, cells] = part

    def give_back(self, views: Views, face: Views = ()) -> None:
        """Adds what flows into own cells from those of other ranks, in the order of ranks.

        Args:
            views: What flows into own and seen cells, (c, n + h, …); see `show`. That of seen ones goes to their ranks.
            face: What flows into the features that were added at the front face, (c, front, …); the same is added there.
        """
        sent = {rank: _packed([view[:, cells] for view in views]) for rank, cells in self.seen.items()}
        at = dict(self._at(views))
        like = {rank: [view[:, : len(cells)] for view in views] for rank, cells in at.items()}
        received = self._swapped(sent, like)
        for rank, cells in sorted(at.items()):
            for number, (view, part) in enumerate(zip(views, received[rank], strict=True)):
                view.index_add_(1, cells, part)
                if face:
                    front = int((cells < self.front).sum())
                    face[number].index_add_(1, cells[:front], part[:, :front])

    def _at(self, views: Views) -> list[tuple[int, Tensor]]:
        """Returns which own cells each rank sees, where the views lie."""
        return [(rank, cells.to(views[0].device)) for rank, cells in self.shown.items()]

    def _swapped(self, sent: dict[int, Tensor], like: dict[int, list[Tensor]]) -> dict[int, list[Tensor]]:
        """Sends packed tensors and returns what has come in, by rank, in the shapes of `like`."""
        received = {rank: views[0].new_empty(sum(view.numel() for view in views)) for rank, views in like.items()}
        self.ranks.exchange(sent, received)
        return {
            rank: [
                part.view(view.shape)
                for part, view in zip(flat.split([v.numel() for v in like[rank]]), like[rank], strict=True)
            ]
            for rank, flat in received.items()
        }

    # Whole and part ---------------------------------------------------------------------------------------------------

    def local(self, rows: Tensor) -> Tensor:
        """Returns the own cells' rows of a whole lattice's (cells, B, N), and room for seen cells: (n + h, B, N).

        Backward, all ranks get the gradient of the whole.
        """
        result: Tensor = _Local.apply(rows, self, self.rows)
        return result

    def local_front(self, front: Tensor) -> Tensor:
        """Returns those of rows of the front face, (H·W, B, N), that belong to own cells, (front, B, N); see `local`."""
        result: Tensor = _Local.apply(front, self, self.front)
        return result

    def local_fire(self, fire: Tensor) -> Tensor:
        """Returns which own cells fire, bool (T, B, n + h), of all, (T, B, cells); seen ones do, which nobody reads."""
        here = fire.new_ones(*fire.shape[:-1], self.rows)
        here[..., : len(self.own)] = fire[..., self.own.to(fire.device)]
        return here

    def whole(self, rows: Tensor) -> Tensor:
        """Returns the rows of all cells, (cells, B, N), on every rank, of those of own and seen ones, (n + h, B, N)."""
        result: Tensor = _Whole.apply(rows, self)
        return result

    def gather(self, rows: Tensor, cells: int) -> Tensor:
        """Returns all ranks' rows, (cells, B, N), on every rank.

        Args:
            rows: The rows of own cells, first of all, (n or more, B, N).
            cells: How many all ranks have: those of the lattice, or of its front face.
        """
        layers, (_, batch, numbers) = cells // self.pixels, rows.shape
        # Samples first: that is how states lie in memory.
        mine = rows[: layers * self.front].transpose(0, 1).contiguous()
        others = [rank for rank in range(self.size) if rank != self.rank]
        parts = {rank: mine.new_empty(batch, layers * _width(self.columns[rank]), numbers) for rank in others}
        # Directly from each to each: in gloo that takes a fifth of the time of its `all_gather`.
        self.ranks.exchange(dict.fromkeys(others, mine), parts)
        whole = mine.new_empty(batch, cells, numbers)
        for rank, part in {**parts, self.rank: mine}.items():
            self.of_rank(whole.transpose(0, 1), rank).copy_(part.view(batch, layers, -1, numbers))
        return whole.transpose(0, 1)

    def of_rank(self, rows: Tensor, rank: int) -> Tensor:
        """Returns a view of what belongs to a rank of whole rows (cells, B, N), those of the lattice or of its front face.

        Its shape is (B, layers, columns, N).
        """
        return rows.transpose(0, 1).unflatten(1, (-1, self.pixels))[:, :, self.columns[rank]]

    def here(self, rows: Tensor, count: int) -> Tensor:
        """Returns what belongs to own cells of whole rows (cells, B, N), followed by zeros, (count, B, N)."""
        part = self.of_rank(rows, self.rank)
        batch, layers, columns, numbers = part.shape
        found = rows.new_empty(batch, count, numbers)
        found[:, : layers * columns].unflatten(1, (layers, columns)).copy_(part)
        found[:, layers * columns :] = 0
        return found.transpose(0, 1)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Returns the sums of every rank's tensors, added in the order of ranks: of weights that all cells share."""
        if not tensors:
            return []
        total = self.ranks.sum(torch.cat([tensor.flatten() for tensor in tensors]))
        parts = total.split([tensor.numel() for tensor in tensors])
        return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]

    def agree(self, *numbers: int) -> None:
        """Checks that all ranks are about the same: what they send each other has no names.

        Args:
            *numbers: What they are about to do.

        Raises:
            RunError: They are not.
        """
        all_numbers = [tuple(part.tolist()) for part in self.ranks.gather(torch.tensor(numbers))]
        if len(set(all_numbers)) > 1:
            raise RunError(f"the ranks of a cube do different things: executor, steps, batch, gradient {all_numbers}")


class _Local(torch.autograd.Function):
    """Maps the whole's rows to own ones, followed by zeros, (count, B, N)."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: Share, count: int) -> Tensor:
        ctx.share, ctx.cells = share, len(rows)
        return share.here(rows, count)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.share.gather(grad, ctx.cells), None, None


class _Whole(torch.autograd.Function):
    """Maps own rows, and seen ones, which are dropped, to those of the whole."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: Share) -> Tensor:
        ctx.share = share
        return share.gather(rows, share.cells)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.share.here(grad, ctx.share.rows), None


def _foreign(neighbours: Tensor, own: Tensor, cells: int) -> Tensor:
    """Returns the cells among neighbours that are not own ones, int64 (h,), ascending."""
    seen = neighbours.unique()
    return seen[(seen < cells) & ~torch.isin(seen, own)]


def _shown(view: Tensor, cells: Tensor, face: Views, number: int) -> Tensor:
    """Returns what some cells show, (c, k, …)."""
    shown = view.index_select(1, cells)
    if face:
        front = int((cells < face[number].shape[1]).sum())
        shown[:, :front] += face[number].index_select(1, cells[:front])
    return shown


def _width(part: slice) -> int:
    return part.stop - part.start


def _packed(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in parts])
