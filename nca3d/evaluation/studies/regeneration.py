"""Regeneration: is a damaged body whole again, how soon, and does it stay so?

Two measures, which are not the same. *IoU after healing* says how much of the body is there; a body is *healed* when it is
whole again. Reports call them `heal_iou` and `recovered`.

The wounds are those of `pools.damage`; compare Mordvintsev et al. 2020, "Growing Neural Cellular Automata" (Distill), whose
regenerating bodies were trained with damage. "Whole" means 95 % of the quality (IoU) right before the wound.
"""

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
    """How B bodies healed after one wound.

    Attributes:
        wound: The wound that every body had.
        moment: The steps after the horizon at which they had it.
        before: The quality (IoU, 0 .. 1) right before it, (B,).
        watch: The figures from right after the wound to two horizons later.
        late: The quality `late_steps` after that, (B,); None = it was not measured, or no body was whole.
        before_mse: The squared error right before the wound, (B,), see `Watch.mse`; None = it was not measured.
    """

    wound: Wound
    moment: int
    before: torch.Tensor
    watch: Watch
    late: torch.Tensor | None = None
    before_mse: torch.Tensor | None = None

    @property
    def name(self) -> str:
        """The wound's name, with its moment unless that is the horizon, as in "sphere 0.25 @500"."""
        return self.wound.name + (f" @{self.moment}" if self.moment else "")

    @property
    def recovered(self) -> list[float | None]:
        """Whether each body healed, B values: 1, 0, or None where the wound can't tell.

        A body healed if its IoU reached 0.95 of that before the wound within two horizons, and was there at the last
        measurement too. It did not if it missed that, or was no body before (IoU below 0.5). A wound too small to bring the
        body below the mark says nothing about it: None.
        """
        mark = WHOLE * self.before
        whole = (self.watch.quality[1:] >= mark).any(dim=0)
        # A body that heals and then grows on into a tumour was not healed: the last measurement counts too.
        still = self.watch.quality[-1] >= mark if self.late is None else self.late >= mark
        healed = (whole & still & (self.before >= GROWN)).tolist()
        unchanged = ((self.watch.quality[0] >= mark) & (self.before >= GROWN)).tolist()
        return [None if same else float(well) for well, same in zip(healed, unchanged, strict=True)]

    @property
    def mse_regained(self) -> list[float | None]:
        """The share of the damage in squared error that was made good, B values; None = nothing was lost.

        (after − hurt) / (before − hurt), as NCAtorch counts recovery: 1 = as before, 0 = as right after the damage, above 1 =
        better than before.
        """
        hurt, after = self.watch.mse[0], self.watch.mse[-1]
        if self.before_mse is None:
            return [None] * len(hurt)
        pairs = zip((after - hurt).tolist(), (self.before_mse - hurt).tolist(), strict=True)
        return [None if abs(lost) < 1e-6 else gained / lost for gained, lost in pairs]

    @property
    def half_step(self) -> list[int | None]:
        """The steps until half of each body's lost quality is back, B values; None = never, or nothing was lost."""
        damaged = self.watch.quality[0]
        back = self.watch.quality >= (damaged + self.before) / 2
        first = back.float().argmax(dim=0).tolist()
        # Less than this is rounding: half of nothing would be back at once.
        lost = (self.before - damaged > 1e-6).tolist()
        return [step if ever and some else None for step, ever, some in zip(first, back.any(0).tolist(), lost, strict=True)]

    def row(self) -> dict[str, Any]:
        """Returns the wound's row in the grid: means over bodies, and the median of `half_step` over those that have one."""
        steps = [step for step in self.half_step if step is not None]
        return {
            "damage": self.wound.kind,
            "severity": self.wound.severity,
            "moment": self.moment,
            "hurt": float(self.watch.quality[0].mean()),
            "healed": float(self.watch.quality[-1].mean()),
            "late": None if self.late is None else float(self.late.mean()),
            "recovered": mean(self.recovered),
            "half_step": statistics.median(steps) if steps else None,
        }


def heal(
    trials: Trials, bodies: Compact, wound: Wound, trial: int, *, moment: int = 0, late_steps: int = 0
) -> tuple[Compact, Healing]:
    """Damages bodies, watches them heal for two horizons, and measures them again `late_steps` later.

    Where no body was whole by then, the late measurement is left out: it could not count.

    Args:
        trials: The rule, the target and how they are run.
        bodies: The bodies to be damaged, B of them.
        wound: The damage.
        trial: The number that chooses wounds and fire masks.
        moment: The steps after the horizon that the bodies have lived, for the record.
        late_steps: The steps from the end of healing to the late measurement; 0 = none.

    Returns:
        The bodies after two horizons, and how they healed.
    """
    first = trials.look(bodies)
    before = first.quality[0]
    state, watch = trials.watch(trials.apply_wound(bodies, wound, trial), 2 * trials.horizon, trial)
    late = None
    if late_steps and not (watch.quality[1:] >= WHOLE * before).any():
        # What can't heal often grows until it fills the lattice, and would take longer than all that can.
        trials.report(late_steps)
    elif late_steps:
        late = trials.look(trials.run(state, late_steps, trial, first_step=2 * trials.horizon)).quality[0]
    return state, Healing(wound, moment, before, watch, late, first.mse[0])


def grid(
    trials: Trials, grown: Compact, wounds: tuple[Wound, ...], moments: tuple[int, ...], late_steps: int, trial: int
) -> Iterator[Healing]:
    """Yields how bodies heal from every wound at every moment; each pair has its own fire masks and draws.

    Args:
        trials: The rule, the target and how they are run.
        grown: The bodies at the horizon.
        wounds: The wounds of the grid.
        moments: The steps after the horizon, rising.
        late_steps: See `heal`.
        trial: The first of the trial numbers that are used.
    """
    bodies, age = grown, 0
    for moment in moments:
        # Bodies live on from moment to moment, undamaged: each wound is given to a copy of the same ones.
        bodies, age = trials.run(bodies, moment - age, trial, first_step=age), moment
        for number, wound in enumerate(wounds, start=1):
            # A thousand numbers for each moment: more than there are wounds, so that no two trials share their draws.
            chosen = trial + 1000 * moments.index(moment) + number
            yield heal(trials, bodies, wound, chosen, moment=moment, late_steps=late_steps)[1]


def repeated_injury(trials: Trials, grown: Compact, wound: Wound, times: int, trial: int) -> list[Healing]:
    """Damages the same bodies again and again, with two horizons between wounds.

    Args:
        trials: The rule, the target and how they are run.
        grown: The bodies at the horizon.
        wound: The damage, drawn anew each time.
        times: The number of wounds.
        trial: The first of the trial numbers that are used.

    Returns:
        How the bodies healed after each wound, judged against the bodies before the first one.
    """
    whole = trials.look(grown).quality[0]
    healings, bodies = [], grown
    for number in range(times):
        bodies, healing = heal(trials, bodies, wound, trial + number)
        # Judged against the state before the last wound, a body that loses a little each time would always look healed.
        healings.append(Healing(wound, healing.moment, whole, healing.watch, healing.late, healing.before_mse))
    return healings
