"""The optimizer inside the backward pass: each cell's own weights move while they are in the processor's cache.

The backward pass through the steps (`steps.py`) finds what flows back into the states, and leaves the weights out. What their
gradient follows from is noted here, the states before each step and what flows into those after it: little beside the weights.
Then the gradient of one cell, over all steps and samples, is formed and used at once, and the next cell's takes its place
(`native/gmlp_learn.c`). A rule of 73 million weights never has 73 million gradients.

A gradient that isn't finite must leave every weight as it was, and here the first weights move before the last gradient is
known. So before any moves, it is proved from the sizes of weights, states and what flows back that no gradient can be infinite
(`bounds.py`). Where that can't be proved, all gradients are written, and looked at, as without this file.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from nca3d.cube.cell import GMLPRule
from nca3d.cube.executor.bounds import largest_gradient
from nca3d.cube.executor.buffers import give_back
from nca3d.cube.executor.native import SLOTS, AdamStep, Step, fresh, learn
from nca3d.cube.weights import CellWeights

# Cells whose gradients are there at once for an optimizer that takes parts, at least; and the numbers that share a scale there.
CELLS, SCALED = 32, 256


class Past(NamedTuple):
    """One step that has run, as its weights' gradient needs it.

    Attributes:
        half: Whether products were computed in bfloat16.
        rows: A tensor (cells, B, N) of the step's batch and dtype, whose values are not read.
        fires: The cells that updated in each step of its segment, bool (T, B, cells); None = all.
        number: Which of these T steps it was.
        x: The state before it, as columns.
        grad: What flows into the state after it, as columns.
        front: The input at the front face, as columns, or None.
        outside: The external input, as columns, or None.
    """

    half: bool
    rows: Tensor
    fires: Tensor | None
    number: int
    x: Tensor
    grad: Tensor
    front: Tensor | None
    outside: Tensor | None


class InParts(Protocol):
    """An optimizer that can move a part of a weight, as `nca3d.training.eight_bit` makes one of bitsandbytes'."""

    def move_part(self, gindex: int, pindex: int, part: slice, grad: Tensor) -> None:
        """Moves the numbers `part` of the parameter of these indices by their gradient, (n,)."""

    def init_state(self, group: dict[str, object], p: nn.Parameter, gindex: int, pindex: int) -> None:
        """Makes the state of a parameter that has none yet."""


# Who notes steps at the moment, by the weights that take part in them.
_noting: "WeakKeyDictionary[CellWeights, CellsInBackward]" = WeakKeyDictionary()


def noting(rule: GMLPRule) -> "CellsInBackward | None":
    """Returns who notes the steps of a rule in this backward pass; None = their gradients are wanted at once."""
    return _noting.get(rule.cells)


