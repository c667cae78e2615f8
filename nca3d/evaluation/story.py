"""The story of a life: a body grows from one cell, is damaged at given steps, and goes on, with pictures on the way.

`tell` is the one way to film a life; `film` uses it for what the page of a report shows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
from nca3d.reports.several import FilmedBodies
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.rules.conditional import ConditionalRule
from nca3d.targets import Target

# The number of the trial whose fire masks pictures show: one that no figure uses. The next one draws the wounds.
SEED = 1000

# The number of pictures of one life, about, unless the steps between them are given: a film of some seconds.
FRAMES = 60

# The number of pictures of growth, and of each healing, that a page is made from.
PAGE_FRAMES = 24


@dataclass(frozen=True)
class Cut:
    """A damage at a step of a life.

    Attributes:
        step: The step after which the body is damaged, 0 and above.
        name: The damage's name in `pools.damage.DAMAGES`.
        severity: The fraction of the body that is destroyed, above 0 to 1.
        direction: The direction of a half-space or slab, such as "+x"; None = drawn at random.
    """

    step: int
    name: str
    severity: float
    direction: str | None = None

    @classmethod
    def read(cls, text: str) -> "Cut":
        """Reads a cut from the text "STEP:NAME[:SEVERITY[:DIRECTION]]", such as 46:half_space:0.5:+x.

        Raises:
            InputError: If the text has another form, or the damage, severity or direction does not exist.
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
        if len(parts) == 4 and (name not in ("half_space", "slab") or not re.fullmatch(r"[+-][xyz]", direction)):
            raise InputError("--damage", "direction", repr(direction), "+x, -x, +y, -y, +z or -z of a half_space or slab")
        return cls(int(step), name, share, direction or None)

    @property
    def wound(self) -> Wound:
        """The damage without its step."""
        return Wound(self.name, self.severity, {"direction": self.direction} if self.direction else {})

    @property
    def words(self) -> str:
        """The caption that a film shows with it, as in "half space 50 %"."""
        return f"{self.name.replace('_', ' ')} {100 * self.severity:.0f} %"


@dataclass(frozen=True)
class Story:
    """The pictures of a life.

    Attributes:
        frames: RGBA pictures with straight alpha, float32 (T, D, H, W, 4), 0 .. 1.
        steps: The step of each frame, T of them; the step of a cut comes twice, before and after it.
        marks: The caption of each cut, by the index of the first frame after it.
        labels: The class of each cell, int16 (T, D, H, W), 0 = empty; None for a body of colours.
        last: The state at the end, (1, C, D, H, W), from which another story can go on.
    """

    frames: np.ndarray
    steps: list[int]
    marks: dict[int, str]
    labels: np.ndarray | None
    last: Tensor

    @property
    def times(self) -> list[float]:
        """The steps as strictly rising times, as other tools want them: frames of one step divide the time to the next."""
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
    """Runs one body from its first cell and takes pictures on the way. Memory is that of the pictures alone.

    Args:
        rule: What each cell does.
        target: Gives the lattice and the colours of classes.
        steps: The last step.
        cuts: Damage on the way, within these steps.
        every: The steps between pictures; None = about `FRAMES` of them.
        start: A story of the same rule that this one goes on from; None = the first cell.
        random_seed: Chooses fire masks and wounds, none of which training has used.
        executor: The executor's name, see `nca3d.rollout`.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The pictures, their steps, and the last state.

    Raises:
        InputError: If the rule does not show such a target, a damage is unknown, or a cut lies before the first step or
            beyond the last.
    """
    from tqdm.auto import tqdm

    if not isinstance(target, Target):
        raise InputError("tell", "target", f"a {type(target).__name__}", "a Target: rule.target() is that of its card")
    target.for_rule(rule.visible_kind, rule.visible, "tell")
    if steps < 0:
        raise InputError("tell", "steps", steps, "0 or more")
    every = max(1, round(steps / FRAMES)) if every is None else every
    # The fire masks and the wounds have a stream each: another cut leaves the rest of the life as it was.
    seed = evaluation_seed(random_seed, SEED)
    generator = torch.Generator().manual_seed(evaluation_seed(random_seed, SEED + 1))
    state, now = (start.last, start.steps[-1]) if start else (seed_state(rule, target.size), 0)
    for cut in cuts:
        if not isinstance(cut, Cut):
            raise InputError("tell", "cuts", repr(cut), "nca3d.Cut(step, damage), one or more")
        if cut.name not in pools.damage.DAMAGES:
            allowed = ", ".join(pools.damage.DAMAGES) + nearest(cut.name, pools.damage.DAMAGES)
            raise InputError("tell", "cuts: name", repr(cut.name), allowed)
        if not cut.wound.cuts(target.size):
            allowed = f"a direction along which {target.name} has two cells or more, on its lattice of {target.size}"
            raise InputError("--damage", "direction", repr(cut.direction), allowed)
        if not now <= cut.step <= steps:
            raise InputError("--damage", "step", cut.step, f"{now} .. {steps}, the last step")
    shots = [_shot(rule, target, state, now)]
    marks: dict[int, str] = {}
    # A stop at each picture and at each cut: between two stops the rollout runs in one go.
    stops = sorted({*range(now + every, steps + 1, every), steps, *(cut.step for cut in cuts)})
    for stop in tqdm(stops, desc="life", unit="frame", disable=not progress):
        if stop > now:
            state = rollout(rule, state, stop - now, random_seed=seed, first_step=now, executor=executor)
            now = stop
            shots.append(_shot(rule, target, state, now))
        for cut in (cut for cut in cuts if cut.step == stop):
            # The same step once more, now damaged: a film shows the body before and after the cut.
            state = apply_wound(rule, state, cut.wound, generator)
            marks[len(shots)] = cut.words
            shots.append(_shot(rule, target, state, now))
    frames, labels, moments = zip(*shots, strict=True)
    classes = np.concatenate(labels) if rule.visible_kind == "classes" else None
    return Story(np.concatenate(frames), list(moments), marks, classes, state)


