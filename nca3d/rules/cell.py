"""What one cell does. Read this file first: it is the whole cell, and every executor must agree with it.

A rule is a small program that all cells of a lattice run at once, each on its own neighbourhood; nothing else holds a body
together. In one step a cell

1. looks: a few linear kernels over the 3×3×3 cells around it give its perception;
2. thinks: a small network, the same one in every cell, turns the perception into a change of the cell's state;
3. acts, or waits: the change counts if the cell fires in this step, which a draw decides (`nca3d.fire_mask`);
4. lives on if something alive was near it before the change and after it; otherwise it becomes empty.

`Rule.forward`, at the end of this file, is these four sentences in code; `conv.py` has the rule that most bodies grow by.

Paper: Mordvintsev et al. 2020, "Growing Neural Cellular Automata" (Distill), from which the order of a step comes.
"""

import math
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.errors import ArgumentError, InputError
from nca3d.lattice import PADDINGS, Size, dilate
from nca3d.ranks import Ranks

if TYPE_CHECKING:
    from nca3d.targets import Target


class Rule(nn.Module, ABC):
    """What one cell does: `kernels()` say what it perceives and `update()` what it does with that; executors do the rest.

    A cell's state is a list of numbers, its channels, in this order: the visible ones (what pictures show), alpha (how much of
    the cell is there) and the hidden ones (for the rule's own use, such as messages between cells).

    Args:
        channels: The number of channels of a cell: visible, alpha and hidden ones together.
        visible: The number of visible channels; alpha is the channel after them.
        visible_kind: What the visible channels mean: "rgb" (colours premultiplied by alpha), "classes" (logits of classes, of
            which class 0 is empty) or "signal" (numbers that are not the picture of a body).
        fire_rate: The probability that a cell updates in a step, 0 < rate <= 1.
        alive_threshold: A cell is alive when its alpha, or that of a neighbour, is above this number, strictly. None = there is
            no alive mask: every cell is alive.
        step_size: The factor that changes are multiplied by before they are added.
        padding: What lies beyond the border: "zeros", "replicate" (the border again) or "circular" (the opposite side).

    Raises:
        ValueError: An argument is out of its range; the line names it.
    """

    #: The neighbours that a cell perceives: "von_neumann" (the 6 that share a face) or "moore" (all 26 that touch it).
    neighbourhood: str = "moore"
    #: The number that every channel of a dead cell holds.
    dead_value: float = 0.0
    #: The number of cells that a change can travel in one step: perception reaches 1, and `post` looks at updated neighbours.
    reach: int = 2
    #: The name of the stepper that runs a rule with its own step (`executors/every_cell.py`); "" = any executor runs it.
    stepper: str = ""
    #: The lattice (D, H, W) that the rule belongs to; None = it runs on any.
    size: Size | None = None
    #: Whether a step also takes external inputs and its own number: forward(state, fire, inputs, step).
    takes_inputs: bool = False
    #: Whether the lattice can be a torus, so that padding "circular" does what it says.
    wraps: bool = True
    #: Whether kernels depend on parameters, so that training must compute gradients for them.
    learns_kernels: bool = False
    #: The names of the bodies that it can grow, where a condition says which (`conditional.py`); () = it grows one.
    conditions: tuple[str, ...] = ()
    #: Whether every cell is told the condition in every step, so that `rollout` takes one.
    told: bool = False
    #: What the last hidden channels of a first cell hold instead of ones, float (K,); None = ones in all.
    genome: Tensor | None = None
    #: What a trained rule knows of its training (size, target, horizon, figures); `nca3d.load` fills it.
    card: dict[str, Any]
    #: The laws that say nothing about this rule (`nca3d.evaluation.laws`), by name, each with the reason.
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
        # Checked here once: a wrong number would otherwise show up as a body that does not grow, an hour into training.
        for name, count in (("channels", channels), ("visible", visible)):
            if isinstance(count, bool) or not hasattr(count, "__index__"):
                raise ArgumentError(name, repr(count), "a whole number")
        if not 0 < visible < channels:
            raise ArgumentError("channels", channels, f"more than the {visible} visible ones (alpha needs one)")
        if visible_kind not in ("rgb", "classes", "signal"):
            raise ArgumentError("visible_kind", repr(visible_kind), "'rgb', 'classes', 'signal'")
        if visible_kind == "rgb" and visible != 3:
            raise ArgumentError("visible", visible, "3 where visible_kind is 'rgb'")
        # At 1 all cells move in lockstep, as if they shared a clock; below 1 a rule must do without. At 0 nothing happens.
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
        """Returns the kernels that a cell perceives its neighbourhood through, one for each view of it.

        Returns:
            K kernels, each acting on every channel by itself (depthwise): (1, 3, 3, 3) = the same one for all channels;
            (C, 3, 3, 3) = one for each channel; None = the identity, the cell's own state.
        """

    @abstractmethod
    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that cells propose for their perception (…, K·C).

        It must treat each cell by itself (pointwise), so that executors may call it for any set of cells.
        """

    @abstractmethod
    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""

    # What every rule does ---------------------------------------------------------------------------------------

    def multiply_adds(self) -> int | None:
        """Returns how many multiply-adds of matrices one update of one cell takes; None = the rule does not say.

        It is what no implementation can do without: training compares its speed with that of the machine by it.
        """
        return None

    @property
    def alpha(self) -> int:
        """The index of the channel that says how much of a cell is there."""
        return self.visible

    @property
    def threshold(self) -> float:
        """The number that alpha is compared with; −∞ without an alive mask."""
        return -math.inf if self.alive_threshold is None else self.alive_threshold

    @classmethod
    def has_own_step(cls) -> bool:
        """Returns whether the rule overrides a part of the step: executors can then only run the step as it is written."""
        return any(getattr(cls, name) is not getattr(Rule, name) for name in ("forward", "perceive", "alive_mask", "pad"))

    def target(self) -> "Target":
        """Returns the body that the rule was trained to grow: as its run keeps it, else as its card names it.

        A warning says if the file that the body was made of has changed since.

        Raises:
            InputError: The rule has no card that names a body, or the body can't be read.
        """
        from nca3d.targets import load
        from nca3d.targets.kept import KeptTarget

        card = self.card
        if not card.get("target") or not card.get("size"):
            raise InputError("rule", "card", "none that names a body", "a trained rule that grows one, as nca3d.load gives it")
        # A checkpoint that was copied without its run goes back to the source.
        if (body := card.get("body")) and (path := Path(body["file"])).is_file():
            kept = KeptTarget.read(path, {name: body[name] for name in ("size", "sha256")})
            if changed := kept.changed():
                warnings.warn(changed, stacklevel=2)
            return kept.target
        options = card.get("target_options", {})
        if among := card.get("among"):
            from nca3d.targets.together import load_several

            bodies = load_several([one["target"] for one in among], card.get("fitted") or tuple(card["size"]), **options)
            return bodies.each[bodies.names.index(card["name"])]
        return load(card["target"], size=tuple(card["size"]), **options)

    @property
    def core(self) -> "Rule | None":
        """A smaller rule that runs in this one's place, where channels follow from others; None = there is none.

        `rollout` hands `to_core(states)` to an executor, and what comes back to `from_core`.
        """
        return None

    def to_core(self, values: Tensor) -> Tensor:
        """Returns states (B, C, D, H, W), or the channels of cells (N, C), as `core` has them."""
        return values

    def from_core(self, values: Tensor) -> Tensor:
        """Returns what `core` made of such states, (B, c, D, H, W) or (N, c), with all channels of this rule."""
        return values

    def share_out(self, ranks: Ranks) -> None:
        """Keeps of weights that single cells have for themselves those of this rank's cells, where a rule has such weights.

        From then on its rollouts are work of all ranks, which call them at the same points.

        Args:
            ranks: The processes that share it out.
        """

    def sharded(self) -> dict[str, Tensor]:
        """Returns the parameters of which this rank has a part: by name, which rows of the whole these are, int64 (n,).

        What an optimizer, an average or a checkpoint has of them is of the same rows.
        """
        return {}

    def whole(self) -> "Rule | None":
        """Returns the rule with all of its weights: itself where they are all here, else a copy on rank 0, and None on others.

        All ranks call it at the same point.
        """
        return self

    def plant(self, state: Tensor, cells: Tensor) -> None:
        """Puts the first cell of each sample into empty states, in place: visible channels 0, alpha and hidden ones 1.

        Args:
            state: The empty states, float (B, C, D, H, W).
            cells: The places (d, h, w) of the first cells, int (B, 3).
        """
        for sample, (d, h, w) in enumerate(cells.tolist()):
            # Black, but there: a cell that is not alive would vanish in the first step.
            state[sample, : self.visible, d, h, w] = 0.0
            state[sample, self.visible :, d, h, w] = 1.0
            if self.genome is not None:
                state[sample, self.channels - len(self.genome) :, d, h, w] = self.genome.to(state)

    def pad(self, state: Tensor) -> Tensor:
        """Adds one layer of cells around the lattice: (B, C, D, H, W) becomes (B, C, D+2, H+2, W+2)."""
        return F.pad(state, (1,) * 6, mode="constant" if self.padding == "zeros" else self.padding)

    def perceive(self, state: Tensor) -> Tensor:
        """Returns what each cell of (B, C, D, H, W) perceives, (B, K·C, D, H, W): C channels for each kernel in turn."""
        padded = self.pad(state)
        perception = [
            # groups = channels: a kernel looks at each channel by itself, and only the network mixes them.
            state if kernel is None else F.conv3d(padded, kernel.expand(self.channels, 3, 3, 3)[:, None], groups=self.channels)
            for kernel in self.kernels()
        ]
        return torch.cat(perception, dim=1)

    def alive_mask(self, state: Tensor) -> Tensor:
        """Is it alive? Returns for each cell of (B, C, D, H, W) whether alpha is above the threshold in it or in one of its 26.

        Returns:
            The mask, bool (B, 1, D, H, W). Empty cells beside a body are in it: that is where the body may grow.
        """
        alpha = state[:, self.alpha : self.alpha + 1]
        if self.alive_threshold is None:
            return torch.ones_like(alpha, dtype=torch.bool)
        # The same as maxpool3³(alpha) > threshold, as the paper writes it, and less work.
        return dilate(alpha > self.alive_threshold, circular=self.padding == "circular")

    def forward(self, state: Tensor, fire: Tensor) -> Tensor:
        """Runs one step of every cell, in the order of the paper: slow, plain, and what all executors are compared with.

        Args:
            state: The states before the step, float (B, C, D, H, W).
            fire: Which cells update, bool (B, 1, D, H, W), as `nca3d.fire_mask` draws it.

        Returns:
            The states after the step, (B, C, D, H, W).
        """
        pre = self.alive_mask(state)
        # 1 and 2, look and think: everywhere, in empty cells too, because a cell beside the body is born by its own update.
        delta = self.update(self.perceive(state).movedim(1, -1)).movedim(-1, 1)
        # 3, act or wait: delta is not divided by fire_rate, so a rule that fires less often also moves more slowly.
        y = torch.where(fire, state + self.step_size * delta, state)
        # 4, live on: `post` sees updated neighbours, which have seen theirs, so influence travels two cells a step (`reach`).
        post = self.alive_mask(y)
        # `where`, never a product: 0 · NaN is NaN, and one broken cell would poison its neighbours for ever.
        return torch.where(pre & post, y, self.dead_value)