class CellsInBackward:
    """Moves the weights of cells that have their own; see `nca3d.training.task.InBackward`.

    Args:
        rule: The rule, whose weights are per cell.
        optimizer: torch's Adam or AdamW, or one that can move parts; its state is the same as without this class.
    """

    def __init__(self, rule: GMLPRule, optimizer: torch.optim.Optimizer) -> None:
        self.rule, self.optimizer = rule, optimizer
        self.own = list(rule.cells.own.values())
        self.pasts: list[Past] = []
        self._places = {id(p): (g, n) for g, group in enumerate(optimizer.param_groups) for n, p in enumerate(group["params"])}
        # Slot by slot: the largest weight by its size, and the version of the weight that it is known of.
        self._largest: dict[str, tuple[int, float]] = {}

    @contextmanager
    def noting(self) -> Iterator[None]:
        """A context in which a backward pass leaves these weights without gradient, and notes what it takes."""
        self.pasts = []
        _noting[self.rule.cells] = self
        try:
            yield
        finally:
            del _noting[self.rule.cells]

    def surely_finite(self) -> bool:
        """Whether no gradient to come can be other than finite."""
        largest = {name: self._size_of(name) for name in self.rule.cells.own}
        bound = sum(largest_gradient(self.rule, largest, past.x, past.grad, past.front, past.outside) for past in self.pasts)
        # Not a number is not below it, either.
        surely = bound < torch.finfo(self.own[0].dtype).max / 4
        share = self.rule.cells.share
        return surely if share is None else not share.ranks.any(not surely)

    @torch.no_grad()
    def write_gradients(self) -> None:
        """Writes the gradients into the parameters, all at once."""
        for weight in self.own:
            weight.grad = fresh(weight.numel(), weight.dtype).view_as(weight)
        learn(self._steps(slice(0, self.rule.cells.held), [cast(Tensor, weight.grad) for weight in self.own]))
        self.forget()

    @torch.no_grad()
    def step(self) -> None:
        """Moves the weights, as the optimizer would."""
        if not self.pasts:
            return
        if isinstance(self.optimizer, torch.optim.Adam | torch.optim.AdamW):
            self._by_adam()
        else:
            self._by_parts(cast(InParts, self.optimizer))
        for weight in self.own:
            # Whoever kept one for a backward pass of his own is told, as after any other optimizer.
            torch.autograd.graph.increment_version(weight)
        self._largest = {
            name: (weight._version, self._largest[name][1])
            for name, weight in self.rule.cells.own.items()
            if name in self._largest
        }
        self.forget()

    def forget(self) -> None:
        """Leaves the weights as they are."""
        self.pasts = []

    def _steps(self, cells: slice, grads: Sequence[Tensor] | None) -> list[Step]:
        """Returns all steps for a block of cells, ready for compiled code; the gradients go into `grads`, (n, *shape) each."""
        names, steps = list(self.rule.cells.own), []
        weights = self.rule.cells.part(cells)
        for past in self.pasts:
            step = Step(self.rule, past.half, past.rows, cells, past.fires, past.number, past.x, past.front, past.outside)
            step.set_weights(weights, None if grads is None else dict(zip(names, grads, strict=True)), assign=True)
            step.c.learns, step.c.grad_after = True, past.grad.data_ptr()
            steps.append(step)
        # In the order of time, which compiled code goes through backward.
        return steps[::-1]

    def _by_adam(self) -> None:
        """Moves all weights in compiled code, by the formulas of Adam and AdamW."""
        options = self.optimizer.param_groups[self._places[id(self.own[0])][0]]
        moments = {}
        for name, weight in self.rule.cells.own.items():
            state = self.optimizer.state[weight]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32)
                for key in ("exp_avg", "exp_avg_sq"):
                    state[key] = fresh(weight.numel(), weight.dtype).zero_().view_as(weight)
            state["step"] += 1
            moments[name] = weight, state["exp_avg"], state["exp_avg_sq"]
        number = int(state["step"])
        (beta1, beta2) = options["betas"]
        adam = AdamStep(
            rate=options["lr"],
            beta1=beta1,
            beta2=beta2,
            eps=options["eps"],
            decay=options["weight_decay"],
            correction1=1 - beta1**number,
            correction2=1 - beta2**number,
            decoupled=isinstance(self.optimizer, torch.optim.AdamW),
        )
        largest = torch.zeros(len(SLOTS), dtype=self.own[0].dtype)
        adam.largest = largest.data_ptr()
        for place, name in enumerate(SLOTS):
            if name in moments:
                adam.weights[place], adam.first[place], adam.second[place] = (part.data_ptr() for part in moments[name])
        learn(self._steps(slice(0, self.rule.cells.held), None), adam)
        self._largest = {name: (0, float(size)) for name, size in zip(SLOTS, largest, strict=True) if name in moments}

    def _by_parts(self, optimizer: InParts) -> None:
        """Moves the weights of some cells after the other by an optimizer that takes parts of a gradient."""
        for weight in self.own:
            gindex, pindex = self._places[id(weight)]
            if not self.optimizer.state[weight]:
                optimizer.init_state(self.optimizer.param_groups[gindex], weight, gindex, pindex)
        # What the backward pass has left would only lie beside the gradients.
        give_back()
        count = self.rule.cells.held
        # Parts of whole blocks of numbers that share a scale.
        at_once = math.lcm(CELLS, *(SCALED // math.gcd(SCALED, weight[0].numel()) for weight in self._in_blocks()))
        room = [fresh(min(at_once, count) * weight[0].numel(), weight.dtype) for weight in self.own]
        for start in range(0, count, at_once):
            cells = slice(start, min(start + at_once, count))
            grads = [
                part[: (cells.stop - start) * weight[0].numel()].view(-1, *weight.shape[1:])
                for part, weight in zip(room, self.own, strict=True)
            ]
            learn(self._steps(cells, grads))
            for weight, grad in zip(self.own, grads, strict=True):
                size = weight[0].numel()
                optimizer.move_part(*self._places[id(weight)], slice(start * size, cells.stop * size), grad.view(-1))
        for weight in self.own:
            self.optimizer.state[weight]["step"] += 1
        self._largest = {}

    def _in_blocks(self) -> list[nn.Parameter]:
        """Returns the weights whose state is quantised in blocks of numbers."""
        return [weight for weight in self.own if self.optimizer.state[weight]["state1"].dtype == torch.uint8]

    def _size_of(self, name: str) -> float:
        """Returns the largest of a parameter's numbers by its size; it is looked for only where it isn't known already."""
        weight = self.rule.cells.own[name]
        version, size = self._largest.get(name, (-1, 0.0))
        if version != weight._version:
            low, high = weight.detach().aminmax()
            size = float(torch.maximum(-low, high))
            self._largest[name] = weight._version, size
        return size


def check(rule: GMLPRule) -> str:
    """Returns why the weights of a rule can't be moved inside the backward pass, or ""."""
    if rule.cells.mode != "per_cell":
        return f"has weights of mode {rule.cells.mode}, which cells share"
    frozen = [name for name, weight in rule.cells.own.items() if not weight.requires_grad]
    return f"has frozen weights: {', '.join(frozen)}" if frozen else ""
