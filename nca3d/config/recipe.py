"""What "auto" means for a body: how wide a network and how long a training follow from its cells, by a rule written here.

Each line of the rule was found by an experiment on bodies of 1,000 cells and more (docs/experiments.md, "What binds"). Bodies
up to `SMALL` cells keep what they had before, by which they grow whole in minutes. It imports no torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from nca3d.targets import Target

# Cells up to which a body is small.
SMALL = 500
# Kinds from which cells carry a code instead of a channel for each of them, and its length.
MANY_KINDS, CODE = 8, 8


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Attributes:
        cells: The cells of the body.
        kinds: Its kinds, without "empty"; 0 = it has colours.
        far: The steps of growth from the first cell to the farthest one.
    """

    cells: int
    kinds: int
    far: int

    @classmethod
    def of(cls, target: "Target") -> Self:
        """Returns the facts of a body."""
        kinds = int((target.values[1:-1].flatten(1).amax(dim=1) > 0).sum()) if target.kind == "classes" else 0
        return cls(target.cells, kinds, int(target.pieces.steps_from(target.start).max()))


def recipe(body: Facts) -> dict[str, Any]:
    """Returns the fields that follow from a body, by name; those that it leaves out are as for a small one."""
    chosen: dict[str, Any] = {}
    if body.kinds >= MANY_KINDS:
        chosen["code"] = CODE
    if body.cells <= SMALL:
        return chosen
    return chosen | {"hidden": (256,), "learning_rate": 0.012, "betas": (0.5, 0.5)}
