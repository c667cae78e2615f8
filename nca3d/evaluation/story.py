"""A life to be shown: a body grows from one cell, is hurt at given steps, and goes on; its pictures on the way.

`tell` is the one way to film a life; `film` asks it for what a report's page shows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

import pools
from nca3d.errors import InputError, nearest
from nca3d.evaluation.presets import QUICK_WOUNDS
from nca3d.evaluation.wounds import Wound, apply_wound
from nca3d.fire import evaluation_seed
from nca3d.metrics import iou, occupied, to_rgba
from nca3d.reports.life import FilmedLife
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.targets import Target

# The trial whose fire masks pictures show: one that no figure uses.
SEED = 1000

# About so many pictures of one life, unless another number of steps between them is asked for.
FRAMES = 60

# About so many of growth, and of each healing, on a page.
PAGE_FRAMES = 24


@dataclass(frozen=True)
class Cut:
    """Damage at a step of a life: its name in `pools.damage`, its severity, and for half-spaces and slabs the direction."""

    step: int
    name: str
    severity: float
    direction: str | None = None

    @classmethod
    def read(cls, text: str) -> "Cut":
        """From "STEP:NAME[:SEVERITY[:DIRECTION]]", such as 46:half_space:0.5:+x.

        Raises:
            InputError: text of another form, or a damage, severity or direction that doesn't exist.
        """
        form = "STEP:NAME[:SEVERITY[:DIRECTION]], such as 46:half_space:0.5:+x"
        parts = text.split(":")
        if not 2 <= len(parts) <= 4 or not parts[0].isdecimal():
            raise InputError("--damage", "script", repr(text), form)
        step, name, severity, direction = (*parts, *("0.5", "")[len(parts) - 2 :])
        known = pools.damage.DAMAGES
        if name not in known:
            raise InputError("--damage", "name", repr(name), ", ".join(known) + nearest(name, known))
        try:
            share = float(severity)
        except ValueError:
            raise InputError("--damage", "severity", repr(severity), "0..1") from None
        if not 0 < share <= 1:
            raise InputError("--damage", "severity", severity, "above 0 to 1")
        if direction and (name not in ("half_space", "slab") or not re.fullmatch(r"[+-][xyz]", direction)):
            raise InputError("--damage", "direction", repr(direction), "+x, -x, +y, -y, +z or -z of a half_space or slab")
        return cls(int(step), name, share, direction or None)

    @property
    def wound(self) -> Wound:
        """What is done."""
        return Wound(self.name, self.severity, {"direction": self.direction} if self.direction else {})

    @property
    def words(self) -> str:
        """What a film says of it."""
        return f"{self.name.replace('_', ' ')} {100 * self.severity:.0f} %"


@dataclass(frozen=True)
class Story:
    """Pictures of a life.

    Attributes:
        frames: float32 (T, D, H, W, 4), straight alpha.
        steps: (T,) step of each frame; the step of a cut comes twice, before and after it.
        marks: index of the first frame after a cut → what it was.
        labels: int16 (T, D, H, W), the class of each cell, 0 = empty; None for colours.
        last: the state (1, C, D, H, W) at its end, from which another can go on.
    """

    frames: np.ndarray
    steps: list[int]
    marks: dict[int, str]
    labels: np.ndarray | None
    last: Tensor

    @property
    def times(self) -> list[float]:
        """Steps that rise, as other tools want them: frames of one step, before and after a cut, share the time to the next."""
        repeats = [self.steps[:place].count(step) for place, step in enumerate(self.steps)]
        return [step + place / self.steps.count(step) for step, place in zip(self.steps, repeats, strict=True)]


@torch.no_grad()
def tell(
    rule: Rule,
    target: Target,
    steps: int,
    cuts: Sequence[Cut] = (),
    *,
    every: int | None = None,
    start: Story | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Story:
    """Live a life from the seed on and keep its pictures, one at a time: memory is that of the pictures.

    Args:
        rule: what each cell does.
        target: gives the lattice and the colours of classes.
        steps: the last step.
        cuts: damage on the way, within these steps.
        every: steps between pictures; None = about `FRAMES` of them.
        start: a life of the same rule that this one goes on from; None = the seed.
        random_seed: chooses fire masks and wounds, disjoint from training's.
        executor: see `nca3d.rollout`.
        progress: show a progress bar on stderr.

    Raises:
        InputError: a target that the rule does not show, an unknown damage, a cut before the first step or beyond the last.
    """
    from tqdm.auto import tqdm

    if not isinstance(target, Target):
        raise InputError("tell", "target", f"a {type(target).__name__}", "a Target: rule.target() is that of its card")
    target.for_rule(rule.visible_kind, rule.visible, "tell")
    every = max(1, round(steps / FRAMES)) if every is None else every
    seed = evaluation_seed(random_seed, SEED)
    generator = torch.Generator().manual_seed(evaluation_seed(random_seed, SEED + 1))
    state, now = (start.last, start.steps[-1]) if start else (seed_state(rule, target.size), 0)
    for cut in cuts:
        if not isinstance(cut, Cut):
            raise InputError("tell", "cuts", repr(cut), "nca3d.Cut(step, damage), one or more")
        if cut.name not in pools.damage.DAMAGES:
            allowed = ", ".join(pools.damage.DAMAGES) + nearest(cut.name, pools.damage.DAMAGES)
            raise InputError("tell", "cuts: name", repr(cut.name), allowed)
        if not now <= cut.step <= steps:
            raise InputError("--damage", "step", cut.step, f"{now} .. {steps}, the last step")
    shots = [_shot(rule, target, state, now)]
    marks: dict[int, str] = {}
    stops = sorted({*range(now + every, steps + 1, every), steps, *(cut.step for cut in cuts)})
    for stop in tqdm(stops, desc="life", unit="frame", disable=not progress):
        if stop > now:
            state = rollout(rule, state, stop - now, random_seed=seed, first_step=now, executor=executor)
            now = stop
            shots.append(_shot(rule, target, state, now))
        for cut in (cut for cut in cuts if cut.step == stop):
            state = apply_wound(rule, state, cut.wound, generator)
            marks[len(shots)] = cut.words
            shots.append(_shot(rule, target, state, now))
    frames, labels, moments = zip(*shots, strict=True)
    classes = np.concatenate(labels) if rule.visible_kind == "classes" else None
    return Story(np.concatenate(frames), list(moments), marks, classes, state)


def film(rule: Rule, target: Target, horizon: int, random_seed: int = 0) -> FilmedLife:
    """One body that grows to the horizon, and what becomes of it in two more after each wound of the quick preset."""
    every = max(1, horizon // PAGE_FRAMES)
    grown = tell(rule, target, horizon, every=every, random_seed=random_seed)
    heal, timelines = {}, {}
    for damage, severity in QUICK_WOUNDS.items():
        cut = [Cut(horizon, damage, severity)]
        healed = tell(rule, target, 3 * horizon, cut, every=2 * every, start=grown, random_seed=random_seed)
        heal[damage] = healed.frames, healed.steps, 1
        life = np.concatenate([grown.frames, healed.frames[1:]])
        timelines[damage] = [*grown.steps, *healed.steps[1:]], iou(life, target).numpy()
    return FilmedLife((grown.frames, grown.steps), heal, timelines, target.rgba())


def _shot(rule: Rule, target: Target, state: Tensor, step: int) -> tuple[np.ndarray, np.ndarray | None, int]:
    """A picture of a state, the classes of its cells if it has any, and its step."""
    picture = to_rgba(state, rule, target.palette)
    if rule.visible_kind != "classes":
        return picture, None, step
    there = occupied(state, rule.visible, "classes")
    labels = torch.where(there, state[:, : rule.visible].argmax(dim=1), 0)
    return picture, labels.cpu().numpy().astype(np.int16), step
