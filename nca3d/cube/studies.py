"""What happens in a cube beyond its answers: how it does with cells destroyed, and how differently its cells behave."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import pools
from nca3d.cube.answers import AT_ONCE
from nca3d.cube.cell import GMLPRule
from nca3d.errors import ArgumentError
from nca3d.evaluation.studies.dynamics import eta_squared
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
        inputs = rule.ask(asked[ids])
        fires = fire_mask(random_seed, range(steps), ids, rule.size, rule.fire_rate).to(wound.device)
        alive = fires & ~wound[ids]
        said["hurt"].append(rule.answer(cut[ids]))
        for name, masks in (("healed", fires), ("dead", alive)):
            after = rollout(rule, cut[ids], steps, fire_masks=masks, inputs=inputs, executor=executor)
            said[name].append(rule.answer(after))
    return {name: torch.cat(parts) for name, parts in said.items()}


class Specialisation(NamedTuple):
    """`strength` (D, H, W) 0..1, `preferred` int64 (D, H, W), a number into `kinds`."""

    strength: Tensor
    preferred: Tensor
    kinds: list[str]


def specialisation(features: Tensor, kinds: Sequence[str]) -> Specialisation:
    """The share of each cell's variance over questions that their kind explains: `eta_squared`, over all its features.

    A cell that does the same whatever is asked, or that minds each question alike, has 0; one whose features follow from the
    kind of question alone has 1. A cell prefers the kind whose mean lies farthest from the mean of all. Among questions
    of one kind there is nothing to prefer: all cells have 0.

    Args:
        features: (N, F, D, H, W), of cubes that were asked one question each.
        kinds: N names, the kind of each question.

    Raises:
        ValueError: another number of kinds than of questions.
    """
    if len(kinds) != len(features):
        raise ArgumentError("kinds", len(kinds), f"{len(features)}, one for each question")
    names = sorted(set(kinds))
    number = torch.tensor([names.index(kind) for kind in kinds], device=features.device)
    features = features.double()
    centred = features - features.mean(dim=0)
    means = torch.stack([centred[number == kind].mean(dim=0) for kind in range(len(names))])  # (K, F, D, H, W)
    apart = means.square().sum(dim=1)  # (K, D, H, W)
    counts = torch.bincount(number, minlength=len(names)).to(apart)
    between = (counts[:, None, None, None] * apart).sum(dim=0)
    total = centred.square().sum(dim=(0, 1))
    # Of one kind the mean of all, less itself, is not quite 0.
    strength = eta_squared(between, total).nan_to_num(0.0) * (len(names) > 1)
    return Specialisation(strength.float().cpu(), apart.argmax(dim=0).cpu(), names)
