"""The task of a body: to grow into a target from one cell, to stay, to heal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

import pools
from nca3d.config import Config
from nca3d.losses import evaluate_terms, terms_of, total
from nca3d.metrics import iou, occupied
from nca3d.rollout import seed_state
from nca3d.rules.cell import Rule
from nca3d.rules.inputs import Told
from nca3d.targets import Target, load
from nca3d.training.build import build_rule
from nca3d.training.reach import reach_note

MEASURED = 4
"""Bodies whose pattern is measured."""


class Growth:
    """See `Task`.

    Raises:
        InputError: a target that can't be used, a loss term that does not fit it.
    """

    headline = "iou"
    fixed: Mapping[str, str] = {}

    def __init__(self, config: Config) -> None:
        self.config = config
        self.target: Target = load(config.target, size=config.size, **config.target_options)
        self.weights = terms_of(config.losses, self.target.kind)
        self.pooled, self.damaging = config.kind.pooled, config.kind.damaging
        self.curriculum, self.ageing = config.curriculum, config.ageing if self.pooled else 0

    def build_rule(self) -> Rule:
        """A fresh rule for the target, or the one that `init` names."""
        config, target = self.config, self.target
        return build_rule(
            config,
            channels=config.channels_for(target.visible),
            hidden=config.hidden,
            perception=config.perception,
            visible=target.visible,
            visible_kind=target.kind,
            alive_threshold=config.alive_threshold,
            padding=config.padding,
        )

    def paces(self, rule: Rule) -> dict[nn.Parameter, float]:
        """None: all weights learn at one rate."""
        return {}

    def card(self) -> dict[str, Any]:
        """Enough to grow and judge the body."""
        config = self.config
        return {
            "size": list(config.size),
            "regime": config.regime,
            "target": config.target,
            "target_options": dict(config.target_options),
            "horizon": config.horizon,
            "figures": {},
        }

    def seed(self, rule: Rule) -> Tensor:
        """The first cell."""
        return seed_state(rule, self.config.size, batch=1, device="cpu")

    def worth(self, rule: Rule, states: Tensor) -> Tensor:
        """The loss of a body as it is."""
        return total(evaluate_terms(self.weights, states[None], self.target, rule))

    def body(self, rule: Rule, states: Tensor) -> Tensor:
        """The cells that are there."""
        return occupied(states, rule.visible, rule.visible_kind)

    def draw(self, iteration: int) -> Target:
        """The same body every time."""
        return self.target

    def part(self, wanted: Target, ids: Tensor) -> Target:
        """All samples grow into it."""
        return wanted

    def inputs(self, rule: Rule, wanted: Target) -> Told | None:
        """A body hears nothing."""
        return None

    def figures(self, rule: Rule, states: Tensor, wanted: Target) -> dict[str, float]:
        """IoU."""
        return {"iou": float(iou(states, wanted).mean())}

    def pattern(self, rule: Rule, states: Tensor) -> dict[str, list[float]]:
        """Pattern of some bodies; nothing random is drawn."""
        states = states[:MEASURED]
        alive = rule.alive_mask(states)[:, 0]
        sound = alive.flatten(1).any(dim=1) & states.isfinite().flatten(1).all(dim=1)  # nothing has no pattern
        if not sound.any():
            return {}
        shown = pools.pattern.cropped(states[sound, : rule.visible + 1], alive[sound]).cpu()
        found = pools.pattern.summary(shown, rule.visible_kind)
        return {f"pattern_{name}": values.tolist() for name, values in found.items()}

    def note(self, rule: Rule) -> str:
        """Cells that rollouts can't reach."""
        return reach_note(self.target, self.config.steps_range[1])

    def keep(self, folder: Path) -> None:
        """Nothing: the rule has its card."""
