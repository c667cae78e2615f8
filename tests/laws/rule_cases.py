"""Every kind of rule that the laws speak of: a new one enters all law tests by one line of `RULE_CASES`."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nca3d.rules import ConvRule, Rule

SIZE = (7, 6, 8)

RULE_CASES: dict[str, Callable[[], Rule]] = {
    "gradient": lambda: ConvRule(channels=8, hidden=(24,)),
    "gradient+laplacian": lambda: ConvRule(channels=8, hidden=(24,), perception="gradient+laplacian"),
    "isotropic": lambda: ConvRule(channels=8, hidden=(24,), perception="isotropic"),
    "learned": lambda: ConvRule(channels=8, hidden=(24,), perception="learned"),
    "replicate": lambda: ConvRule(channels=8, hidden=(24,), padding="replicate"),
    "circular": lambda: ConvRule(channels=8, hidden=(24,), padding="circular"),
    "learned circular": lambda: ConvRule(channels=8, hidden=(24,), perception="learned", padding="circular"),
    "classes": lambda: ConvRule(channels=8, hidden=(24,), visible=5, visible_kind="classes"),
    "deep": lambda: ConvRule(channels=8, hidden=(24, 16, 24)),
    "half steps": lambda: ConvRule(channels=8, hidden=(24,), step_size=0.5, fire_rate=0.8, alive_threshold=0.2),
    "every cell fires": lambda: ConvRule(channels=8, hidden=(24,), fire_rate=1.0),
}


def fresh(name: str, random_seed: int = 0) -> Rule:
    """A new rule, as training would start with it."""
    with torch.random.fork_rng():
        torch.manual_seed(random_seed)
        return RULE_CASES[name]()


def lively(name: str, random_seed: int = 0, strength: float = 0.15) -> Rule:
    """A rule with random weights that grows: its last layer is not zero any more, and alpha tends to rise."""
    rule = fresh(name, random_seed)
    generator = torch.Generator().manual_seed(random_seed)
    last = list(rule.parameters())[-1]
    with torch.no_grad():
        last.copy_(strength * torch.randn(last.shape, generator=generator))
        last[rule.alpha].abs_()
    return rule


def body(
    rule: Rule, batch: int = 2, size: tuple[int, int, int] = SIZE, share: float = 0.3, random_seed: int = 0
) -> torch.Tensor:
    """Random states: about `share` of the cells are filled, the others dead."""
    generator = torch.Generator().manual_seed(random_seed)
    state = torch.rand(batch, rule.channels, *size, generator=generator)
    filled = torch.rand(batch, 1, *size, generator=generator) < share
    return torch.where(filled, state, 0.0)
