"""Steps of the rows of one rank: ghosts come before each step, and their gradients go back after each step backward.

`Slab` stands where `event` has a `Part`, so that segments, memory and autograd are those of `event_steps.py`. The step itself
is run by a `Stepper`: in compiled code (`native.py`), or in torch (`in_torch.py`), for any update network on any device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from nca3d.executors.event_steps import Part
from nca3d.executors.slabs.ghosts import Ghosts
from nca3d.executors.store import FIRST, Store
from nca3d.ranks import current


class Stepper(Protocol):
    """What runs single steps of a rank's rows between its ghosts, and remembers them for the way back."""

    store: Store

    def begin(self, steps: range, save: bool) -> None:
        """Makes ready for some steps; with `save` a backward pass follows."""

    def run(self, step: int, pieces: Sequence[Store], own: range) -> Store:
        """Returns the store after a step, valid until the step after the next, with ghosts that are of no use.

        Args:
            step: The step.
            pieces: The store before it, in pieces: DEAD and OUTSIDE, ghosts, own rows, ghosts.
            own: Which of its rows are this rank's own.
        """

    def close(self) -> None:
        """Lets go of what the steps since `begin` or `reopen` needed; `saved` comes before."""

    def saved(self) -> list[Tensor | None]:
        """Returns what the steps since `begin` left for the way back: tensors of any shape."""

    def reopen(self, steps: range, saved: list[Any]) -> None:
        """Makes ready to run some steps backward, from what `saved` returned."""

    def back(self, step: int, grad: Tensor, own: range, rows: int, through_perception: bool) -> tuple[Tensor, Tensor]:
        """Returns the gradients of all rows before a step, (R, stride), valid until the step before the last, and their cells.

        Args:
            step: The step.
            grad: The gradients of this rank's own rows after it, (n, stride).
            own: Which rows of the store after it those were.
            rows: How many rows that store had.
            through_perception: Whether a gradient passes on through the perception too.
        """

    def clear(self) -> None:
        """Starts a new sum of the parameters' gradients."""

    @property
    def by_sample(self) -> bool:
        """Whether gradients of parameters are summed up for each sample alone."""

    def parameter_gradients(self, sample: int) -> list[Tensor]:
        """Returns each trainable parameter's gradient, of its shape (…,), by this rank's rows of a sample, since `clear`."""

    def kept_bytes(self) -> int:
        """Returns how many bytes a step of `store` can save beside its states."""

    def keep(self, wanted: bool) -> None:
        """Says whether the next steps save that."""


@dataclass
class Slab(Part):
    """The rows of one rank on their way through a rollout; its store has them alone, without ghosts.

    After a change of the cuts another `Slab` goes on with the same stepper.

    Attributes:
        stepper: What runs the steps.
        ghosts: The exchange with other ranks.
    """

    stepper: Stepper
    ghosts: Ghosts

    def kept_bytes(self) -> int:
        """Returns how many bytes a step of the present rows can save beside its states, to spare work on the way back."""
        self.stepper.store = self.store
        return self.stepper.kept_bytes()

    def keep(self, wanted: bool) -> None:
        """Says whether the next steps save that."""
        self.stepper.store = self.store
        self.stepper.keep(wanted)

    @staticmethod
    def forward(parts: "list[Slab]", steps: range, save: bool) -> list[list[Tensor | None]]:  # type: ignore[override]
        """Runs the steps of this rank's rows (R, stride) together with all other ranks; see `Part.forward`."""
        (slab,) = parts
        stepper, ghosts = slab.stepper, slab.ghosts
        border = Store(*(tensor[:FIRST] for tensor in (slab.store.cells, slab.store.x, slab.store.alive)))
        own = Store(*(tensor[FIRST:] for tensor in (slab.store.cells, slab.store.x, slab.store.alive)))
        spans = []
        stepper.store = slab.store
        stepper.begin(steps, save)
        ghosts.begin()
        for step in steps:
            before, behind = ghosts.fetch(own)
            first = FIRST + sum(len(ghost.cells) for ghost in before)
            after = stepper.run(step, [border, *before, own, *behind], range(first, first + len(own.cells)))
            here = ghosts.own_rows(after.cells)
            own = Store(after.cells[here], after.x[here], after.alive[here])
            spans.append((here.start, here.stop, len(after.cells)))
        pairs = ((border.cells, own.cells), (border.x, own.x), (border.alive, own.alive))
        # Copies: what a stepper returned lies where it works.
        slab.store = Store(*(torch.cat(pair) for pair in pairs))
        saved = [torch.tensor(spans), *stepper.saved()] if save else []
        stepper.close()
        return [saved]

    @staticmethod
    def backward(  # type: ignore[override]
        parts: "list[Slab]", steps: range, saved: list[list[Any]], grads: list[Tensor], through_perception: bool
    ) -> list[Tensor]:
        """Runs the steps backward together with all other ranks: gradients (R, stride); see `Part.backward`."""
        ((slab,), ((spans, *rest),), (grad,)) = parts, saved, grads
        own, numbers = grad[FIRST:], spans.tolist()
        slab.stepper.reopen(steps, rest)
        for step in reversed(steps):
            through = through_perception or step > steps.start
            first, stop, rows = numbers[step - steps.start]
            whole, cells = slab.stepper.back(step, own, range(first, stop), rows, through)
            if through:
                slab.ghosts.settle(cells, whole)
            own = whole[slab.ghosts.own_rows(cells)]
        before = torch.cat([grad.new_zeros(FIRST, grad.shape[1]), own])
        slab.stepper.close()
        return [before]

    def clear(self) -> None:
        """Starts a new sum of the parameters' gradients."""
        self.stepper.clear()

    @property
    def by_sample(self) -> bool:
        """Whether gradients of parameters are summed up for each sample alone."""
        return self.stepper.by_sample

    def parameter_gradients(self, sample: int) -> list[Tensor]:
        """Returns each trainable parameter's gradient, of its shape (…,), by this rank's rows of a sample; see `Part`."""
        return self.stepper.parameter_gradients(sample)

    def summed(self, gradients: list[Tensor]) -> list[Tensor]:
        """Returns parameters' gradients, of any shape, summed over all ranks in their order: the same bits on each."""
        if len({gradient.dtype for gradient in gradients}) > 1:
            return [current().sum(gradient) for gradient in gradients]
        # In one message.
        sizes = [gradient.numel() for gradient in gradients]
        total = current().sum(torch.cat([gradient.flatten() for gradient in gradients])) if gradients else torch.zeros(0)
        return [part.view(gradient.shape) for part, gradient in zip(total.split(sizes), gradients, strict=True)]
