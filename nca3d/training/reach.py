"""Can a body grow in the steps that it has? Growth moves at most one cell a step (law 2), and seldom through empty space."""

import numpy as np

from nca3d.targets import Target

# The share of a body's cells above which cells that are late are told: a few stray voxels are nobody's worry.
NOTABLE_SHARE = 0.01

# Pieces that are named by their cells; more are counted.
NAMED = 4


def reach_note(target: Target, steps: int) -> str:
    """Returns what to know of a body before it is trained: pieces, and cells that rollouts can't reach; "" = it reaches all.

    Args:
        target: The body to grow.
        steps: The length of the longest rollout.
    """
    return "\n".join(line for line in (_pieces(target), _late(target, steps)) if line)


def _pieces(target: Target) -> str:
    """Returns a line about a body that doesn't hang together, or ""."""
    pieces, count = target.pieces, len(target.pieces.cells)
    sizes = np.bincount(pieces.piece).tolist()
    if len(sizes) < 2:
        return ""
    more = f" and {len(sizes) - NAMED} smaller" if len(sizes) > NAMED else ""
    told = f"note: {target.name}: {len(sizes)} pieces of {', '.join(f'{size:,}' for size in sizes[:NAMED])}{more} cells"
    apart = int((pieces.cluster > 0).sum())
    if not apart:
        return f"{told} with one void cell between: bridged, growth crosses it"
    bridged = ", others with one void cell between are bridged" if len(sizes) > pieces.cluster.max() + 1 else ""
    return (
        f"{told}, more than one void cell apart{bridged}: {apart:,} of {count:,} cells ({_percent(apart, count)}) are out of "
        "reach; --target-options pieces=join joins them by the shortest lines of cells, pieces=largest leaves them out"
    )


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


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 else f"{share:.2g} %"
