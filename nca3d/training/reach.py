"""Can a body be grown in the steps that it is given? Growth moves one cell a step at most (law 2), seldom through nothing."""

import torch
from torch import Tensor

from nca3d.lattice import centre, dilate
from nca3d.targets import Target

# The share of a body's cells from which a note is due.
WORTH_SAYING = 0.01


def steps_to_reach(body: Tensor) -> Tensor:
    """How many steps along the body each of its cells is from the centre cell, where growth begins.

    Args:
        body: bool (D, H, W).

    Returns:
        int32 (D, H, W); −1 outside the body and in pieces apart from the one where growth begins.
    """
    found = torch.full(body.shape, -1, dtype=torch.int32)
    front = torch.zeros_like(body)
    front[centre((body.shape[0], body.shape[1], body.shape[2]))] = True
    steps = 0
    while not (front & body).any() and not front.all():  # a body around an empty centre begins at its nearest cell
        front, steps = dilate(front), steps + 1
    front &= body
    while front.any():
        found[front] = steps
        front, steps = dilate(front) & body & (found < 0), steps + 1
    return found


def reach_note(target: Target, steps: int) -> str:
    """What to tell before training: cells that rollouts of so many steps can't reach, or ""."""
    away = steps_to_reach(target.occupied.cpu())[target.occupied.cpu()]
    late, apart = int((away > steps).sum()), int((away < 0).sum())
    if late + apart <= WORTH_SAYING * len(away):
        return ""
    farthest = int(away.max())
    parts = [f"{late:,} lie more than {steps} steps from the seed (the farthest {farthest})"] * bool(late)
    parts += [f"{apart:,} in pieces that hang on nothing"] * bool(apart)
    advice = f"; rollouts of {round(1.2 * farthest)} to {round(1.7 * farthest)} steps reach them: --steps" if late else ""
    return f"note: of the {len(away):,} cells of {target.name}, {' and '.join(parts)}{advice}"
