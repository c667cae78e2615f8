"""Rows of living cells in compiled code: each method calls the function of `native/rows.c` that does the same.

C gets addresses. What they point to must stay alive and contiguous until the call returns.
"""

import ctypes
import weakref
from typing import Any

import torch
from torch import Tensor

from nca3d.executors.native_code import Fire, Sight, library
from nca3d.executors.store import Marks, Rows, Store
from nca3d.fire import Draw
from nca3d.lattice import PADDINGS, Size
from nca3d.rules.cell import Rule
from nca3d.rules.kernels import AXES_AWAY, sobel

# A bit of an alive mask, as in rows.h.
LENT = 4


class NativeRows(Rows):
    """The backend `Rows` in compiled code, for float32 and float64 on a CPU."""

    index = torch.int32

    def __init__(self, rule: Rule, batch: int, size: Size, like: Tensor) -> None:
        code = library(like.dtype)
        assert code is not None
        self.code, self.lanes = code, code.lanes()
        super().__init__(rule, batch, size, like)
        self.lattice = code.lattice_new(batch, *size, PADDINGS.index(rule.padding))
        if not self.lattice:
            raise MemoryError(f"no memory for the map of {batch} lattices of {size}")
        # Freed with the rows, however a rollout ends.
        weakref.finalize(self, code.lattice_free, self.lattice)
        self.place = torch.tensor([*self.places, self.identities[0] if self.identities else -1], dtype=torch.int32)
        known, away = self._known_kernels()
        self.sight = Sight(
            lattice=self.lattice,
            taps=self.taps.data_ptr(),
            grad_taps=self.grad_taps.data_ptr(),
            place=self.place.data_ptr(),
            kernels=len(self.places),
            wide=self.kinds * rule.channels,
            channels=rule.channels,
            stride=self.stride,
            sobel=known,
            away=away,
        )
        # Used again by each call: memory of a new size in every step would leave the heap in pieces.
        self.perception = torch.empty(0, self.kinds * rule.channels, dtype=like.dtype)
        self.fire = Fire()
        # The draw of `fire`, and the tensors that `fire` points to.
        self.fire_source: tuple[Any, ...] = ()

    def _known_kernels(self) -> tuple[int, Any]:
        """Returns what C knows of the kernels, which share most of their sums.

        Returns:
            1 if the first three are the Sobel ones, 2 if one that weighs a neighbour by how many axes it is away is the fourth
            and last, else 0; and those four weights.
        """
        taps, away = self.taps[:4, :, : self.rule.channels], (ctypes.c_double * 4)()
        sobels = torch.stack([sobel(axis).flatten() for axis in "xyz"]).to(taps)
        if len(taps) < 3 or not (taps[:3] == sobels[..., None]).all():
            return 0, away
        if len(taps) == 4:
            weights = torch.stack([taps[3, axes == AXES_AWAY.flatten()][0, 0] for axes in range(4)])
            if (taps[3] == weights[AXES_AWAY.flatten()][:, None]).all():
                return 2, (ctypes.c_double * 4)(*weights.tolist())
        return 1, away

    def lent(self, alive: Tensor) -> Tensor:
        return alive | LENT

    def enter(self, store: Store) -> None:
        self.code.map_set(self.lattice, store.cells.data_ptr(), len(store.cells))

    def leave(self, store: Store) -> None:
        self.code.map_clear(self.lattice, store.cells.data_ptr(), len(store.cells))

    def fired(self, store: Store, draw: Draw, step: int) -> Tensor:
        rows = torch.empty(len(store.cells), dtype=torch.int32)
        count = self.code.fire_rows(
            self.lattice,
            self._fire(draw, step),
            store.cells.data_ptr(),
            store.alive.data_ptr(),
            len(store.cells),
            rows.data_ptr(),
        )
        return rows[:count]

    def _fire(self, draw: Draw, step: int) -> int:
        """Returns the address of the draw of one step, as C reads it; the tensors that it points to stay alive with it."""
        # Most calls are for the same rollout: only the step changes.
        if not self.fire_source or self.fire_source[0] is not draw:
            self.fire_source = (draw, draw.words().contiguous())
            self.fire.ids = self.fire_source[1].data_ptr()
            self.fire.seed, self.fire.below = draw.random_seed, draw.below
        # A mask of the caller is read in place; without one, C draws by the same hash as fire.py.
        if draw.given_masks is not None:
            mask = draw.given_masks[step].contiguous()
            self.fire_source = (*self.fire_source[:2], mask)
            self.fire.mask = mask.data_ptr()
        self.fire.step = (draw.first_step + step) % (1 << 32)
        return ctypes.addressof(self.fire)

    def _sight(self, cells: Tensor, rows: Tensor | None, x: Tensor, perception: Tensor) -> int:
        """Returns the address of what C must know to perceive: which cells, from which states, and where to write it."""
        sight = self.sight
        sight.cells, sight.rows = cells.data_ptr(), None if rows is None else rows.data_ptr()
        sight.x, sight.perception = x.data_ptr(), perception.data_ptr()
        return ctypes.addressof(self.sight)

    def perceive(self, store: Store, rows: Tensor) -> Tensor:
        return self._perceive(store.x, store.cells, rows, len(rows))

    def perceive_at(self, store: Store, cells: Tensor) -> Tensor:
        return self._perceive(store.x, cells, None, len(cells))

    def _perceive(self, x: Tensor, cells: Tensor, rows: Tensor | None, n: int) -> Tensor:
        if len(self.perception) < n:
            # With room to spare: a growing body would ask for more in every step.
            self.perception = torch.empty(n + n // 4, self.perception.shape[1], dtype=self.dtype)
        perception = self.perception[:n]
        self.code.perceive(self._sight(cells, rows, x, perception), n)
        # A rule may name the identity more than once; compiled code fills in the first.
        for place in self.identities[1:]:
            self._columns(perception, place).copy_(self._columns(perception, self.identities[0]))
        return perception

    def _columns(self, perception: Tensor, place: int) -> Tensor:
        """Returns the columns (n, C) of one kernel in a perception."""
        return perception.narrow(1, place * self.rule.channels, self.rule.channels)

    def perceive_backward(self, store: Store, rows: Tensor, grad_perception: Tensor, grad_x: Tensor) -> None:
        grad_perception = grad_perception.contiguous()
        # The adjoint of the copies in `_perceive`: their gradients add up in the first.
        for place in self.identities[1:]:
            self._columns(grad_perception, self.identities[0]).add_(self._columns(grad_perception, place))
        self.code.perceive_backward(self._sight(store.cells, rows, grad_x, grad_perception), len(rows))

    def taps_backward(self, store: Store, rows: Tensor, grad_perception: Tensor) -> None:
        grad_perception = grad_perception.contiguous()
        self.code.taps_backward(self._sight(store.cells, rows, store.x, grad_perception), len(rows))

    def add(self, x: Tensor, rows: Tensor, change: Tensor) -> None:
        change = change.contiguous()
        width = self.rule.channels
        self.code.add_rows(
            x.data_ptr(), rows.data_ptr(), change.data_ptr(), len(rows), width, width, self.stride, self.rule.step_size
        )

    def scaled_rows(self, x: Tensor, rows: Tensor) -> Tensor:
        out = torch.empty(len(rows), self.rule.channels, dtype=self.dtype)
        width = self.rule.channels
        self.code.scaled_rows(
            x.data_ptr(), rows.data_ptr(), out.data_ptr(), len(rows), width, width, self.stride, self.rule.step_size
        )
        return out

    def mark(self, store: Store, y: Tensor) -> Marks:
        near = torch.empty(len(store.cells), dtype=torch.uint8)
        counts = (ctypes.c_int64 * 2)()
        # C reads one channel, a stride apart: it gets the address of the first alpha.
        alpha = y.data_ptr() + self.rule.alpha * y.element_size()
        failed = self.code.mark(
            self.lattice,
            store.cells.data_ptr(),
            alpha,
            store.alive.data_ptr(),
            near.data_ptr(),
            len(near),
            self.stride,
            self.rule.threshold,
            counts,
        )
        if failed:
            raise MemoryError(f"no memory for the neighbours of {len(near)} cells")
        return Marks(near, unchanged=bool(counts[0]), open_fates=counts[1])

    def ring(self, store: Store, marks: Marks, draw: Draw, step: int) -> Tensor:
        # At most all 27 cells around each row whose fate is open.
        cells = torch.empty(27 * marks.open_fates, dtype=torch.int32)
        count = self.code.ring(
            self.lattice,
            self._fire(draw, step),
            store.cells.data_ptr(),
            store.alive.data_ptr(),
            marks.near.data_ptr(),
            len(store.cells),
            cells.data_ptr(),
            len(cells),
        )
        return cells[:count]

    def survivors(self, store: Store, ring: Tensor, change: Tensor) -> Tensor:
        survivors = torch.zeros(len(store.cells), dtype=torch.uint8)
        change, rule = change.contiguous(), self.rule
        self.code.ring_survivors(
            self.lattice,
            ring.data_ptr(),
            store.x.data_ptr(),
            change.data_ptr(),
            len(ring),
            rule.alpha,
            rule.channels,
            self.stride,
            rule.step_size,
            rule.threshold,
            survivors.data_ptr(),
        )
        return survivors

    def grow(self, store: Store, y: Tensor, marks: Marks, survivors: Tensor | None) -> tuple[Store, Tensor]:
        n, keep = len(store.cells), None if survivors is None else survivors.data_ptr()
        alive, near = store.alive.data_ptr(), marks.near.data_ptr()
        # The size first, so that the tensors can be made here and belong to torch.
        rows = self.code.next_rows(self.lattice, alive, near, keep, n, 0)
        after = Store(
            torch.empty(rows, dtype=torch.int32),
            torch.empty(rows, self.stride, dtype=self.dtype),
            torch.empty(rows, dtype=torch.uint8),
        )
        new_row = torch.empty(n, dtype=torch.int32)
        self.code.grow(
            self.lattice,
            store.cells.data_ptr(),
            y.data_ptr(),
            alive,
            near,
            keep,
            n,
            self.stride,
            0,
            after.cells.data_ptr(),
            after.x.data_ptr(),
            after.alive.data_ptr(),
            new_row.data_ptr(),
        )
        return after, new_row

    def grow_backward(self, after: Tensor, new_row: Tensor) -> Tensor:
        before = torch.empty(len(new_row), self.stride, dtype=self.dtype)
        self.code.grow_backward(after.data_ptr(), new_row.data_ptr(), before.data_ptr(), len(new_row), self.stride)
        return before
