"""Wounds: one damage of a body, or of a lattice that is no body, given to states of a rule."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import pools
from nca3d.metrics import occupied
from nca3d.rules.cell import Rule


@dataclass(frozen=True)
class Wound:
    """One damage with its severity, the fraction of the body destroyed, and the options that settle it."""

    damage: str
    severity: float
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The damage and its options: "half_space +x"."""
        return " ".join([self.damage, *map(str, self.options.values())])

    @property
    def name(self) -> str:
        """What figures call it: "half_space +x 0.5"."""
        return f"{self.kind} {self.severity:g}"

    def mask(self, rule: Rule, states: Tensor, generator: torch.Generator) -> Tensor:
        """Which cells it destroys, bool (B, 1, D, H, W): each state has a draw of its own.

        Args:
            rule: says which cells are the body; severity is a share of them, and of the whole lattice for a rule of signals.
            states: (B, C, D, H, W).
            generator: makes the draws, on the CPU: the same on every device.
        """
        body = None if rule.visible_kind == "signal" else occupied(states, rule.visible, rule.visible_kind).cpu()
        damage = pools.damage.DAMAGES[self.damage]
        size = tuple(states.shape[2:])
        mask = damage(size, len(states), severity=self.severity, body=body, generator=generator, **self.options)
        return mask.to(states.device)


def apply_wound(rule: Rule, states: Tensor, wound: Wound, generator: torch.Generator) -> Tensor:
    """The states (B, C, D, H, W) with the wound: its cells are dead in every channel (law 10)."""
    return pools.damage.apply(states, wound.mask(rule, states, generator), rule.dead_value)
