"""Wounds: a wound is one damage of a body (or of a lattice of signals), applied to the states of a rule."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.lattice import AXES, Size
from nca3d.metrics import occupied
from nca3d.rules.cell import Rule


@dataclass(frozen=True)
class Wound:
    """One damage with its severity and options.

    Attributes:
        damage: A name in `pools.damage.DAMAGES`, such as "sphere".
        severity: The fraction of the body's cells that is destroyed, above 0 to 1.
        options: Further arguments of the damage, such as {"direction": "+x"} of a half-space.
    """

    damage: str
    severity: float
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The damage with its options, as in "half_space +x"."""
        return " ".join([self.damage, *map(str, self.options.values())])

    @property
    def name(self) -> str:
        """The name that figures use, with the severity, as in "half_space +x 0.5"."""
        return f"{self.kind} {self.severity:g}"

    def cuts(self, size: Size) -> bool:
        """Whether it can be told from scattered cells on a lattice (D, H, W): a plane needs two cells on its way.

        Args:
            size: The lattice.
        """
        direction = self.options.get("direction")
        return not isinstance(direction, str) or size[AXES[direction[-1]]] > 1

    def mask(self, rule: Rule, states: Tensor, generator: torch.Generator) -> Tensor:
        """Draws which cells the wound destroys; each state has a draw of its own.

        Args:
            rule: Says which cells are the body. Severity is a share of them, and of the whole lattice for a rule of signals.
            states: States (B, C, D, H, W).
            generator: Makes the draws, on the CPU, so that they are the same on every device.

        Returns:
            Bool (B, 1, D, H, W), True where a cell is destroyed.
        """
        # A rule of signals has no alpha: nothing says where its body would be.
        # `visible_kind` decides, not the states: an all-empty body must stay a body, of no cells.
        body = None if rule.visible_kind == "signal" else occupied(states, rule.visible, rule.visible_kind).cpu()
        damage = pools.damage.DAMAGES[self.damage]
        size = tuple(states.shape[2:])
        mask = damage(size, len(states), severity=self.severity, body=body, generator=generator, **self.options)
        return mask.to(states.device)


def apply_wound(rule: Rule, states: Tensor, wound: Wound, generator: torch.Generator) -> Tensor:
    """Returns the states (B, C, D, H, W) with the wound: its cells are set to the dead value in every channel (law 10).

    Args:
        rule: Says which cells are the body, and what a dead cell holds.
        states: States (B, C, D, H, W); they are not changed.
        wound: What is destroyed.
        generator: Makes the draws, on the CPU.
    """
    return pools.damage.apply(states, wound.mask(rule, states, generator), rule.dead_value)
