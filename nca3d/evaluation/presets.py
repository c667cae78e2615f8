"""How much an evaluation asks: bodies grown side by side, steps to hold, wounds, and which studies are made."""

from dataclasses import dataclass

from nca3d.evaluation.wounds import Wound

# The three wounds of every preset, with the fraction of the body that they destroy: `heal_iou.<damage>` is about them.
QUICK_WOUNDS = {"half_space": 0.5, "sphere": 0.2, "random_cells": 0.25}

STUDIES = ("regeneration", "robustness", "emergence")


@dataclass(frozen=True)
class Preset:
    """How much is asked.

    Args:
        samples: bodies grown side by side, each with its own fire masks and wounds: the seeds of every figure.
        hold_steps: steps that a grown body is held.
        look_every: steps from one look at it to the next: looks cost more than steps, above all at large bodies.
        late_steps: steps after healing at which a body must still be whole.
        wounds: the grid of the regeneration study.
        moments: steps after the horizon at which that grid is applied.
        injuries: how often one body is hurt, one time after the other.
        studies: which of `STUDIES` are made.
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
    """Every kind of damage at every severity, the six half-spaces at theirs, and scattered cells up to one half."""
    kinds = ("half_space", "slab", "cube", "sphere", "shell", "limb", "random_cells")
    cuts = [sign + axis for axis in "xyz" for sign in "+-"]
    return (
        *(Wound(kind, severity) for kind in kinds for severity in severities),
        Wound("random_cells", 0.5),
        *(Wound("half_space", severity, {"direction": cut}) for severity in halves for cut in cuts),
    )


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
