"""Rollouts of one rule against one target, on fire masks that training never used; what every study of it shares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from nca3d.evaluation.watch import Watch, look
from nca3d.evaluation.wounds import Wound, hurt
from nca3d.fire import evaluation_seed
from nca3d.rollout import rollout, seed_state
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, compact, dense
from nca3d.targets import Target

# Bytes of recorded states that are held before they are looked at.
AT_ONCE = 64 << 20


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

    def of(self, rule: Rule, **changes: Any) -> Trials:
        """The same trials of another rule."""
        return replace(self, rule=rule, **changes)

    def seed(self, trial: int) -> int:
        """The random_seed of one trial."""
        return evaluation_seed(self.random_seed, trial)

    def draws(self, trial: int) -> torch.Generator:
        """The random numbers of one trial's wounds and noise, on the CPU."""
        return torch.Generator().manual_seed(self.seed(trial))

    def seeds(self, positions: torch.Tensor | None = None) -> Compact:
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

    def hurt(self, bodies: Compact, wound: Wound, trial: int) -> Compact:
        """The bodies with the wound, each its own draw of it."""
        dead = self.rule.dead_value
        return compact(hurt(self.rule, dense(bodies, dead), wound, self.draws(trial)), dead)

    def look(self, state: Compact) -> Watch:
        """The figures of states as they are."""
        return look([state], [0], self.target)
