"""What one cell does. Read this file first: it is the whole cell, and every executor must agree with it.

A rule is a small program that every cell of the lattice runs. In one step a cell (1) looks at its neighbourhood through
a few linear kernels, (2) feeds what it sees to a small network that proposes a change of its own state, (3) applies
the change if it fires in this step, and (4) lives on if something alive was near it before and after.

Paper: Mordvintsev et al. 2020, "Growing Neural Cellular Automata" (Distill), from which the order of a step comes.
"""

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.errors import ArgumentError, InputError
from nca3d.lattice import PADDINGS, Size, dilate

if TYPE_CHECKING:
    from nca3d.targets import Target


class Rule(nn.Module, ABC):
    """One cell: `kernels()` say what it sees, `update()` what it does; executors do the gathering.

    Args:
        channels: channels of the state = visible · alpha · hidden.
        visible: number of visible channels; alpha is the channel after them.
        visible_kind: "rgb" (premultiplied colours), "classes" (logits; class 0 is empty) or "signal" (numbers; no body).
        fire_rate: probability that a cell updates in a step, 0 < rate <= 1.
        alive_threshold: a cell is alive when its alpha, or that of a neighbour, is above it (strictly); None = there is no
            alive mask: every cell is alive.
        step_size: factor of the change.
        padding: what lies beyond the border: "zeros", "replicate" or "circular".
    """

    #: Which neighbours a cell sees: "von_neumann" (6) or "moore" (26).
    neighbourhood: str = "moore"
    #: What every channel of a dead cell holds.
    dead_value: float = 0.0
    #: How far a change of one cell can reach in a step: the support grows by 1, but `post` looks at updated neighbours.
    reach: int = 2
    #: The name of the stepper that a rule with a step of its own brings along (`executors/every_cell.py`); "" = any executor's.
    stepper: str = ""
    #: The lattice (D, H, W) that the rule belongs to; None = it fits any.
    size: Size | None = None
    #: Whether a step takes external inputs and its own number too: forward(state, fire, inputs, step).
    takes_inputs: bool = False
    #: Whether its lattice can be a torus, so that padding "circular" does what it says.
    wraps: bool = True
    #: Whether the kernels depend on parameters, so that training must ask for their gradients.
    learns_kernels: bool = False
    #: What a trained rule knows of its training (size, target, horizon, figures); `nca3d.load` fills it.
    card: dict[str, Any]
    #: Laws that say nothing about the rule, by name (`nca3d.evaluation.laws`), and why.
    exempt: dict[str, str]

    def __init__(
        self,
        channels: int,
        visible: int = 3,
        visible_kind: Literal["rgb", "classes", "signal"] = "rgb",
        fire_rate: float = 0.5,
        alive_threshold: float | None = 0.1,
        step_size: float = 1.0,
        padding: Literal["zeros", "replicate", "circular"] = "zeros",
    ) -> None:
        super().__init__()
        if not 0 < visible < channels:
            raise ArgumentError("channels", channels, f"more than the {visible} visible ones (alpha needs one)")
        if visible_kind not in ("rgb", "classes", "signal"):
            raise ArgumentError("visible_kind", repr(visible_kind), "'rgb', 'classes', 'signal'")
        if visible_kind == "rgb" and visible != 3:
            raise ArgumentError("visible", visible, "3 where visible_kind is 'rgb'")
        if not 0 < fire_rate <= 1:
            raise ArgumentError("fire_rate", fire_rate, "0 < fire_rate <= 1")
        if alive_threshold is not None and not 0 <= alive_threshold < math.inf:
            raise ArgumentError("alive_threshold", alive_threshold, "0 or more, or None")
        if not math.isfinite(step_size):
            raise ArgumentError("step_size", step_size, "a finite number")
        if padding not in PADDINGS:
            raise ArgumentError("padding", repr(padding), ", ".join(PADDINGS))
        self.channels, self.visible, self.visible_kind = channels, visible, visible_kind
        self.fire_rate, self.alive_threshold = fire_rate, alive_threshold
        self.step_size, self.padding = step_size, padding
        self.card, self.exempt = {}, {}

    # What a rule must say ---------------------------------------------------------------------------------------

    @abstractmethod
    def kernels(self) -> list[Tensor | None]:
        """Returns what a cell sees: depthwise kernels, (1, 3, 3, 3) for all channels or (C, 3, 3, 3); None = itself."""

    @abstractmethod
    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that cells propose for their perception (…, K·C); pointwise, so for any set of cells."""

    @abstractmethod
    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""

    # What every rule does ---------------------------------------------------------------------------------------

    @property
    def alpha(self) -> int:
        """The channel that says how much of a cell is there."""
        return self.visible

    @property
    def threshold(self) -> float:
        """The number that alpha is compared with; −∞ without an alive mask."""
        return -math.inf if self.alive_threshold is None else self.alive_threshold

    @classmethod
    def has_own_step(cls) -> bool:
        """Whether the rule overrides a part of the step itself: executors can then only run the step as it is written."""
        return any(getattr(cls, name) is not getattr(Rule, name) for name in ("forward", "perceive", "alive_mask", "pad"))

    def target(self) -> "Target":
        """Returns the body that the rule was trained to grow, by its card, with the options that it names.

        Raises:
            InputError: the rule has no card that names a body.
        """
        from nca3d.targets import load

        card = self.card
        if not card.get("target") or not card.get("size"):
            raise InputError("rule", "card", "none that names a body", "a trained rule that grows one, as nca3d.load gives it")
        return load(card["target"], size=tuple(card["size"]), **card.get("target_options", {}))

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """Puts the first cell of each sample into empty states, in place: visible channels 0, alpha and hidden ones 1.

        Args:
            state: float (B, C, D, H, W).
            cells: int (B, 3), the places (d, h, w).
        """
        for sample, (d, h, w) in enumerate(cells.tolist()):
            state[sample, : self.visible, d, h, w] = 0.0
            state[sample, self.visible :, d, h, w] = 1.0

    def pad(self, state: Tensor) -> Tensor:
        """Adds one layer of cells around the lattice: (B, C, D, H, W) becomes (B, C, D+2, H+2, W+2)."""
        return F.pad(state, (1,) * 6, mode="constant" if self.padding == "zeros" else self.padding)

    def perceive(self, state: Tensor) -> Tensor:
        """Returns what every cell of a state (B, C, D, H, W) sees, (B, K·C, D, H, W), kernel by kernel."""
        padded = self.pad(state)
        perception = [
            state if kernel is None else F.conv3d(padded, kernel.expand(self.channels, 3, 3, 3)[:, None], groups=self.channels)
            for kernel in self.kernels()
        ]
        return torch.cat(perception, dim=1)

    def alive_mask(self, state: Tensor) -> Tensor:
        """Returns which cells of (B, C, D, H, W) live, bool (B, 1, D, H, W): maxpool3³(alpha) is above the threshold."""
        alpha = state[:, self.alpha : self.alpha + 1]
        if self.alive_threshold is None:
            return torch.ones_like(alpha, dtype=torch.bool)
        return dilate(alpha > self.alive_threshold, circular=self.padding == "circular")

    def forward(self, state: Tensor, fire: Tensor) -> Tensor:
        """Runs one step of every cell, in the field's order: slow, plain, and the measure of all executors.

        Args:
            state: float (B, C, D, H, W).
            fire: bool (B, 1, D, H, W), True = this cell updates (`nca3d.fire_mask`).

        Returns:
            The state after the step, (B, C, D, H, W).
        """
        pre = self.alive_mask(state)
        # Everywhere, dead cells too: a cell beside the body is born by its own update.
        delta = self.update(self.perceive(state).movedim(1, -1)).movedim(-1, 1)
        y = torch.where(fire, state + self.step_size * delta, state)
        post = self.alive_mask(y)  # of the updated neighbours, so that influence travels two cells a step
        # where, never a product: 0 · NaN is NaN, and one broken cell would poison its neighbours for ever.
        return torch.where(pre & post, y, self.dead_value)
