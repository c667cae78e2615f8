"""What happens in a cube beyond its answers: how it answers with cells destroyed, and how differently its cells behave."""

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

# The shapes of wounds, by their names in `pools.damage`.
KINDS = ("half_space", "slab", "sphere", "shell", "random_cells")


def damage_grid(severities: tuple[float, ...], kinds: tuple[str, ...] = KINDS) -> tuple[Wound, ...]:
    """Returns a wound of every kind at every severity, kind by kind.

    Args:
        severities: Shares of the cube's cells that are destroyed, 0 to 1.
        kinds: Names of shapes in `pools.damage`.
    """
    return tuple(Wound(kind, severity) for kind in kinds for severity in severities)


@torch.no_grad()
def answers_after_damage(
    rule: GMLPRule,
    questions: Tensor,
    states: Tensor,
    wound: Wound,
    steps: int,
    random_seed: int,
    executor: str = "auto",
) -> dict[str, Tensor]:
    """Destroys cells of cubes that have computed their answers, and reads the answers again.

    Args:
        rule: The cubes' rule.
        questions: The embeddings of the questions, (N, E); each is held at the front face while its cube heals.
        states: The states before the damage, (N, C, D, H, W).
        wound: What is destroyed; its place is drawn for each cube.
        steps: The number of steps in which the cubes may heal.
        random_seed: The seed of wounds and fire masks.
        executor: See `nca3d.rollout`.

    Returns:
        The surfaces of the back face, (N, H·W), by name: "hurt" is read at once, "healed" after the steps, and "dead" after the
        steps of cubes whose destroyed cells stay at zero and never fire again.
    """
    generator = torch.Generator().manual_seed(random_seed)
    destroyed = wound.mask(rule, states, generator)
    damaged = pools.damage.apply(states, destroyed, rule.dead_value)
    outputs: dict[str, list[Tensor]] = {"hurt": [], "healed": [], "dead": []}
    for ids in torch.arange(len(states)).split(AT_ONCE):
        inputs = rule.ask(questions[ids])
        # The same draw for both: "healed" and "dead" differ only by whether destroyed cells fire.
        fires = fire_mask(random_seed, range(steps), ids, rule.size, rule.fire_rate).to(destroyed.device)
        survivors = fires & ~destroyed[ids]
        outputs["hurt"].append(rule.answer(damaged[ids]))
        for name, masks in (("healed", fires), ("dead", survivors)):
            after = rollout(rule, damaged[ids], steps, fire_masks=masks, inputs=inputs, executor=executor)
            outputs[name].append(rule.answer(after))
    return {name: torch.cat(parts) for name, parts in outputs.items()}


class Specialisation(NamedTuple):
    """How strongly each cell's features depend on the kind of question.

    Attributes:
        strength: The share of a cell's variance that the kind explains, float32 (D, H, W), 0 to 1.
        preferred: The kind that each cell prefers, int64 (D, H, W), as an index into `kinds`.
        kinds: The distinct kinds, sorted.
    """

    strength: Tensor
    preferred: Tensor
    kinds: list[str]


def specialisation(features: Tensor, kinds: Sequence[str]) -> Specialisation:
    """Returns the share of each cell's variance over questions that their kind explains: `eta_squared` over its features.

    A cell that does the same whatever the question, or that reacts to each question alike, has 0; one whose features follow
    from the kind of question alone has 1. A cell prefers the kind whose mean lies farthest from the mean of all. Among
    questions of one kind there is nothing to prefer: all cells have 0.

    Args:
        features: The features of N cubes that were asked one question each, (N, F, D, H, W).
        kinds: The kind of each question, N names.

    Raises:
        ArgumentError: The numbers of kinds and of questions differ.
    """
    if len(kinds) != len(features):
        raise ArgumentError("kinds", len(kinds), f"{len(features)}, one for each question")
    names = sorted(set(kinds))
    number = torch.tensor([names.index(kind) for kind in kinds], device=features.device)
    # Differences of sums of squares: in float32 they would be rounding errors for cells that hardly move.
    features = features.double()
    centred = features - features.mean(dim=0)
    means = torch.stack([centred[number == kind].mean(dim=0) for kind in range(len(names))])  # (K, F, D, H, W)
    apart = means.square().sum(dim=1)  # (K, D, H, W)
    counts = torch.bincount(number, minlength=len(names)).to(apart)
    between = (counts[:, None, None, None] * apart).sum(dim=0)
    total = centred.square().sum(dim=(0, 1))
    # With one kind, the mean of all less itself is not quite 0, because of rounding: the factor makes it so.
    strength = eta_squared(between, total).nan_to_num(0.0) * (len(names) > 1)
    return Specialisation(strength.float().cpu(), apart.argmax(dim=0).cpu(), names)