def film(rule: Rule, target: Target, horizon: int, random_seed: int = 0) -> FilmedLife:
    """Films one body that grows to the horizon, and its next two horizons after each wound of the quick preset.

    Args:
        rule: What each cell does.
        target: The body that it should grow.
        horizon: The steps of growth.
        random_seed: Chooses fire masks and wounds.
    """
    every = max(1, horizon // PAGE_FRAMES)
    grown = tell(rule, target, horizon, every=every, random_seed=random_seed)
    # Growth is filmed once: the wounds are given to the same grown body.
    heal, timelines = {}, {}
    for damage, severity in QUICK_WOUNDS.items():
        cut = [Cut(horizon, damage, severity)]
        healed = tell(rule, target, 3 * horizon, cut, every=2 * every, start=grown, random_seed=random_seed)
        heal[damage] = healed.frames, healed.steps, 1  # frame 0 is the grown body, 1 the same one right after the cut
        life = np.concatenate([grown.frames, healed.frames[1:]])
        timelines[damage] = [*grown.steps, *healed.steps[1:]], iou(life, target).numpy()
    return FilmedLife((grown.frames, grown.steps), heal, timelines, target.rgba())


def film_several(rule: ConditionalRule, horizon: int, random_seed: int = 0) -> FilmedBodies:
    """Films each body of a rule of several as it grows, and the first as it is told to be the second, where cells are told.

    Args:
        rule: What each cell does, with the card that names its bodies.
        horizon: The steps of growth.
        random_seed: Chooses fire masks.
    """
    every = max(1, horizon // PAGE_FRAMES)
    targets = {name: rule.target(name) for name in rule.conditions}
    lives = {
        name: tell(rule.bound(name), target, horizon, every=every, random_seed=random_seed) for name, target in targets.items()
    }
    first = next(iter(lives.values()))
    morph = None
    if rule.told and len(targets) > 1:
        after = rule.conditions[1]
        changed = tell(rule.bound(after), targets[after], 4 * horizon, every=1, start=first, random_seed=random_seed)
        # Powers, so that the early frames are closer together: most happens there.
        chosen = sorted({round((3 * horizon) ** share) for share in np.linspace(0, 1, 10)})
        words = [f"{after}, +{step} step{'s' * (step > 1)}" for step in chosen]
        morph = changed.frames[[0, *chosen]], [rule.conditions[0], *words]
    growth = {name: life.frames for name, life in lives.items()}
    return FilmedBodies(growth, first.steps, {name: target.rgba() for name, target in targets.items()}, morph)


def changed(
    story: Story,
    rule: Rule,
    target: Target,
    steps: int,
    word: str,
    *,
    every: int | None = None,
    random_seed: int = 0,
    executor: str = "auto",
    progress: bool = False,
) -> Story:
    """Returns a story and how it goes on under another rule, such as that of another body.

    Args:
        story: The life so far.
        rule: What each cell does from now on.
        target: Gives the colours of classes.
        steps: The steps to go on.
        word: The caption of the change.
        every: The steps between pictures, as in `tell`.
        random_seed: Chooses fire masks, as in `tell`.
        executor: The executor's name.
        progress: Whether to show a progress bar on stderr.
    """
    options: dict[str, Any] = {"every": every, "random_seed": random_seed, "executor": executor, "progress": progress}
    after = tell(rule, target, story.steps[-1] + steps, start=story, **options)
    # The last frame before the change is the first after it.
    marks = {**story.marks, len(story.frames): word, **{len(story.frames) - 1 + at: mark for at, mark in after.marks.items()}}
    labels = None if story.labels is None or after.labels is None else np.concatenate([story.labels, after.labels[1:]])
    frames = np.concatenate([story.frames, after.frames[1:]])
    return Story(frames, [*story.steps, *after.steps[1:]], marks, labels, after.last)


def _shot(rule: Rule, target: Target, state: Tensor, step: int) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Returns the picture of a state, the classes of its cells (None for colours), and its step."""
    picture = to_rgba(state, rule, target.palette)
    if rule.visible_kind != "classes":
        return picture, None, step
    body = occupied(state, rule.visible, "classes")
    labels = torch.where(body, state[:, : rule.visible].argmax(dim=1), 0)
    return picture, labels.cpu().numpy().astype(np.int16), step
