"""Single steps of a rank's rows in torch, by any update network on any device: a call of `event_steps.py` for each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nca3d.executors.event_steps import Part, step_backward, step_forward
from nca3d.executors.store import Store


@dataclass
class TorchStepper(Part):
    """Runs single steps; what the backward pass needs of each are four tensors, as `Part.forward` has them."""

    kept: list[Any] = field(init=False, default_factory=list)

    def begin(self, steps: range, save: bool) -> None:
        """Makes ready for some steps."""
        self.save, self.kept = save, []

    def run(self, step: int, pieces: Sequence[Store], own: range) -> Store:
        """Returns the store after a step."""
        store = Store(
            torch.cat([piece.cells for piece in pieces]),
            torch.cat([piece.x for piece in pieces]),
            torch.cat([piece.alive for piece in pieces]),
        )
        self.rows.enter(store)
        after, fired, new_row = step_forward(self, store, step)
        self.rows.leave(after)
        if self.save:
            # No gradient comes to ghosts.
            ours = (fired >= own.start) & (fired < own.stop)
            self.kept += [store.cells, store.x, fired[ours], new_row]
        return after

    def saved(self) -> list[Tensor | None]:
        """Returns four tensors for each step: cells (R,), states (R, stride), rows that fired (n,), new rows (R,)."""
        return self.kept

    def close(self) -> None:
        """Lets go of what steps needed."""
        self.kept = []

    def reopen(self, steps: range, saved: list[Any]) -> None:
        """Makes ready to run some steps backward."""
        self.first, self.kept = steps.start, saved

    def back(self, step: int, grad: Tensor, own: range, rows: int, through_perception: bool) -> tuple[Tensor, Tensor]:
        """Returns the gradients of all rows before a step, (R, stride), and their cells."""
        cells, x, fired, new_row = self.kept[4 * (step - self.first) :][:4]
        after = grad.new_zeros(rows, grad.shape[1])
        after[own.start : own.stop] = grad
        return step_backward(self, Store(cells, x, cells), fired, new_row, after, through_perception), cells
