"""A cube that is hurt: cells zeroed while it thinks, read at once, after healing, and with those cells dead for good."""

from __future__ import annotations

import torch
from torch import Tensor

import pools
from nca3d.cube.answers import AT_ONCE
from nca3d.cube.cell import GMLPRule
from nca3d.evaluation.wounds import Wound
from nca3d.fire import fire_mask
from nca3d.rollout import rollout

KINDS = ("half_space", "slab", "sphere", "shell", "random_cells")


def lesions(severities: tuple[float, ...], kinds: tuple[str, ...] = KINDS) -> tuple[Wound, ...]:
    """Every kind at every severity, a share of the cube's cells."""
    return tuple(Wound(kind, severity) for kind in kinds for severity in severities)


@torch.no_grad()
def hurt(
    rule: GMLPRule, asked: Tensor, states: Tensor, lesion: Wound, steps: int, random_seed: int, executor: str = "auto"
) -> dict[str, Tensor]:
    """Destroy cells of cubes that have thought, each with a wound of its own.

    Args:
        rule: the cubes'.
        asked: (N, E), the question that each is still told.
        states: (N, C, D, H, W) before.
        lesion: what is destroyed.
        steps: of healing.
        random_seed: chooses wounds and fire masks.
        executor: see `rollout`.

    Returns:
        What the back face says, (N, H·W): "hurt", read at once; "healed", after the steps; "dead", after the steps if the cells
        stay at zero and never fire again.
    """
    generator = torch.Generator().manual_seed(random_seed)
    wound = lesion.mask(rule, states, generator)
    cut = pools.damage.apply(states, wound, rule.dead_value)
    said: dict[str, list[Tensor]] = {"hurt": [], "healed": [], "dead": []}
    for ids in torch.arange(len(states)).split(AT_ONCE):
        told = rule.ask(asked[ids])
        fires = fire_mask(random_seed, range(steps), ids, rule.size, rule.fire_rate).to(wound.device)
        alive = fires & ~wound[ids]
        said["hurt"].append(rule.answer(cut[ids]))
        for name, masks in (("healed", fires), ("dead", alive)):
            after = rollout(rule, cut[ids], steps, fire_masks=masks, inputs=told, executor=executor)
            said[name].append(rule.answer(after))
    return {name: torch.cat(parts) for name, parts in said.items()}
