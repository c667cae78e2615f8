"""Regeneration: is a body that is hurt whole again, how soon, and does it stay so?"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from nca3d.evaluation.studies.persistence import GROWN
from nca3d.evaluation.trials import Trials, Watch
from nca3d.evaluation.wounds import Wound
from nca3d.reports.values import WHOLE, mean
from nca3d.sparse import Compact


@dataclass(frozen=True)
class Healing:
    """One wound given to every body.

    Attributes:
        wound: what was done.
        moment: steps after the horizon at which it was done.
        before: quality right before, (B,).
        seen: the looks from right after the wound to two horizons later.
        late: quality `late_steps` after that, (B,); None = was not asked, or no body was whole.
    """

    wound: Wound
    moment: int
    before: torch.Tensor
    seen: Watch
    late: torch.Tensor | None = None

    @property
    def name(self) -> str:
        """The wound, and when it was given unless at the horizon: "sphere 0.25 @500"."""
        return self.wound.name + (f" @{self.moment}" if self.moment else "")

    @property
    def recovered(self) -> list[float | None]:
        """1 for each body that was whole within two horizons, and still so later; 0 for one that was not, or was no body.

        A wound too small to bring a body below the mark shows nothing about it: None.
        """
        mark = WHOLE * self.before
        whole = (self.seen.quality[1:] >= mark).any(dim=0)
        still = self.seen.quality[-1] >= mark if self.late is None else self.late >= mark
        healed = (whole & still & (self.before >= GROWN)).tolist()
        unseen = ((self.seen.quality[0] >= mark) & (self.before >= GROWN)).tolist()
        return [None if nothing else float(well) for well, nothing in zip(healed, unseen, strict=True)]

    @property
    def half_step(self) -> list[int | None]:
        """For each body the steps until half of the lost quality is back; None = never, or nothing was lost."""
        damaged = self.seen.quality[0]
        back = self.seen.quality >= (damaged + self.before) / 2
        first = back.float().argmax(dim=0).tolist()
        gone = (self.before - damaged > 1e-6).tolist()
        return [step if some and lost else None for step, some, lost in zip(first, back.any(0).tolist(), gone, strict=True)]

    def row(self) -> dict[str, Any]:
        """The wound's line in the grid: means over bodies."""
        steps = [step for step in self.half_step if step is not None]
        return {
            "damage": self.wound.kind,
            "severity": self.wound.severity,
            "moment": self.moment,
            "hurt": float(self.seen.quality[0].mean()),
            "healed": float(self.seen.quality[-1].mean()),
            "late": None if self.late is None else float(self.late.mean()),
            "recovered": mean(self.recovered),
            "half_step": statistics.median(steps) if steps else None,
        }


def heal(
    trials: Trials, bodies: Compact, wound: Wound, trial: int, *, moment: int = 0, late_steps: int = 0
) -> tuple[Compact, Healing]:
    """Hurt bodies, let them heal for two horizons under the looks of all, and ask again `late_steps` later.

    Where none of them has become whole by then nothing is asked later: it could not count, and what can't heal often grows
    until it fills the lattice, which takes longer than all that can.

    Returns:
        The bodies as they were after two horizons, and how it went.
    """
    before = trials.look(bodies).quality[0]
    state, seen = trials.watch(trials.apply_wound(bodies, wound, trial), 2 * trials.horizon, trial)
    late = None
    if late_steps and not (seen.quality[1:] >= WHOLE * before).any():
        trials.report(late_steps)
    elif late_steps:
        late = trials.look(trials.run(state, late_steps, trial, first_step=2 * trials.horizon)).quality[0]
    return state, Healing(wound, moment, before, seen, late)


def grid(
    trials: Trials, grown: Compact, wounds: tuple[Wound, ...], moments: tuple[int, ...], late_steps: int, trial: int
) -> Iterator[Healing]:
    """Every wound at every moment, one after the other; each has its own fire masks and draws."""
    bodies, age = grown, 0
    for moment in moments:
        bodies, age = trials.run(bodies, moment - age, trial, first_step=age), moment
        for number, wound in enumerate(wounds, start=1):
            chosen = trial + 1000 * moments.index(moment) + number
            yield heal(trials, bodies, wound, chosen, moment=moment, late_steps=late_steps)[1]


def repeated_injury(trials: Trials, grown: Compact, wound: Wound, times: int, trial: int) -> list[Healing]:
    """One wound after the other, two horizons between them; each is judged against the body that had never been hurt."""
    whole = trials.look(grown).quality[0]
    healings, bodies = [], grown
    for number in range(times):
        bodies, healing = heal(trials, bodies, wound, trial + number)
        healings.append(Healing(wound, healing.moment, whole, healing.seen, healing.late))
    return healings
