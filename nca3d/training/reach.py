"""Can a body grow in the steps that it has? Growth moves at most one cell a step (law 2), and seldom through empty space."""

from nca3d.targets import Target
from nca3d.targets.pieces import describe

# The share of a body's cells above which cells that are late are told: a few stray voxels are nobody's worry.
NOTABLE_SHARE = 0.01


def reach_note(target: Target, steps: int) -> str:
    """Returns what to know of a body before it is trained: pieces, and cells that rollouts can't reach; "" = it reaches all.

    Args:
        target: The body to grow.
        steps: The length of the longest rollout.
    """
    return "\n".join(line for line in (_pieces(target), _late(target, steps)) if line)


def _pieces(target: Target) -> str:
    """Returns a line about a body that doesn't hang together, or ""."""
    return f"note: {target.name}: {describe(target.pieces)}" if target.pieces.piece.any() else ""


def _late(target: Target, steps: int) -> str:
    """Returns a line about cells farther from the first cell than the longest rollout has steps, or ""."""
    distance = target.pieces.steps_from(target.start)
    late, farthest = int((distance > steps).sum()), int(distance.max())
    if late <= NOTABLE_SHARE * len(distance):
        return ""
    # Growth is slower than one cell a step, hence 1.2 and 1.7 times the distance.
    return (
        f"note: of the {len(distance):,} cells of {target.name}, {late:,} lie more than {steps} steps from the first cell (the "
        f"farthest {farthest}); rollouts of {round(1.2 * farthest)} to {round(1.7 * farthest)} steps reach them: --steps"
    )
