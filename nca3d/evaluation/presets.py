"""Presets of an evaluation: how many bodies are grown, for how long they are held, which wounds and studies there are."""

from dataclasses import dataclass

from nca3d.evaluation.wounds import Wound

# The three wounds of every preset, with the fraction of the body that they destroy: `heal_iou.<damage>` is about them. One
# takes a half, one makes a hole, one is scattered: bodies that heal one kind often fail at another.
QUICK_WOUNDS = {"half_space": 0.5, "sphere": 0.2, "random_cells": 0.25}

# The studies beyond growth, hold and the three wounds, which every preset has.
STUDIES = ("regeneration", "robustness", "emergence")


@dataclass(frozen=True)
class Preset:
    """The extent of an evaluation.

    Attributes:
        samples: The number of bodies grown side by side, each with its own fire masks and wounds: n of every figure.
        hold_steps: The steps that a grown body is held.
        look_every: The steps from one measurement of a held body to the next. Measuring costs more than a step, above all
            at large bodies.
        late_steps: The steps after healing at which a body must still be whole.
        wounds: The grid of wounds of the regeneration study.
        moments: The steps after the horizon at which that grid is applied.
        injuries: How often one and the same body is damaged, one time after the other.
        studies: The names in `STUDIES` that are carried out.
    """

    samples: int = 8
    hold_steps: int = 1000
    look_every: int = 1
    late_steps: int = 1000
    wounds: tuple[Wound, ...] = ()
    moments: tuple[int, ...] = (0,)
    injuries: int = 0
    studies: tuple[str, ...] = ()


def grid(severities: tuple[float, ...], halves: tuple[float, ...] = (0.5,)) -> tuple[Wound, ...]:
    """Returns the grid of wounds of the regeneration study.

    Args:
        severities: The fractions of the body at which every kind of damage is applied.
        halves: The fractions at which half-spaces are cut in each of the six directions.

    Returns:
        Every kind of damage at every severity, scattered cells at one half, and the half-spaces.
    """
    kinds = ("half_space", "slab", "cube", "sphere", "shell", "limb", "random_cells")
    directions = [sign + axis for axis in "xyz" for sign in "+-"]
    return (
        *(Wound(kind, severity) for kind in kinds for severity in severities),
        Wound("random_cells", 0.5),
        # All six, because a body often heals its front and not its back: the last cells to grow know the least.
        *(Wound("half_space", severity, {"direction": direction}) for severity in halves for direction in directions),
    )


# "quick" is for a look at a run, "standard" for the figures of a paper, "full" for a rule that others will use.
PRESETS = {
    "quick": Preset(),
    "standard": Preset(
        hold_steps=10_000, look_every=5, wounds=grid((0.1, 0.25)), moments=(0, 500), injuries=5, studies=STUDIES
    ),
    "full": Preset(
        samples=16,
        hold_steps=30_000,
        look_every=5,
        wounds=grid((0.1, 0.25, 0.4), halves=(0.25, 0.5)),
        moments=(0, 500, 2000),
        injuries=10,
        studies=STUDIES,
    ),
}
