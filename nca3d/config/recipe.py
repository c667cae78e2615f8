"""What "auto" means for a body: how wide a network and how long a training follow from its cells, by a rule written here.

Each line of the rule was found by an experiment on bodies of 1,000 cells and more (docs/experiments.md, "What binds"), and
serves small bodies as well. It imports no torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from nca3d.targets import Target

# Iterations of a body of a thousand cells, and the least.
ITERATIONS = 2000
# By which power of their number several bodies of one rule need more: ten took 5,000, two of each in an iteration.
SHARED = 0.4
# Cells from which a body needs a wider network, and its halo of living cells that are "empty" costs more than itself.
LARGE = 5000
# Kinds from which the cells of a body carry a code instead of a channel for each of them, and its length.
MANY_KINDS, CODE = 2, 8


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Attributes:
        cells: The cells of the body.
        kinds: Its kinds, without "empty"; 0 = it has colours.
        far: The steps of growth from the first cell to the farthest one.
        half: Whether this machine multiplies bfloat16 numbers.
        bodies: How many bodies there are; of several, `cells` is their mean and `far` the largest.
    """

    cells: int
    kinds: int
    far: int
    half: bool = False
    bodies: int = 1

    @classmethod
    def of(cls, target: "Target", half: bool) -> Self:
        """Returns the facts of a body on a machine."""
        kinds = int((target.values[1:-1].flatten(1).amax(dim=1) > 0).sum()) if target.kind == "classes" else 0
        return cls(target.cells, kinds, int(target.pieces.steps_from(target.start).max()), half)

    @classmethod
    def of_several(cls, targets: "Sequence[Target]", half: bool) -> Self:
        """Returns the facts of several bodies of one rule."""
        each = [cls.of(target, half) for target in targets]
        cells, kinds = sum(body.cells for body in each) // len(each), targets[0].visible - 1 if each[0].kinds else 0
        return cls(cells, kinds, max(body.far for body in each), half, len(each))

    def __str__(self) -> str:
        kinds = f" of {self.kinds} kind{'s' * (self.kinds > 1)}" if self.kinds else ""
        if self.bodies > 1:
            return (
                f"{self.bodies} bodies of {self.cells:,} cells on average{kinds}, the farthest {self.far} steps from the first"
            )
        return f"{self.cells:,} cell{'s' * (self.cells != 1)}{kinds}, the farthest {self.far} steps from the first"


class Choice(NamedTuple):
    """The value of one field, and why it is that.

    Attributes:
        field: The field's name.
        value: Its value.
        why: The reason, in a few words.
    """

    field: str
    value: Any
    why: str


def recipe(body: Facts) -> list[Choice]:
    """Returns the fields that follow from a body; those that it leaves out have their own values."""
    choices = []
    if body.kinds >= MANY_KINDS:
        choices.append(Choice("code", CODE, "cells perceive a code of their kinds"))
    # What a body is has to be in the weights: width helped in every trial.
    width = 256 if body.cells <= LARGE else 384
    # The root: a body of four times the cells is learnt in twice the iterations of four times the work.
    # No more: a rate that stays high for long is lost on ragged and thin bodies, one that falls soon is not.
    iterations = round(ITERATIONS * math.sqrt(max(1.0, body.cells / 1000)) * body.bodies**SHARED, -2)
    # The front of growth moves by less than a cell a step, since cells fire by chance. The longest rollouts are the time in
    # which a body has to be whole, and half of that in which it has to heal.
    steps = round(1.2 * body.far) + 8, round(3.5 * body.far) + 14
    if body.kinds:
        losses, why = {"classes_even": 1.0, "overflow": 0.1}, "cells outside must not outvote a ragged body"
        if body.cells > LARGE:
            losses, why = losses | {"occupancy": 0.5}, f"{why}, nor cost more than it"
        choices.append(Choice("losses", losses, why))
    return [
        *choices,
        Choice("hidden", (width,), "a body is in its weights"),
        Choice("perception", "gradient+laplacian/4", "thin parts are seen"),
        Choice("steps", steps, "growth reaches the farthest cell, and settles"),
        Choice("batch", 2 * body.bodies, "more, cheaper iterations" if body.bodies == 1 else "two of each"),
        Choice("seed_every", 2, "between seeds, states have time to settle and heal"),
        Choice("learning_rate", 0.004, "half as much again is slower or diverges on thin bodies"),
        Choice("betas", (0.5, 0.5), "states change under the optimizer"),
        Choice("damage_from", 0.2, "first grow, then heal"),
        Choice(
            "iterations",
            int(iterations),
            "at most; by the root of the cells" + (", and by the bodies" if body.bodies > 1 else ""),
        ),
        Choice("stop_when_whole", True, "going on buys nothing"),
        *([Choice("precision", "bf16", "this processor has it")] if body.half else []),
    ]


def fitting_batch(wanted: int, accumulate: int, damage_count: int, pool_size: int) -> int:
    """Returns the batch that goes with what was set: a body more than are damaged, none more than the pool has."""
    least = max(wanted, damage_count + 1)
    return min(-(-least // accumulate) * accumulate, pool_size)


def told(body: Facts, choices: list[Choice]) -> str:
    """Returns lines that say what was chosen and why, a field a line."""
    settings = [f"{choice.field} {_text(choice.value)}" for choice in choices]
    wide = max(map(len, settings))
    lines = [f"  {setting:<{wide}}  {choice.why}" for setting, choice in zip(settings, choices, strict=True)]
    return "\n".join([f"auto: {body}; hence:", *lines])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={entry:g}" for name, entry in value.items())
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
