"""A body that lives on in Python: stepped, cut and looked at between steps."""

from collections.abc import Mapping
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
from nca3d.targets import Target


class Creature:
    """One body of any rule on its lattice. What the page's worker does in JavaScript, this does with PyTorch.

    Args:
        rule: any rule.
        size: lattice (D, H, W).
        target: what it should be; None = its IoU isn't known.
        random_seed: of the fire masks; step numbers count on over cuts and seeds.
        executor: see `nca3d.rollout`.
    """

    def __init__(
        self, rule: Rule, size: Size, target: Target | None = None, *, random_seed: int = 0, executor: str = "auto"
    ) -> None:
        self.rule, self.size, self.target = rule, as_size(size), target
        check_seed(random_seed)
        self.random_seed, self.executor = random_seed, executor
        self.step_number = 0
        self._scattered = 0
        self.state: Tensor = seed_state(rule, self.size)

    def seed(self) -> None:
        """Begin again from one cell."""
        self.state = seed_state(self.rule, self.size)

    @torch.no_grad()
    def step(self, steps: int = 1) -> None:
        """Live for some steps."""
        self.state = rollout(
            self.rule, self.state, steps, random_seed=self.random_seed, first_step=self.step_number, executor=self.executor
        )
        self.step_number += steps

    def cut(self, wound: Mapping[str, Any]) -> int:
        """Set all channels inside a wound to the dead value; returns how many of the body's cells were lost.

        Args:
            wound: {"kind": "ball", "centre": (x, y, z), "radius": cells}, {"kind": "half", "axis": 0..2 for x, y, z,
                "side": ±1} or {"kind": "scatter", "share": 0..1}.

        Raises:
            InputError: another kind of wound.
        """
        body = occupied(self.state, self.rule.visible, self.rule.visible_kind)[0].cpu()
        inside = self._inside(wound, body)
        self.state = torch.where(inside.to(self.state.device), self.rule.dead_value, self.state)
        return int((body & inside).sum())

    def _inside(self, wound: Mapping[str, Any], body: Tensor) -> Tensor:
        z, y, x = (axis.float() for axis in torch.meshgrid(*(torch.arange(side) for side in self.size), indexing="ij"))
        kind = wound.get("kind")
        if kind == "ball":
            centre = wound["centre"]
            return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2 <= wound["radius"] ** 2
        if kind == "half":
            along = (x, y, z)[wound["axis"]]
            places = along[body].sort().values
            middle = places[len(places) // 2] if len(places) else along.mean()
            return along >= middle if wound.get("side", 1) > 0 else along < middle
        if kind == "scatter":
            self._scattered += 1
            generator = torch.Generator().manual_seed(self.random_seed + self._scattered)
            return torch.rand(self.size, generator=generator) < wound["share"]
        raise InputError("cut", "kind", repr(kind), f"ball, half (axis 0..{len(AXES) - 1}) or scatter")

    def status(self) -> dict[str, Any]:
        """Step number, living cells (alpha above the threshold) and IoU (None without a target)."""
        alpha = self.state[0, self.rule.alpha]
        return {
            "step": self.step_number,
            "living": int((alpha > self.rule.threshold).sum()),
            "iou": None if self.target is None else float(iou(self.state, self.target)[0]),
        }

    def rgba(self) -> np.ndarray:
        """The picture, float32 (D, H, W, 4), straight alpha, 0..1."""
        palette = None if self.target is None else self.target.palette
        return np.asarray(to_rgba(self.state, self.rule, palette)[0])
