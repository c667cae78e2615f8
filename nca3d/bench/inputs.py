"""The rule, the body and the loss that every contender gets: random, compact, and the same for all."""

import math

import torch
from torch import Tensor

from nca3d.bench.settings import Setting
from nca3d.rules import ConvRule, Rule
from nca3d.sparse import Compact

# A ball becomes rough by this many plane waves of this height, in cells, with wavelengths of 4 to 12 cells.
WAVES, WAVE_HEIGHT = 12, 0.4

# Standard deviation of the last layer: the rim stirs as that of a trained body at rest (one living cell in a thousand changes
# sides in a step), and the number of living cells stays within a few per cent.
LAST_LAYER = 1e-2

# Lattice and living share of the body on which a rule's alpha is balanced.
REST = ((12, 12, 12), 0.4)

# By how much the living share may change from start to end, relative, before a measurement is not what its name says.
DRIFT = 0.1


def make_rule(setting: Setting) -> ConvRule:
    """A rule with random weights under which a body neither grows nor dies within the steps of the setting."""
    generator = torch.Generator().manual_seed(setting.random_seed)
    rule = ConvRule(setting.channels, setting.hidden, fire_rate=setting.fire_rate, generator=generator)
    last = list(rule.network.parameters())[-1]
    body = make_body(rule, *REST, generator)[None]
    with torch.no_grad():
        last.copy_(LAST_LAYER * min(1.0, 64 / setting.steps) * torch.randn(last.shape, generator=generator))
        # The mean change of alpha over a body is zero: without this every rim drifts one way, and bodies grow or melt.
        mean = rule.network[:-1](rule.perceive(body).movedim(1, -1)[rule.alive_mask(body)[:, 0]]).mean(0)
        last[rule.alpha] -= (last[rule.alpha] @ mean) / (mean @ mean) * mean
    return rule


def make_state(setting: Setting, rule: Rule) -> Tensor:
    """A body in each sample, no two the same: float32 (B, C, D, H, W); `setting.living` of the cells are alive."""
    generator = torch.Generator().manual_seed(setting.random_seed + 1)
    state = torch.empty(setting.batch, setting.channels, *setting.size)
    for sample in state:
        sample.copy_(make_body(rule, setting.size, setting.living, generator))
    return state


def make_body(rule: Rule, size: tuple[int, int, int], living: float, generator: torch.Generator) -> Tensor:
    """Random cells in a rough ball, (C, D, H, W)."""
    body = rough_ball(size, living, rule, generator)
    cells = torch.randn(rule.channels, int(body.sum()), generator=generator) / 2
    cells[: rule.visible] = cells[: rule.visible].abs().clamp(max=1)
    threshold = rule.alive_threshold or 0.0
    cells[rule.alpha] = threshold + (1 - threshold) * (1 - torch.rand(cells.shape[1], generator=generator))
    state = torch.zeros(rule.channels, *size)
    state[:, body] = cells
    return state


def rough_ball(size: tuple[int, int, int], living: float, rule: Rule, generator: torch.Generator) -> Tensor:
    """A ball with a rough surface around the centre, bool (D, H, W), whose alive mask has the share `living` of the cells.

    Its roughness does not know the lattice: the same number of living cells in a larger lattice is the same body.
    """
    waves = torch.randn(WAVES, 3, generator=generator)
    lengths = 4 + 8 * torch.rand(WAVES, 1, generator=generator)
    waves = 2 * math.pi * waves / waves.norm(dim=1, keepdim=True) / lengths
    phases = 2 * math.pi * torch.rand(WAVES, generator=generator)

    axes = [torch.arange(n, dtype=torch.float32) - n // 2 for n in size]
    depth, height, width = torch.meshgrid(*axes, indexing="ij")
    field = (depth.square() + height.square() + width.square()).sqrt_()
    for (a, b, c), phase in zip(waves.tolist(), phases.tolist(), strict=True):
        field += WAVE_HEIGHT * torch.cos(a * depth + b * height + c * width + phase)

    wanted, low, high = round(living * field.numel()), float(field.min()), float(field.max()) + 1
    for _ in range(40 if living < 1 else 0):
        radius = (low + high) / 2
        low, high = (radius, high) if _living(field < radius, rule) < wanted else (low, radius)
    return field < high


def _living(body: Tensor, rule: Rule) -> int:
    alpha = torch.zeros(1, rule.channels, *body.shape)
    alpha[0, rule.alpha] = body.float()
    return int(rule.alive_mask(alpha).sum())


def living_share(state: Tensor, rule: Rule) -> float:
    """The share of all cells of a state (B, C, D, H, W) that are in the alive mask, 0 to 1."""
    return float(rule.alive_mask(state).float().mean())


def loss(state: Tensor | Compact, rule: Rule) -> Tensor:
    """Sum of the squares of visible channels and alpha of a state (B, C, D, H, W), a scalar: what a loss on the body touches.

    A sum, so that cells which a compact state leaves out, being zero, change nothing.
    """
    body = state.values[:, : rule.visible + 1] if isinstance(state, Compact) else state[:, : rule.visible + 1]
    return body.square().sum()
