"""What is measured: named sizes, batches, steps and shares of living cells. Imports no torch."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nca3d.errors import ErrorCollector, nearest

# The contender that all others are compared with.
TEXTBOOK = "textbook"


@dataclass(frozen=True)
class Setting:
    """One thing to measure: a rollout of `steps` steps from a compact random body, forward alone and as training.

    Args:
        name: as the table calls it.
        size: lattice (D, H, W).
        batch: samples.
        steps: of one rollout.
        living: share of the cells that are in the alive mask at the start, above 0 up to 1.
        channels: of the state: 3 visible, alpha, the rest hidden.
        hidden: widths of the rule's hidden layers.
        fire_rate: probability that a cell updates in a step.
        bf16: whether the network under bf16 autocast is measured too.
        random_seed: chooses body, weights and fire masks.
        only: executors that are measured, where the others would take minutes a step; () = all.
    """

    name: str
    size: tuple[int, int, int]
    batch: int
    steps: int
    living: float = 1.0
    channels: int = 16
    hidden: tuple[int, ...] = (128,)
    fire_rate: float = 0.5
    bf16: bool = False
    random_seed: int = 0
    only: tuple[str, ...] = ()

    @property
    def volume(self) -> int:
        """Cells of the whole batch, D · H · W · B."""
        return math.prod(self.size) * self.batch

    @property
    def updates(self) -> int:
        """Cell updates of a rollout as every peer counts them: the whole volume, once a step."""
        return self.volume * self.steps

    def words(self) -> str:
        """`15×15×11, batch 8, 64 steps, 100 % alive`."""
        size = "×".join(map(str, self.size))
        return f"{size}, batch {self.batch}, {self.steps} steps, {100 * self.living:g} % alive"


_ALL = (
    Setting("cube", (15, 15, 11), batch=8, steps=64, bf16=True),
    Setting("body32", (32, 32, 32), batch=4, steps=32, living=0.05),
    Setting("body64", (64, 64, 64), batch=2, steps=16, living=0.05),
    Setting("sparse64", (64, 64, 64), batch=2, steps=16, living=0.01),
    Setting("sparse128", (128, 128, 128), batch=1, steps=64, living=0.01, only=("event",)),
    Setting("quick-cube", (8, 8, 6), batch=4, steps=16, bf16=True),
    Setting("quick-body", (24, 24, 24), batch=2, steps=8, living=0.05),
)

SETTINGS = {setting.name: setting for setting in _ALL}

# One word for several settings.
GROUPS = {"all": ("cube", "body32", "body64", "sparse64", "sparse128"), "quick": ("quick-cube", "quick-body")}


def find(names: Sequence[str]) -> list[Setting]:
    """The settings of these names and groups, each once, in the order given.

    Raises:
        InputErrors: unknown names, one line each.
    """
    refuse_unknown("SETTING", names, [*GROUPS, *SETTINGS])
    found = {each: SETTINGS[each] for name in names for each in GROUPS.get(name, (name,))}
    return list(found.values())


def refuse_unknown(flag: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Refuse names that nothing has.

    Raises:
        InputErrors: unknown names, one line each.
    """
    with ErrorCollector() as wrong:
        for name in names:
            wrong.add(name not in known, "nca3d bench", flag, repr(name), f"{', '.join(known)}{nearest(name, known)}")
