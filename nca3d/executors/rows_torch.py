"""Rows of living cells in plain torch, for any device and dtype.

The map from cells to rows is a tensor of the lattice's size, made once for each rollout.
"""

from itertools import product

import torch
from torch import Tensor

from nca3d.executors.store import DEAD, FIRST, OUTSIDE, Marks, Rows, Store
from nca3d.fire import Draw
from nca3d.lattice import Size
from nca3d.rules.cell import Rule

# Stands for a cell beyond a border of zeros.
NOWHERE = -1


class TorchRows(Rows):
    """The backend `Rows` in torch: `event` runs on it where there is no C code (a GPU, another dtype, no compiler)."""

    index = torch.int64
    lanes = 1

    def __init__(self, rule: Rule, batch: int, size: Size, like: Tensor) -> None:
        super().__init__(rule, batch, size, like)
        depth, height, width = size
        # The row of each cell; DEAD is 0, so that zeros mean: no row.
        self.map = torch.zeros(batch * depth * height * width, dtype=torch.int32, device=self.device)
        self.offsets = torch.tensor(list(product((-1, 0, 1), repeat=3)), device=self.device)
        # As tensors: a list would be copied to the device in each step.
        self.at_identities, self.at_places = (
            torch.tensor(k, dtype=torch.int64, device=self.device) for k in (self.identities, self.places)
        )
        self.born = torch.zeros(0, dtype=torch.int64, device=self.device)

    def _around(self, cells: Tensor) -> Tensor:
        """Returns the 27 cells around each cell and itself, int64 (n, 27); NOWHERE beyond a border of zeros."""
        depth, height, width = self.size
        sides = torch.tensor(self.size, device=self.device)
        place = torch.stack([cells // (height * width) % depth, cells // width % height, cells % width], dim=-1)
        at = place[:, None] + self.offsets
        inside = ((at >= 0) & (at < sides)).all(-1)
        at = at % sides if self.rule.padding == "circular" else at.minimum(sides - 1).clamp_min(0)
        start = cells // (depth * height * width) * (depth * height * width)
        # Within its own sample: neighbours never belong to another one.
        flat = start[:, None] + (at[..., 0] * height + at[..., 1]) * width + at[..., 2]
        return torch.where(inside, flat, NOWHERE) if self.rule.padding == "zeros" else flat

    def _neighbours(self, cells: Tensor) -> Tensor:
        """Returns the rows of the 27 cells around each cell and itself, int64 (n, 27)."""
        at = self._around(cells)
        return torch.where(at == NOWHERE, OUTSIDE, self.map[at].long())

    def enter(self, store: Store) -> None:
        self.map[store.cells[FIRST:]] = torch.arange(FIRST, len(store.cells), dtype=torch.int32, device=self.device)

    def leave(self, store: Store) -> None:
        self.map[store.cells[FIRST:]] = DEAD

    def fired(self, store: Store, draw: Draw, step: int) -> Tensor:
        rows = store.alive.nonzero().squeeze(1)
        return rows[draw.at(step, store.cells[rows])]

    def perceive(self, store: Store, rows: Tensor) -> Tensor:
        return self.perceive_at(store, store.cells[rows])

    def perceive_at(self, store: Store, cells: Tensor) -> Tensor:
        around = self._neighbours(cells)
        perception = store.x.new_empty(len(cells), self.kinds, self.rule.channels)
        # The identity needs no sum: cell 13 of the 27 is the cell itself.
        perception[:, self.at_identities] = store.x[around[:, 13]][:, None]
        perception[:, self.at_places] = torch.einsum("noc,koc->nkc", store.x[around], self.taps)
        return perception.flatten(1)

    def perceive_backward(self, store: Store, rows: Tensor, grad_perception: Tensor, grad_x: Tensor) -> None:
        around = self._neighbours(store.cells[rows])
        grads = grad_perception.view(len(rows), self.kinds, self.rule.channels)
        # Several rows have the same neighbour: their gradients add up.
        grad_x.index_add_(0, around.flatten(), torch.einsum("nkc,koc->noc", grads[:, self.at_places], self.taps).flatten(0, 1))
        grad_x.index_add_(0, around[:, 13], grads[:, self.at_identities].sum(1))

    def taps_backward(self, store: Store, rows: Tensor, grad_perception: Tensor) -> None:
        around = self._neighbours(store.cells[rows])
        grads = grad_perception.view(len(rows), self.kinds, self.rule.channels)
        self.grad_taps[0] += torch.einsum("noc,nkc->koc", store.x[around], grads[:, self.at_places])

    def add(self, x: Tensor, rows: Tensor, change: Tensor) -> None:
        x.index_add_(0, rows, change, alpha=self.rule.step_size)

    def scaled_rows(self, x: Tensor, rows: Tensor) -> Tensor:
        return self.rule.step_size * x.index_select(0, rows)

    def mark(self, store: Store, y: Tensor) -> Marks:
        above = y[:, self.rule.alpha] > self.rule.threshold
        # DEAD and OUTSIDE are no cells, whatever their rows hold.
        above[:FIRST] = False
        at = self._around(store.cells[above]).flatten()
        at = at[at != NOWHERE]
        there = self.map[at]
        near = torch.zeros_like(above)
        near[there[there >= FIRST].long()] = True
        # Cells without a row beside one that is above the threshold get one.
        self.born = at[there == DEAD].unique()
        alive = store.alive.bool()
        unchanged = not len(self.born) and bool((alive & near)[FIRST:].all())
        return Marks(near, unchanged, int((alive & ~near).sum()))

    def ring(self, store: Store, marks: Marks, draw: Draw, step: int) -> Tensor:
        at = self._around(store.cells[store.alive.bool() & ~marks.near]).flatten()
        at = at[at != NOWHERE].unique()
        # Those that were alive have been updated already, and are in `near` if their alpha is above the threshold.
        at = at[~store.alive.bool()[self.map[at].long()]]
        return at[draw.at(step, at)]

    def survivors(self, store: Store, ring: Tensor, change: Tensor) -> Tensor:
        alpha = store.x[self.map[ring].long(), self.rule.alpha] + self.rule.step_size * change[:, self.rule.alpha]
        around = self._neighbours(ring[alpha > self.rule.threshold]).flatten()
        survivors = torch.zeros_like(store.alive)
        survivors[around[around >= FIRST]] = True
        return survivors

    def grow(self, store: Store, y: Tensor, marks: Marks, survivors: Tensor | None) -> tuple[Store, Tensor]:
        alive = store.alive.bool()
        needed = marks.near if survivors is None else marks.near | (alive & survivors.bool())
        # A row stays for what it may become, also where its cell dies now: then it holds the dead value.
        stays = needed.nonzero().squeeze(1)
        lives = (alive & needed)[stays]
        # Rows stand in the order of their cells, however it got here: sums are then made in the same order.
        cells, order = torch.cat([store.cells[stays], self.born]).sort()
        x = torch.cat([torch.where(lives[:, None], y[stays], y[DEAD]), y[DEAD].expand(len(self.born), -1)])[order]
        near = torch.cat([marks.near[stays], torch.ones_like(self.born, dtype=torch.bool)])[order]
        after = Store(
            torch.cat([store.cells[:FIRST], cells]),
            torch.cat([y[:FIRST], x]),
            torch.cat([near.new_zeros(FIRST), near]),
        )
        place = torch.empty_like(order)
        place[order] = torch.arange(FIRST, FIRST + len(order), device=self.device)
        new_row = torch.zeros(len(store.cells), dtype=torch.int64, device=self.device)
        new_row[stays[lives]] = place[: len(stays)][lives]
        self.leave(store)
        self.enter(after)
        return after, new_row

    def grow_backward(self, after: Tensor, new_row: Tensor) -> Tensor:
        return torch.where((new_row == 0)[:, None], 0.0, after.index_select(0, new_row))
