"""Can a body grow in the steps that it has? Growth moves at most one cell a step (law 2), and seldom through empty space."""

import torch
from torch import Tensor

from nca3d.lattice import centre, dilate
from nca3d.targets import Target

# The share of a body's cells above which a warning is shown: a few stray voxels are nobody's worry.
NOTABLE_SHARE = 0.01


def steps_to_reach(body: Tensor) -> Tensor:
    """Returns how many steps each cell of a body is from the centre cell, where growth begins, along the body.

    Args:
        body: bool (D, H, W).

    Returns:
        int32 (D, H, W); −1 outside the body and in pieces that are not connected to the one where growth begins.
    """
    distance = torch.full(body.shape, -1, dtype=torch.int32)
    front = torch.zeros_like(body)
    front[centre((body.shape[0], body.shape[1], body.shape[2]))] = True
    steps = 0
    # A body around an empty centre, such as a ring, begins at its cells nearest to the centre.
    while not (front & body).any() and not front.all():
        front, steps = dilate(front), steps + 1
    front &= body
    while front.any():
        distance[front] = steps
        front, steps = dilate(front) & body & (distance < 0), steps + 1
    return distance


def reach_note(target: Target, steps: int) -> str:
    """Returns a warning about cells that rollouts of this length can't reach; "" if they reach nearly all.

    Args:
        target: the body to grow.
        steps: length of the longest rollout.
    """
    distance = steps_to_reach(target.occupied.cpu())[target.occupied.cpu()]
    late, apart = int((distance > steps).sum()), int((distance < 0).sum())
    if late + apart <= NOTABLE_SHARE * len(distance):
        return ""
    farthest = int(distance.max())
    parts = [f"{late:,} lie more than {steps} steps from the seed (the farthest {farthest})"] * bool(late)
    parts += [f"{apart:,} in pieces that hang on nothing"] * bool(apart)
    # Growth is slower than one cell a step, hence 1.2 and 1.7 times the distance.
    advice = f"; rollouts of {round(1.2 * farthest)} to {round(1.7 * farthest)} steps reach them: --steps" if late else ""
    return f"note: of the {len(distance):,} cells of {target.name}, {' and '.join(parts)}{advice}"
