"""The gradient of a batch as the sum of its samples' gradients, in their order, however the batch is split.

Floating-point sums depend on their order, and a body on every bit: a cell whose alpha is a rounding error above the threshold
lives. So processes that share a batch out, and parts of it that run one after the other, add up the same numbers in the same
order as one process that runs it whole (law 8). Whoever computes gradients of samples one by one (compiled code does, at no
cost) hands them in here; where nobody does, as in torch's own operations, autograd's sum over a part counts as one number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

# Numbers of float32 that fill a line of memory: where a tensor begins, and so each of its rows of as many.
TILE = 16

_now: ContextVar["BySample | None"] = ContextVar("by_sample", default=None)


def collecting() -> "BySample | None":
    """Returns who collects gradients by sample in this rollout; None = nobody does, and autograd sums them up."""
    return _now.get()


class BySample:
    """Gradients by sample of one iteration.

    Attributes:
        places: The places in the whole batch of the samples that run at the moment, in their order.
        tied: Tensors that stand in for what a condition makes of parameters, by the condition; see `tie`.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self.tied: dict[int, Tensor] = {}
        # By the identity of a tensor, then by the place of a sample.
        self._found: dict[int, dict[int, Tensor]] = {}

    @contextmanager
    def over(self, places: Sequence[int]) -> Iterator["BySample"]:
        """A context in which rollouts and losses are of these samples, and their gradients come here."""
        self.places = list(places)
        token = _now.set(self)
        try:
            yield self
        finally:
            _now.reset(token)

    def add(self, tensor: Tensor, place: int, gradient: Tensor) -> None:
        """Adds to the gradient of a tensor of any shape, a leaf of autograd's graph, by the sample at a place of the batch."""
        own = self._found.setdefault(id(tensor), {})
        own[place] = own[place] + gradient if place in own else gradient

    def tie(self, condition: int, tensor: Tensor) -> Tensor:
        """Returns a leaf in place of a tensor, of any shape, that follows from parameters and a condition, as a bias does.

        Samples under one condition may run in several processes. Their gradients meet at the leaf; from there on autograd
        passes their sum on to the parameters, once.
        """
        if condition not in self.tied:
            self.tied[condition] = tensor.detach().requires_grad_()
        return self.tied[condition]

    def has(self, tensor: Tensor) -> bool:
        """Whether the gradients of a tensor, of any shape, came by sample."""
        return id(tensor) in self._found

    def of(self, tensor: Tensor, place: int) -> Tensor:
        """Returns the gradient of a tensor, of any shape, by one sample; zeros where none came."""
        found = self._found.get(id(tensor), {}).get(place)
        return torch.zeros_like(tensor) if found is None else found


def products(weight: Tensor, values: Tensor, collector: BySample | None) -> Tensor:
    """Returns weight (K, n) · values (B, n, N), as (B, K, N): the bits of a sample don't depend on the others of its batch.

    Args:
        weight: A leaf of autograd's graph, where there is a collector.
        values: The values of each sample.
        collector: Who collects gradients by sample; None = autograd sums them up.
    """
    # Whole tiles: the library adds up in another order where numbers begin elsewhere in memory, as those of a second sample
    # of an odd number of cells do.
    cells = values.shape[2]
    whole = torch.nn.functional.pad(values, (0, -cells % TILE))
    found: Tensor = _each(weight, whole) if collector is None else _EachSample.apply(weight, whole, collector)
    return found[:, :, :cells]


def _each(weight: Tensor, values: Tensor) -> Tensor:
    """Returns weight · values, a product for each sample: `@` may make a single one of a whole batch."""
    return torch.bmm(weight.expand(len(values), -1, -1), values)


class _EachSample(torch.autograd.Function):
    """weight (K, n) · values (B, n, N), whose gradient of the weight goes to a collector sample by sample."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, values: Tensor, collector: BySample) -> Tensor:
        """Returns the products, (B, K, N)."""
        ctx.save_for_backward(weight, values)
        ctx.collector, ctx.places = collector, list(collector.places)
        return _each(weight, values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor | None, None]:
        """Returns the gradient of the values; that of the weight is handed in."""
        weight, values = ctx.saved_tensors
        # By each sample alone: a product over all of them would add up in an order of its own.
        for place, one, other in zip(ctx.places, grad.contiguous(), values, strict=True):
            ctx.collector.add(weight, place, one @ other.t())
        return None, _each(weight.t(), grad) if ctx.needs_input_grad[1] else None, None
