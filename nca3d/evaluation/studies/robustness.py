"""Robustness: does a body still grow and hold where its world is not the one that it was trained in?

Each condition grows bodies from one cell, or changes grown ones, and holds them. The figure is the intersection over union with
the target at the end, 0 .. 1 (Jaccard 1912), beside that of the same trial with nothing changed.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from nca3d.evaluation.trials import Trials
from nca3d.evaluation.wounds import Wound
from nca3d.lattice import PADDINGS, Size
from nca3d.metrics import iou, occupied
from nca3d.rollout import rollout, seed_state, start_of
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense
from nca3d.targets import Target

# Steps after the horizon at which a body under the condition is judged: time enough for one that can't hold to fall apart.
HOLD = 200

# Standard deviation of the noise on every channel of a living cell, and the steps from one dose to the next.
NOISE, NOISE_EVERY = 0.02, 4

# The largest |value| that a foreign cell may show its neighbours; values of a grown body lie well within it.
LOUDEST = 10.0


@dataclass(frozen=True)
class Variation:
    """One change of the world.

    Attributes:
        name: The condition's name in figures and pictures.
        group: What is changed: "time", "space", "noise" or "takeover"; "" for the unchanged world.
        measure: Takes the trials and a trial number, and returns the quality (IoU, 0 .. 1) of each body at the end.
    """

    name: str
    group: str
    measure: Callable[[Trials, int], list[float]]


def variations(rule: Rule, size: Size) -> list[Variation]:
    """Returns all variations that make sense for a rule, the unchanged world first.

    Args:
        rule: Its own fire rate and padding are left out: they are no change.
        size: The lattice (D, H, W). In a flat one other paddings are left out: each cell has a border above it and below, so
            that they would change what all cells see, not the rim of the world.
    """
    paddings = [] if 1 in size else [kind for kind in PADDINGS if kind != rule.padding]
    rates = [rate for rate in (0.25, 0.75, 1.0) if abs(rate - rule.fire_rate) > 1e-9]
    return [
        Variation("unchanged", "", held),
        *(Variation(f"fire rate {rate:g}", "time", _with_attributes(fire_rate=rate)) for rate in rates),
        *(
            Variation(f"step size × {factor:g}", "time", _with_attributes(step_size=factor * rule.step_size))
            for factor in (0.5, 1.5)
        ),
        *(Variation(f"lattice × {factor:g}", "space", _in_larger_lattice(factor)) for factor in (1.5, 2.0)),
        *(Variation(f"padding {kind}", "space", _with_attributes(padding=kind)) for kind in paddings),
        Variation("second seed close by", "space", second_seed),
        Variation("bf16", "noise", in_bf16),
        Variation(f"noise {NOISE:g} on the state", "noise", with_noise),
        Variation("hidden channels erased in a quarter", "noise", hidden_erased),
        Variation("1 % foreign cells", "takeover", lambda t, n: foreign_cells(t, n, 0.01)),
        Variation("10 % foreign cells", "takeover", lambda t, n: foreign_cells(t, n, 0.10)),
    ]


def changed(rule: Rule, **attributes: object) -> Rule:
    """Returns a copy of the rule with other attributes and the same weights."""
    other = copy.deepcopy(rule)
    for name, value in attributes.items():
        setattr(other, name, value)
    return other


def held(trials: Trials, trial: int, state: Compact | None = None) -> list[float]:
    """Returns the quality (IoU) of each body after the horizon and `HOLD` more steps.

    Args:
        trials: The rule, the target and how they are run.
        trial: The number that chooses the fire masks.
        state: What the bodies grow from; None = one first cell each.
    """
    state = trials.seeds() if state is None else state
    return trials.look(trials.run(state, trials.horizon + HOLD, trial)).quality[0].tolist()


def _with_attributes(**attributes: object) -> Callable[[Trials, int], list[float]]:
    """Returns a measurement of the rule with other attributes."""
    return lambda trials, trial: held(trials.with_rule(changed(trials.rule, **attributes)), trial)


def _in_larger_lattice(factor: float) -> Callable[[Trials, int], list[float]]:
    """Returns a measurement of the same body in a larger lattice, with the seed where it was in the body."""

    def grow(trials: Trials, trial: int) -> list[float]:
        before = trials.target.size
        # A flat world stays flat.
        after: Size = tuple(n if n == 1 else round(factor * n) for n in before)  # type: ignore[assignment]
        low = [(large - small) // 2 for small, large in zip(before, after, strict=True)]
        wide = trials.with_rule(trials.rule, target=widened(trials.target, low, after))
        # Given by position: the card's start, and the old centre, are other places in the larger lattice.
        seat = torch.tensor([c + shift for c, shift in zip(start_of(trials.rule, before), low, strict=True)])
        return held(wide, trial, wide.seeds(seat.expand(trials.samples, 3)))

    return grow


def widened(target: Target, low: list[int], size: Size) -> Target:
    """Returns the target with empty cells around it.

    Args:
        target: The body.
        low: The empty cells before it along each axis, (z, y, x).
        size: The new lattice (D, H, W).
    """
    # F.pad counts axes from the last one.
    pads = [
        side
        for before, small, large in reversed(list(zip(low, target.size, size, strict=True)))
        for side in (before, large - small - before)
    ]
    values, occupied_ = F.pad(target.values, pads), F.pad(target.occupied, pads)
    if target.kind == "classes":
        values[0][~occupied_] = 1.0  # what is empty has class 0, as everywhere in a target
    return replace(target, values=values, occupied=occupied_)


def second_seed(trials: Trials, trial: int) -> list[float]:
    """Measures growth from two seeds, two cells apart along the last axis that is long enough: do they make one body?"""
    size = trials.target.size
    start = start_of(trials.rule, size)
    axis = next((axis for axis in (2, 1, 0) if size[axis] > 2), 2)
    place = torch.tensor(start)
    # To the other side where the lattice ends: the second cell must be another than the first.
    place[axis] = start[axis] + 2 if start[axis] + 2 < size[axis] else max(0, start[axis] - 2)
    beside = place.expand(trials.samples, 3)
    one, other = (seed_state(trials.rule, size, trials.samples, where) for where in (None, beside))
    both = torch.where(other != trials.rule.dead_value, other, one)
    return held(trials, trial, compact(both, trials.rule.dead_value))


def in_bf16(trials: Trials, trial: int) -> list[float]:
    """Measures growth with the update network in bfloat16 and the state in float32."""
    device = trials.seeds().values.device.type
    with torch.autocast(device, dtype=torch.bfloat16):
        return held(trials, trial)


def with_noise(trials: Trials, trial: int) -> list[float]:
    """Measures growth under Gaussian noise on every stored cell and channel, added every few steps of growth and hold."""
    generator, state, done = trials.generator(trial), trials.seeds(), 0
    while done < trials.horizon + HOLD:
        state = trials.run(state, NOISE_EVERY, trial, first_step=done)
        noise = NOISE * torch.randn(state.values.shape, generator=generator).to(state.values)
        state, done = replace(state, values=state.values + noise), done + NOISE_EVERY
    # The last dose is given time to be repaired: what is judged is the body, not the noise on it.
    return trials.look(trials.run(state, NOISE_EVERY, trial, first_step=done)).quality[0].tolist()


def hidden_erased(trials: Trials, trial: int) -> list[float]:
    """Measures a body in which a ball, a quarter of it, keeps its looks and loses its memory: hidden channels become 0."""
    rule = trials.rule
    state = dense(trials.run(trials.seeds(), trials.horizon, trial), rule.dead_value)
    mask = Wound("sphere", 0.25).mask(rule, state, trials.generator(trial))
    state[:, rule.alpha + 1 :] = torch.where(mask, 0.0, state[:, rule.alpha + 1 :])
    after = trials.run(compact(state, rule.dead_value), HOLD, trial, first_step=trials.horizon)
    return trials.look(after).quality[0].tolist()


def shuffled(rule: Rule, random_seed: int) -> Rule:
    """Returns the rule with the weights of each tensor in random order: as large, as lively, and without what was learnt."""
    other = copy.deepcopy(rule)
    generator = torch.Generator().manual_seed(random_seed)
    with torch.no_grad():
        for weight in other.parameters():
            order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
            weight.copy_(weight.flatten()[order].view_as(weight))
    return other


@torch.no_grad()
def foreign_cells(trials: Trials, trial: int, share: float) -> list[float]:
    """Measures a grown body of which some cells follow foreign (shuffled) weights from the horizon on.

    Each side's alive mask is taken as if all cells were of its kind. A foreign cell that dies is not replaced. Compare
    Randazzo et al. 2021, "Adversarial Reprogramming of Neural Cellular Automata" (Distill), who train their foreign cells.

    Args:
        trials: The rule, the target and how they are run.
        trial: The number that chooses the foreign cells, their weights and the fire masks.
        share: The fraction of the body's cells that become foreign, above 0 to 1.

    Returns:
        The quality (IoU, 0 .. 1) of each body, `HOLD` steps after the horizon.
    """
    rule, foreign = trials.rule, shuffled(trials.rule, trials.seed(trial))
    state = dense(trials.run(trials.seeds(), trials.horizon, trial), rule.dead_value)
    mask = Wound("random_cells", share).mask(rule, state, trials.generator(trial))
    mask &= occupied(state, rule.visible, rule.visible_kind)[:, None]
    for step in range(trials.horizon, trials.horizon + HOLD):
        own, other = (
            rollout(one, state, 1, random_seed=trials.seed(trial), first_step=step, executor=trials.executor)
            for one in (rule, foreign)
        )
        # Foreign cells may shout, but not break the arithmetic of the others.
        state = torch.where(mask, other.nan_to_num(0.0).clamp(-LOUDEST, LOUDEST), own)
    trials.report(HOLD)
    return iou(state, trials.target).tolist()
