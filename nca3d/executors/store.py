"""The rows that an event-driven step works on, and what a backend must be able to do with them.

Two backends do the same: `rows_native.py` (compiled, CPU) and `rows_torch.py` (any device and dtype, plain torch).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from nca3d.fire import Draw
from nca3d.lattice import Size
from nca3d.rules.cell import Rule

# Row 0 stands for every dead cell, row 1 for what lies beyond a border of zeros; cells begin at row 2.
DEAD, OUTSIDE, FIRST = 0, 1, 2


@dataclass
class Store:
    """Cells of interest as rows: those alive, those beside them, and whatever else is not dead.

    Attributes:
        cells: flat indices over batch and lattice, rising; −1 in the first two rows. (R,)
        x: their states, channels padded to the backend's stride. (R, stride)
        alive: the alive mask before the step (`pre`), a backend's own kind of bits. (R,)
    """

    cells: Tensor
    x: Tensor
    alive: Tensor


@dataclass
class Marks:
    """Which rows are at or beside a cell that is above the threshold now, and whether that changes the store at all.

    Attributes:
        near: bool (R,).
        unchanged: every row is near, was alive, and no cell beyond the store is near.
        open_fates: how many rows that were alive and are not near: a firing cell just outside may still keep them.
    """

    near: Tensor
    unchanged: bool
    open_fates: int


class Rows(ABC):
    """All of a step but the update network. One object serves one rollout; `enter` a store before the other calls.

    Args:
        rule: what one cell does.
        batch: B.
        size: lattice (D, H, W).
        like: a tensor with the dtype and device of the states.
    """

    # Of cells and rows.
    index: torch.dtype
    # Rows of states are padded to a multiple of so many channels.
    lanes: int

    def __init__(self, rule: Rule, batch: int, size: Size, like: Tensor) -> None:
        self.rule, self.batch, self.size = rule, batch, size
        self.dtype, self.device = like.dtype, like.device
        self.stride = -(-rule.channels // self.lanes) * self.lanes
        kernels = rule.kernels()
        self.kinds = len(kernels)
        self.own = [place for place, kernel in enumerate(kernels) if kernel is None]
        self.places = [place for place, kernel in enumerate(kernels) if kernel is not None]
        # (K, 27, stride): what each kernel but the identity weighs each neighbour with.
        self.taps = like.new_zeros(len(self.places), 27, self.stride)
        for tap, kernel in zip(self.taps, (kernel for kernel in kernels if kernel is not None), strict=True):
            tap[:, : rule.channels] = kernel.detach().expand(rule.channels, 3, 3, 3).reshape(rule.channels, 27).t()

        # Their gradients, summed over calls of `taps_backward`.
        self.grad_taps = torch.zeros_like(self.taps)

    def padded(self, values: Tensor) -> Tensor:
        """Returns states of cells (N, C) as rows (N + 2, stride), those of DEAD and OUTSIDE first."""
        first = torch.zeros(FIRST, values.shape[1], dtype=values.dtype, device=values.device)
        first[DEAD] = self.rule.dead_value
        rows = torch.cat([first, values])
        return torch.nn.functional.pad(rows, (0, self.stride - values.shape[1])) if self.stride > values.shape[1] else rows

    @abstractmethod
    def enter(self, store: Store) -> None:
        """Enters the store's cells into the map from cells to rows."""

    @abstractmethod
    def leave(self, store: Store) -> None:
        """Takes the store's cells out of the map again."""

    @abstractmethod
    def fired(self, store: Store, draw: Draw, step: int) -> Tensor:
        """Returns the rows that are alive and fire, (n,), rising."""

    @abstractmethod
    def perceive(self, store: Store, rows: Tensor) -> Tensor:
        """Returns what rows (n,) perceive, (n, kinds · C); it is valid until the next call."""

    @abstractmethod
    def perceive_at(self, store: Store, cells: Tensor) -> Tensor:
        """Returns what cells (n,) perceive, (n, kinds · C), which may have no row."""

    @abstractmethod
    def perceive_backward(self, store: Store, rows: Tensor, grad_perception: Tensor, grad_x: Tensor) -> None:
        """Adds to `grad_x` (R, stride) what `grad_perception` (n, kinds · C) gives: the adjoint of `perceive`."""

    @abstractmethod
    def taps_backward(self, store: Store, rows: Tensor, grad_perception: Tensor) -> None:
        """Adds to `grad_taps` what `grad_perception` (n, kinds · C) gives to the taps of learned kernels."""

    @abstractmethod
    def add(self, x: Tensor, rows: Tensor, change: Tensor) -> None:
        """Adds step_size · change (n, C) to the rows (n,) of x (R, stride), in place."""

    @abstractmethod
    def take(self, x: Tensor, rows: Tensor) -> Tensor:
        """Returns step_size · x[rows], (n, C)."""

    @abstractmethod
    def mark(self, store: Store, y: Tensor) -> Marks:
        """Marks which rows are at or beside one whose alpha in `y` (R, stride) is above the threshold."""

    @abstractmethod
    def ring(self, store: Store, marks: Marks, draw: Draw, step: int) -> Tensor:
        """Returns the cells (n,) that fire, were not alive, and touch a row whose fate is open; rising, each once."""

    @abstractmethod
    def kept(self, store: Store, ring: Tensor, change: Tensor) -> Tensor:
        """Returns the rows beside a ring cell whose changed alpha is above the threshold, (R,) like `Store.alive`."""

    @abstractmethod
    def grow(self, store: Store, y: Tensor, marks: Marks, kept: Tensor | None) -> tuple[Store, Tensor]:
        """Returns the store after `mark` of `y` (R, stride), entered in place of this one, and each row's new row; 0 = died."""

    @abstractmethod
    def grow_backward(self, after: Tensor, new_row: Tensor) -> Tensor:
        """Returns the gradient of each row, (R, stride), given that of its new row: zeros for those that died."""
