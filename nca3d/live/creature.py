"""A body that lives on in Python, and can be stepped, damaged and looked at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nca3d.errors import InputError
from nca3d.fire import check_seed
from nca3d.lattice import AXES, Size, as_size
from nca3d.metrics import iou, occupied, to_rgba
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.targets import Target


def targets_of(rule: ConditionalRule) -> list[Target | None]:
    """Returns the bodies of a rule of several; None for each where its card names none."""
    return [rule.target(name) if rule.card.get("targets") else None for name in rule.conditions]


class Creature:
    """One body of any rule on its lattice. It does with PyTorch what the page's worker does in JavaScript.

    Args:
        rule: Any rule.
        size: The lattice (D, H, W).
        target: The body that it should be; None = its IoU isn't known. A rule of several bodies has them on its card.
        random_seed: The seed of the fire masks. Step numbers count on after damage and after a new first cell.
        executor: The executor's name, see `nca3d.rollout`.

    Attributes:
        state: The body's state, (1, C, D, H, W).
        step_number: The steps that it has lived.
    """

    def __init__(
        self, rule: Rule, size: Size, target: Target | None = None, *, random_seed: int = 0, executor: str = "auto"
    ) -> None:
        self.rule, self.size, self.target = rule, as_size(size), target
        check_seed(random_seed)
        self.random_seed, self.executor = random_seed, executor
        self.step_number = 0
        self._scattered = 0  # wounds of scattered cells so far
        # Of several bodies the one that it is: a share for each, and the nearest of them.
        self._several = rule if isinstance(rule, ConditionalRule) else None
        self.condition: Tensor | None = None
        self._body = 0
        if self._several is not None:
            self._targets = targets_of(self._several)
            self.become([float(place == 0) for place in range(len(rule.conditions))])
        self.state: Tensor = self._first()

    def _first(self) -> Tensor:
        """Returns the first cell of the body that it is, (1, C, D, H, W)."""
        return seed_state(self.rule if self._several is None else self._several.bound(self._body), self.size)

    def become(self, mix: Sequence[float]) -> None:
        """Makes it another of several bodies, or one between them, from the next step on.

        Args:
            mix: A share for each of the bodies. Where the first cell carries the condition, the largest counts from the next
                first cell on.

        Raises:
            InputError: The rule grows one body, or has another number of them.
        """
        rule = self._several
        if rule is None or len(mix) != len(rule.conditions):
            allowed = "none: the rule grows one body" if rule is None else f"one for each of {', '.join(rule.conditions)}"
            raise InputError("become", "mix", f"{len(mix)} shares", allowed)
        shares = torch.tensor(mix, dtype=rule.codes.dtype, device=rule.codes.device)
        self._body = int(shares.argmax())
        self.target = self._targets[self._body]
        self.condition = (shares @ rule.codes.detach()) if rule.told else None

    def seed(self) -> None:
        """Begins again from one cell; the step number counts on, so that no fire mask comes twice."""
        self.state = self._first()

    @torch.no_grad()
    def step(self, steps: int = 1) -> None:
        """Runs the body for some steps."""
        self.state = rollout(
            self.rule,
            self.state,
            steps,
            random_seed=self.random_seed,
            first_step=self.step_number,
            condition=self.condition,
            executor=self.executor,
        )
        self.step_number += steps

    def cut(self, wound: Mapping[str, Any]) -> int:
        """Damages the body: all channels inside the wound get the dead value.

        Args:
            wound: {"kind": "ball", "centre": (x, y, z), "radius": cells}, {"kind": "half", "axis": 0..2 for x, y, z,
                "side": ±1} or {"kind": "scatter", "share": 0..1}.

        Returns:
            The number of the body's cells that were lost.

        Raises:
            InputError: If the wound is of another kind.
        """
        # The mask is drawn on the CPU, so that a wound is the same on every device.
        body = occupied(self.state, self.rule.visible, self.rule.visible_kind)[0].cpu()
        inside = self._inside(wound, body)
        self.state = torch.where(inside.to(self.state.device), self.rule.dead_value, self.state)
        return int((body & inside).sum())

    def _inside(self, wound: Mapping[str, Any], body: Tensor) -> Tensor:
        """Returns the cells inside a wound, bool (D, H, W); `body` says where the half of a body is."""
        z, y, x = (axis.float() for axis in torch.meshgrid(*(torch.arange(side) for side in self.size), indexing="ij"))
        kind = wound.get("kind")
        if kind == "ball":
            centre = wound["centre"]
            return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= wound["radius"] ** 2
        if kind == "half":
            along = (x, y, z)[wound["axis"]]
            places = along[body].sort().values
            # The median cell of the body: both halves are alive, wherever on the lattice it stands.
            middle = places[len(places) // 2] if len(places) else along.mean()
            return along >= middle if wound.get("side", 1) > 0 else along < middle
        if kind == "scatter":
            self._scattered += 1  # each time other cells, and yet the same in every run
            generator = torch.Generator().manual_seed(self.random_seed + self._scattered)
            return torch.rand(self.size, generator=generator) < wound["share"]
        raise InputError("cut", "kind", repr(kind), f"ball, half (axis 0..{len(AXES) - 1}) or scatter")

    def status(self) -> dict[str, Any]:
        """Returns the step number, the living cells (alpha above the threshold) and the IoU, 0 .. 1 (None without a target)."""
        alpha = self.state[0, self.rule.alpha]
        return {
            "step": self.step_number,
            "living": int((alpha > self.rule.threshold).sum()),
            "iou": None if self.target is None else float(iou(self.state, self.target)[0]),
        }

    def rgba(self) -> np.ndarray:
        """Returns the body's picture, RGBA with straight alpha, float32 (D, H, W, 4), 0..1."""
        palette = None if self.target is None else self.target.palette
        return np.asarray(to_rgba(self.state, self.rule, palette)[0])
