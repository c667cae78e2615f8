"""What a cube says to questions, and whether it is right: the quality of a cube, as `quality.py` has that of a body."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.rollout import rollout

AT_ONCE = 64
"""Questions that are asked at the same time."""


class Judged(NamedTuple):
    """Of each question (N,): whether the right answer is the likest of all, among the five likest, and its cosine."""

    top1: Tensor
    top5: Tensor
    cosine: Tensor

    def figures(self) -> dict[str, float]:
        """The means."""
        return {name: float(values.float().mean()) for name, values in self._asdict().items()}


@torch.no_grad()
def say(
    rule: GMLPRule,
    asked: Tensor,
    steps: int,
    *,
    random_seed: int = 0,
    sample_ids: Tensor | None = None,
    states: Tensor | None = None,
    executor: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Ask a cube, a new one for each question.

    Args:
        rule: the cube's.
        asked: (N, E), what `GMLPRule.ask` takes.
        steps: how long it thinks.
        random_seed: chooses the fire masks.
        sample_ids: int (N,), who each question is for the fire masks; default 0 .. N−1.
        states: (N, C, D, H, W) to begin with; default at rest.
        executor: see `rollout`.

    Returns:
        What the back face says, (N, H·W), and the last states, (N, C, D, H, W).
    """
    training = rule.training
    rule.eval()
    said, ends = [], []
    who = torch.arange(len(asked)) if sample_ids is None else sample_ids
    for ids in torch.arange(len(asked)).split(AT_ONCE):
        state = rule.rest(len(ids), asked.device) if states is None else states[ids]
        told = rule.ask(asked[ids])
        state = rollout(rule, state, steps, random_seed=random_seed, sample_ids=who[ids], inputs=told, executor=executor)
        said.append(rule.answer(state))
        ends.append(state)
    rule.train(training)
    return torch.cat(said), torch.cat(ends)


@torch.no_grad()
def judge(said: Tensor, goals: Tensor, right: Tensor) -> Judged:
    """Look up what was said among all answers.

    Args:
        said: (N, P).
        goals: (A, P), the surfaces of all distinct answers.
        right: int64 (N,), which of them is the right one.
    """
    alike = F.normalize(said.float(), dim=1) @ F.normalize(goals.float(), dim=1).T
    alike = torch.where(alike.isfinite(), alike, -1.0)  # what is no number is as far from everything as can be
    cosine = alike.gather(1, right[:, None])
    # Ties count against the cube: a constant answer is not right by being the first of equals.
    better = (alike >= cosine).sum(dim=1) - 1
    return Judged(better < 1, better < 5, cosine[:, 0])
