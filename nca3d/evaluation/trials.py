"""Rollouts of one rule against one target, on fire masks that training never used: the ground that all studies share.

A rollout can be watched as it goes: how good the body is, how much of it lives, how large its values are. Only these figures
are kept, a few numbers for each step and body, so that 10,000 steps cost no more memory than 10.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from nca3d.evaluation.wounds import Wound, apply_wound
from nca3d.fire import evaluation_seed
from nca3d.metrics import hues, unpremultiply
from nca3d.ranks import current
from nca3d.rollout import rollout, seed_state, shared_rollout
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact, chosen, compact, dense, joined
from nca3d.targets.target import OCCUPIED_ALPHA, Target

# Bytes of recorded states that are held before they are reduced to figures: one pass over many states is several times
# quicker than a pass over each, and 64 MiB is little beside the rollout itself.
RECORD_BYTES = 64 << 20

# States of one record at most: a tiny body would otherwise be recorded for thousands of steps before the bar moves.
RECORD_STATES = 50


@dataclass(frozen=True)
class Watch:
    """The figures of a rollout that was watched. Each is a tensor (T, B) on the CPU, but for `steps`.

    Attributes:
        steps: The absolute step numbers of the T looks, int (T,).
        quality: The intersection over union with the target, cells in both / cells in either, 0 .. 1 (Jaccard 1912).
        detail: The mean |colour difference| ("rgb", 0 is right, 1 is worst) or the share of right labels ("classes", 1 is
            right), over the cells that body and target share.
        volume: The number of living cells, those with alpha above 0.1.
        peak: The largest |value| in the state.
        finite: Whether all values of the state are finite, bool.
        mse: The mean squared error of premultiplied colours and alpha over the lattice, as papers on colours print it.
    """

    steps: Tensor
    quality: Tensor
    detail: Tensor
    volume: Tensor
    peak: Tensor
    finite: Tensor
    mse: Tensor

    def then(self, later: "Watch") -> "Watch":
        """Joins this watch and a later one along time."""
        return Watch(*(torch.cat([getattr(self, f.name), getattr(later, f.name)]) for f in fields(self)))

    @classmethod
    def beside(cls, watches: "Sequence[Watch]") -> "Watch":
        """Joins watches of other bodies at the same steps, in the order of bodies."""
        figures = [f.name for f in fields(cls) if f.name != "steps"]
        joint = {name: torch.cat([getattr(watch, name) for watch in watches], dim=1) for name in figures}
        return cls(steps=watches[0].steps, **joint)

    def __getitem__(self, index: int | slice) -> "Watch":
        """Selects some of the looks; a single one keeps its axis, so that all figures stay (T, B)."""
        part = slice(index, index + 1 or None) if isinstance(index, int) else index  # `or None`: -1 + 1 would end at 0
        return Watch(*(getattr(self, f.name)[part] for f in fields(self)))


def look(states: list[Compact], steps: list[int], target: Target) -> Watch:
    """Measures recorded states in one pass over their cells.

    The figures are those of `nca3d.iou`, `colour_error` and `label_accuracy`, computed on compact states: most of a lattice
    is empty, and no dense state is ever made.

    Args:
        states: T compact states, all of one batch size B.
        steps: The T absolute step numbers.
        target: The body that they are compared with.

    Returns:
        The figures, (T, B) each.
    """
    batch, count = states[0].batch, len(states)
    volume = target.occupied.numel()
    values = torch.cat([state.values for state in states])
    cells = torch.cat([state.cells for state in states])
    lengths = torch.tensor([len(state.cells) for state in states], device=cells.device)
    # A cell number counts through the batch: its quotient is the body, its remainder the place on the lattice.
    owner = torch.arange(count, device=cells.device).repeat_interleave(lengths) * batch + cells // volume
    place = cells % volume

    alpha = values[:, target.visible]
    alive = alpha > OCCUPIED_ALPHA
    living = _count(alive, owner, count * batch)
    visible = values[:, : target.visible]
    body = alive & (visible.argmax(dim=1) != 0) if target.kind == "classes" else alive
    goal = target.occupied.flatten().to(cells.device)
    both = body & goal[place]
    shared = _count(both, owner, count * batch)
    # either = body + target - both: cells of the target that no state holds needn't be visited.
    either = _count(body, owner, count * batch) + goal.sum() - shared
    quality = torch.where(either > 0, shared / either.clamp_min(1), 1.0)

    truth = target.values.flatten(1).to(values)[:, place[both]].t()
    rows = values[both]
    if target.kind == "classes":
        score = (rows[:, : target.visible].argmax(dim=1) == truth[:, :-1].argmax(dim=1)).float()
    else:
        # A colour that is not a number counts as wholly wrong, like one that is off by more than the range.
        score = (unpremultiply(rows) - unpremultiply(truth)).nan_to_num(1.0).abs().clamp_max(1.0).mean(dim=1)
    detail = torch.zeros(count * batch, device=cells.device).index_add_(0, owner[both], score) / shared.clamp_min(1)
    # A body that shares no cell with its target gets the worst value of either figure.
    detail = torch.where(shared > 0, detail, 0.0 if target.kind == "classes" else 1.0)

    mse = _squared_error(values, body, owner, place, count * batch, target)
    size = values.abs().amax(dim=1)
    finite = torch.ones(count * batch, dtype=torch.bool, device=cells.device)
    finite[owner[~size.isfinite()]] = False
    peak = torch.zeros(count * batch, device=cells.device).scatter_reduce_(0, owner, size.float(), "amax")
    figures = (quality, detail, living, peak, finite, mse)
    return Watch(torch.tensor(steps), *(figure.view(count, batch).cpu() for figure in figures))


def _squared_error(values: Tensor, body: Tensor, owner: Tensor, place: Tensor, length: int, target: Target) -> Tensor:
    """Returns the mean squared error of red, green, blue (premultiplied) and alpha over the whole lattice, float (length,).

    Args:
        values: The channels of all cells that are listed, (N, C).
        body: Which of them belong to a body, bool (N,).
        owner: The number of the body that each belongs to, int (N,), below `length`.
        place: The place of each on the lattice, int (N,).
        length: The number of bodies.
        target: The body that they are compared with; classes are compared in its colours.
    """
    if target.kind == "classes":
        colours = hues(target.visible) if target.palette is None else np.asarray(target.palette)
        palette = torch.cat([torch.as_tensor(colours), torch.ones(target.visible, 1)], dim=1).to(values)
        shown = torch.where(body[:, None], palette[values[:, : target.visible].argmax(dim=1)], 0.0)
        kinds = target.values[:-1].argmax(dim=0).to(palette.device)
        truth = torch.where(target.occupied.to(palette.device)[None], palette[kinds].movedim(-1, 0), 0.0)
    else:
        shown, truth = values[:, : target.visible + 1].nan_to_num(1.0, 1.0, 1.0), target.values.to(values)
    truth = truth.flatten(1)
    # Of the cells that are not listed the whole truth is missing: it is charged to all, and taken back from those that are.
    goal = truth[:, place].t()
    change = ((shown - goal).square() - goal.square()).sum(dim=1)
    error = truth.square().sum() + torch.zeros(length, device=values.device, dtype=change.dtype).index_add_(0, owner, change)
    return error.clamp_min(0) / truth.numel()


def _count(which: Tensor, owner: Tensor, length: int) -> Tensor:
    """Counts the chosen cells of each owner, float (length,)."""
    return torch.bincount(owner[which], minlength=length).float()


@dataclass(frozen=True)
class Trials:
    """A rule, the target that it is judged by, and how trials of it are run.

    A trial is known by a number. Its fire masks, wounds and noise follow from that number and `random_seed` alone, so that
    two conditions with one trial number differ in nothing but the condition.

    Attributes:
        rule: What one cell does.
        target: The body that the rule should grow.
        horizon: The steps after which a body is judged grown.
        samples: The number of bodies grown side by side, B.
        random_seed: Chooses fire masks and wounds.
        executor: The executor's name, see `nca3d.rollout`.
        report: Is called after each part of a rollout with the steps done since the last call, for a progress bar.
    """

    rule: Rule
    target: Target
    horizon: int
    samples: int = 8
    random_seed: int = 0
    executor: str = "auto"
    report: Callable[[int], object] = lambda steps: None

    def with_rule(self, rule: Rule, target: Target | None = None) -> "Trials":
        """Returns the same trials of another rule, and of another target if one is given."""
        return replace(self, rule=rule, target=self.target if target is None else target)

    def seed(self, trial: int) -> int:
        """Returns the random seed of one trial; training never uses it."""
        return evaluation_seed(self.random_seed, trial)

    def generator(self, trial: int) -> torch.Generator:
        """Returns a fresh generator of one trial's wounds and noise, on the CPU: the draws are the same on every device."""
        return torch.Generator().manual_seed(self.seed(trial))

    def seeds(self, positions: Tensor | None = None) -> Compact:
        """Returns the first cells, one for each body.

        Args:
            positions: The (z, y, x) of each body's first cell, int (B, 3); None = where the rule was trained, or the centre.
        """
        return compact(seed_state(self.rule, self.target.size, self.samples, positions), self.rule.dead_value)

    @torch.no_grad()
    def run(self, state: Compact, steps: int, trial: int, *, first_step: int = 0) -> Compact:
        """Runs bodies for some steps without measuring them.

        Args:
            state: The bodies at the beginning.
            steps: How many steps to run; 0 returns the state itself.
            trial: The number that chooses the fire masks.
            first_step: The step number of the first fire mask, so that a trial can go on where it stopped.

        Returns:
            The bodies at the end.
        """
        if not steps:
            return state
        run = {"random_seed": self.seed(trial), "first_step": first_step, "executor": self.executor}
        state = shared_rollout(self.rule, state, steps, **run)  # type: ignore[arg-type]
        self.report(steps)
        return state

    @torch.no_grad()
    def watch(self, state: Compact, steps: int, trial: int, *, every: int = 1) -> tuple[Compact, Watch]:
        """Runs bodies for some steps and measures the first state, every `every`-th after it, and the last.

        Args:
            state: The bodies at the beginning.
            steps: How many steps to run.
            trial: The number that chooses the fire masks.
            every: The steps from one look to the next.

        Returns:
            The last state, and the figures of all looks.
        """
        ranks, own = current(), list(current().share(state.batch))
        if ranks.size == 1 or ranks.splits != "samples":
            return self._watch(state, steps, trial, every, None)
        # Several processes share the bodies out; each gets the figures of all.
        found = self._watch(chosen(state, own), steps, trial, every, torch.tensor(own)) if own else None
        parts = [
            (ranks.share(state.batch, rank), one) for rank, one in enumerate(ranks.gather_objects(found)) if one is not None
        ]
        return joined([(places, one[0]) for places, one in parts]), Watch.beside([one[1] for _, one in parts])

    def _watch(self, state: Compact, steps: int, trial: int, every: int, ids: Tensor | None) -> tuple[Compact, Watch]:
        """Runs and measures bodies with these sample ids, int (B,), as `watch` says; None = 0 .. B−1."""
        watch, done = self.look(state), 0
        while done < steps:
            # The body's size now says how many states fit: bodies grow, so it is asked anew for each part.
            room = RECORD_BYTES // max(1, state.values.numel() * state.values.element_size())
            part = int(min(steps - done, every * max(1, min(room, RECORD_STATES))))
            record = rollout(
                self.rule,
                state,
                part,
                random_seed=self.seed(trial),
                first_step=done,
                sample_ids=ids,
                executor=self.executor,
                record_every=every,
            )
            state = record.states[-1]
            # The first state of a record is the last of the one before: it has been measured.
            watch = watch.then(look(record.states[1:], record.steps[1:].tolist(), self.target))
            done += part
            self.report(part)
        return state, watch

    def apply_wound(self, bodies: Compact, wound: Wound, trial: int) -> Compact:
        """Returns the bodies with the wound, each with a draw of its own."""
        dead = self.rule.dead_value
        return compact(apply_wound(self.rule, dense(bodies, dead), wound, self.generator(trial)), dead)

    def look(self, state: Compact) -> Watch:
        """Measures bodies as they are, without a step: figures of (1, B)."""
        return look([state], [0], self.target)
