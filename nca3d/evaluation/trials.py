"""Rollouts of one rule against one target, on fire masks that training never used; what every study of it shares.

A rollout can be looked at as it goes: how good the body is, how much of it lives, how large its values are. Only figures are
kept, a few numbers for each step and body, so that 10,000 steps cost no more memory than 10.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from nca3d.evaluation.wounds import Wound, apply_wound
from nca3d.fire import evaluation_seed
from nca3d.metrics import unpremultiply
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense
from nca3d.targets.target import OCCUPIED_ALPHA, Target

# Bytes of recorded states that are held before they are looked at.
AT_ONCE = 64 << 20


@dataclass(frozen=True)
class Watch:
    """What was seen; every figure is (T, B) on the CPU.

    Attributes:
        steps: int (T,), absolute step numbers.
        quality: IoU with the target, 0..1.
        detail: colour error ("rgb", 0 is right) or label accuracy ("classes", 1 is right) of the cells shared with the target.
        volume: living cells: alpha above 0.1.
        peak: the largest |value| in the state.
        finite: whether all values are.
    """

    steps: Tensor
    quality: Tensor
    detail: Tensor
    volume: Tensor
    peak: Tensor
    finite: Tensor

    def then(self, later: "Watch") -> "Watch":
        """This watch and a later one as one."""
        return Watch(*(torch.cat([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)))

    def __getitem__(self, index: int | slice) -> "Watch":
        """Some of the steps; one step keeps its axis."""
        part = slice(index, index + 1 or None) if isinstance(index, int) else index
        return Watch(*(getattr(self, f.name)[part] for f in fields(self)))


def look(states: list[Compact], steps: list[int], target: Target) -> Watch:
    """The figures of recorded states, all of one batch size, in one pass over their cells."""
    batch, count = states[0].batch, len(states)
    volume = target.occupied.numel()
    values = torch.cat([state.values for state in states])
    cells = torch.cat([state.cells for state in states])
    lengths = torch.tensor([len(state.cells) for state in states], device=cells.device)
    owner = torch.arange(count, device=cells.device).repeat_interleave(lengths) * batch + cells // volume
    place = cells % volume

    alpha = values[:, target.visible]
    there = alpha > OCCUPIED_ALPHA
    living = _count(there, owner, count * batch)
    shown = values[:, : target.visible]
    body = there & (shown.argmax(dim=1) != 0) if target.kind == "classes" else there
    wanted = target.occupied.flatten().to(cells.device)
    both = body & wanted[place]
    shared = _count(both, owner, count * batch)
    either = _count(body, owner, count * batch) + wanted.sum() - shared
    quality = torch.where(either > 0, shared / either.clamp_min(1), 1.0)

    truth = target.values.flatten(1).to(values)[:, place[both]].t()
    rows = values[both]
    if target.kind == "classes":
        right = (rows[:, : target.visible].argmax(dim=1) == truth[:, :-1].argmax(dim=1)).float()
    else:
        right = (unpremultiply(rows) - unpremultiply(truth)).nan_to_num(1.0).abs().clamp_max(1.0).mean(dim=1)
    detail = torch.zeros(count * batch, device=cells.device).index_add_(0, owner[both], right) / shared.clamp_min(1)
    detail = torch.where(shared > 0, detail, 0.0 if target.kind == "classes" else 1.0)

    size = values.abs().amax(dim=1)
    finite = torch.ones(count * batch, dtype=torch.bool, device=cells.device)
    finite[owner[~size.isfinite()]] = False
    peak = torch.zeros(count * batch, device=cells.device).scatter_reduce_(0, owner, size.float(), "amax")
    figures = (quality, detail, living, peak, finite)
    return Watch(torch.tensor(steps), *(figure.view(count, batch).cpu() for figure in figures))


def _count(which: Tensor, owner: Tensor, length: int) -> Tensor:
    return torch.bincount(owner[which], minlength=length).float()


@dataclass(frozen=True)
class Trials:
    """What is tried on whom.

    Args:
        rule: what one cell does.
        target: the body that it should grow.
        horizon: steps after which a body is judged grown.
        samples: bodies side by side.
        random_seed: chooses fire masks and wounds; trials with other numbers have other ones.
        executor: see `rollout`.
        report: is told how many steps were done since it was last told.
    """

    rule: Rule
    target: Target
    horizon: int
    samples: int = 8
    random_seed: int = 0
    executor: str = "auto"
    report: Callable[[int], object] = lambda steps: None

    def of(self, rule: Rule, **changes: Any) -> "Trials":
        """The same trials of another rule."""
        return replace(self, rule=rule, **changes)

    def seed(self, trial: int) -> int:
        """The random_seed of one trial."""
        return evaluation_seed(self.random_seed, trial)

    def draws(self, trial: int) -> torch.Generator:
        """The random numbers of one trial's wounds and noise, on the CPU."""
        return torch.Generator().manual_seed(self.seed(trial))

    def seeds(self, positions: Tensor | None = None) -> Compact:
        """The first cells, one a body."""
        return compact(seed_state(self.rule, self.target.size, self.samples, positions), self.rule.dead_value)

    @torch.no_grad()
    def run(self, state: Compact, steps: int, trial: int, *, first_step: int = 0) -> Compact:
        """So many steps, unseen."""
        if not steps:
            return state
        state = rollout(self.rule, state, steps, random_seed=self.seed(trial), first_step=first_step, executor=self.executor)
        self.report(steps)
        return state

    @torch.no_grad()
    def watch(self, state: Compact, steps: int, trial: int, *, every: int = 1) -> tuple[Compact, Watch]:
        """So many steps, with a look at the first state, after every `every` steps, and at the last.

        Returns:
            The last state and the looks.
        """
        seen, done = self.look(state), 0
        while done < steps:
            room = AT_ONCE // max(1, state.values.numel() * state.values.element_size())
            part = int(min(steps - done, every * max(1, min(room, 50))))
            some = rollout(
                self.rule,
                state,
                part,
                random_seed=self.seed(trial),
                first_step=done,
                executor=self.executor,
                record_every=every,
            )
            state = some.states[-1]
            seen = seen.then(look(some.states[1:], some.steps[1:].tolist(), self.target))
            done += part
            self.report(part)
        return state, seen

    def apply_wound(self, bodies: Compact, wound: Wound, trial: int) -> Compact:
        """The bodies with the wound, each its own draw of it."""
        dead = self.rule.dead_value
        return compact(apply_wound(self.rule, dense(bodies, dead), wound, self.draws(trial)), dead)

    def look(self, state: Compact) -> Watch:
        """The figures of states as they are."""
        return look([state], [0], self.target)
