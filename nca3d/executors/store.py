"""The rows that an event-driven step works on (`Store`), and what a backend must be able to do with them (`Rows`).

Two backends do the same: `rows_native.py` (in C, for float32 and float64 on a CPU) and `rows_torch.py` (in torch, for any
device and dtype). A step itself is in `event_steps.py`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from nca3d.fire import Draw
from nca3d.lattice import Size
from nca3d.rules.cell import Rule

# Row 0 stands for all cells without a row, which are dead, and row 1 for what lies beyond a border of zeros: so each neighbour
# has a row, and no loop must ask. Cells begin at row 2.
DEAD, OUTSIDE, FIRST = 0, 1, 2


@dataclass
class Store:
    """Cells as rows: those that are alive, those beside them, and whatever else is not dead.

    Attributes:
        cells: The flat index of each row's cell over batch and lattice, (R,), rising; −1 in the first two rows.
        x: The states of the rows, (R, stride): channels, padded to the backend's stride.
        alive: The alive mask before the step (`pre`), (R,), in bits of the backend's own kind; 0 = not alive.
    """

    cells: Tensor
    x: Tensor
    alive: Tensor


@dataclass
class Marks:
    """Which rows are at or beside a cell whose alpha is above the threshold after an update.

    Attributes:
        near: Whether a row is near: at or beside such a cell, (R,), in bits like `Store.alive`.
        unchanged: Whether the next store has the same rows: each is near and was alive, and no cell without a row is near.
        open_fates: The number of rows that were alive and are not near: a firing cell just outside may still keep them alive.
    """

    near: Tensor
    unchanged: bool
    open_fates: int


class Rows(ABC):
    """All of a step but the update network, and its gradient. One object serves one rollout.

    It finds neighbours through a map from cells to rows, so a store must be entered (`enter`) before the other calls.

    Args:
        rule: What one cell does.
        batch: The number of samples, B.
        size: The lattice (D, H, W).
        like: A tensor with the dtype and device of the states, of any shape.

    Attributes:
        taps: What each kernel but the identity weighs each neighbour with, (K, 27, stride).
        grad_taps: The gradients of these, summed over calls of `taps_backward`, (B, K, 27, stride): compiled code has a sum for
            each sample, others have all in the first.
    """

    # The dtype of indices of cells and rows.
    index: torch.dtype
    # Rows of states are padded to a multiple of so many channels: whole vectors of the processor.
    lanes: int

    def __init__(self, rule: Rule, batch: int, size: Size, like: Tensor) -> None:
        self.rule, self.batch, self.size = rule, batch, size
        self.dtype, self.device = like.dtype, like.device
        # Rounded up to whole vectors, so that no loop over channels has a remainder.
        self.stride = -(-rule.channels // self.lanes) * self.lanes
        kernels = rule.kernels()
        self.kinds = len(kernels)
        # Where the identity stands among the kernels, and where the others do: the identity needs no sum over neighbours.
        self.identities = [place for place, kernel in enumerate(kernels) if kernel is None]
        self.places = [place for place, kernel in enumerate(kernels) if kernel is not None]
        # Neighbours first and channels last, as a step reads them; detached, since their gradient is written out.
        self.taps = like.new_zeros(len(self.places), 27, self.stride)
        for tap, kernel in zip(self.taps, (kernel for kernel in kernels if kernel is not None), strict=True):
            tap[:, : rule.channels] = kernel.detach().expand(rule.channels, 3, 3, 3).reshape(rule.channels, 27).t()
        self.grad_taps = like.new_zeros(batch, *self.taps.shape)

    def padded(self, values: Tensor) -> Tensor:
        """Returns the states of cells (N, C) as rows (N + 2, stride), after the rows DEAD and OUTSIDE."""
        # What is beyond a border of zeros is 0, also where dead cells hold another number.
        first = torch.zeros(FIRST, values.shape[1], dtype=values.dtype, device=values.device)
        first[DEAD] = self.rule.dead_value
        rows = torch.cat([first, values])
        return torch.nn.functional.pad(rows, (0, self.stride - values.shape[1])) if self.stride > values.shape[1] else rows

    def lent(self, alive: Tensor) -> Tensor:
        """Returns the alive mask (n,) of rows that are only looked at: they don't fire, and what they become is not asked."""
        return torch.zeros_like(alive)

    @abstractmethod
    def enter(self, store: Store) -> None:
        """Enters the store's cells into the map from cells to rows."""

    @abstractmethod
    def leave(self, store: Store) -> None:
        """Takes the store's cells out of the map again."""

    @abstractmethod
    def fired(self, store: Store, draw: Draw, step: int) -> Tensor:
        """Returns the rows (n,) that are alive and fire, rising."""

    @abstractmethod
    def perceive(self, store: Store, rows: Tensor) -> Tensor:
        """Returns the perception (n, kinds · C) of rows (n,); it is valid until the next call."""

    @abstractmethod
    def perceive_at(self, store: Store, cells: Tensor) -> Tensor:
        """Returns the perception (n, kinds · C) of cells (n,) that need no row; it is valid until the next call."""

    @abstractmethod
    def perceive_backward(self, store: Store, rows: Tensor, grad_perception: Tensor, grad_x: Tensor) -> None:
        """Adds to `grad_x` the gradient that reaches rows through the perception of some of them: the adjoint of `perceive`.

        Args:
            store: The rows.
            rows: The rows that perceived, (n,).
            grad_perception: The gradient of their perception, (n, kinds · C).
            grad_x: The gradients of all rows, (R, stride), changed in place.
        """

    @abstractmethod
    def taps_backward(self, store: Store, rows: Tensor, grad_perception: Tensor) -> None:
        """Adds to `grad_taps` the gradient that reaches kernels through the perception (n, kinds · C) of rows (n,)."""

    @abstractmethod
    def add(self, x: Tensor, rows: Tensor, change: Tensor) -> None:
        """Adds step_size · change (n, C) to the rows (n,) of x (R, stride), in place."""

    @abstractmethod
    def scaled_rows(self, x: Tensor, rows: Tensor) -> Tensor:
        """Returns step_size · x[rows], (n, C), of x (R, stride): the adjoint of `add`."""

    @abstractmethod
    def mark(self, store: Store, y: Tensor) -> Marks:
        """Marks which rows are at or beside one whose alpha in `y` (R, stride) is above the threshold."""

    @abstractmethod
    def ring(self, store: Store, marks: Marks, draw: Draw, step: int) -> Tensor:
        """Returns the cells (n,) that fire, were not alive and touch a row whose fate is open, rising, each once."""

    @abstractmethod
    def survivors(self, store: Store, ring: Tensor, change: Tensor) -> Tensor:
        """Returns which rows the ring keeps alive: those beside a ring cell whose changed alpha is above the threshold.

        Args:
            store: The rows.
            ring: The cells of the ring, (n,).
            change: The changes of their channels, (n, C), not yet multiplied by step_size.

        Returns:
            The rows as a mask (R,), in bits like `Store.alive`.
        """

    @abstractmethod
    def grow(self, store: Store, y: Tensor, marks: Marks, survivors: Tensor | None) -> tuple[Store, Tensor]:
        """Returns the store after the step, entered in place of this one, and the new row of each row (R,); 0 = it died.

        Args:
            store: The rows before the step.
            y: Their states after the update, (R, stride).
            marks: The marks of `y`.
            survivors: The rows that the ring keeps alive, (R,); None = there are none.
        """

    @abstractmethod
    def grow_backward(self, after: Tensor, new_row: Tensor) -> Tensor:
        """Returns the gradient of each row, (R, stride), from that of its new row (…, stride): zeros for rows that died."""
