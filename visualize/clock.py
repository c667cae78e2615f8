"""Time in pictures: the steps of frames, the frames at which a body was damaged, and one clock for several films."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from visualize.arguments import as_number, quoted
from visualize.errors import ArgumentError

Damage = int | Sequence[int] | Mapping[int, str]
DAMAGE_COLOUR = (213, 94, 0)  # vermillion of Okabe & Ito: told from black and grey by every eye


def as_steps(steps: Sequence[int] | None, count: int, where: str) -> list[int] | None:
    """Whole steps, one for each of `count` frames; None stays None.

    Raises:
        ValueError: another number of them, or something that isn't a number.
    """
    if steps is None:
        return None
    try:
        numbers = [int(step) for step in steps]
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(where, "steps", quoted(steps), f"one whole number for each of {count} frames") from None
    if len(numbers) != count:
        raise ArgumentError(where, "steps", f"{len(numbers)} labels", f"one for each of {count} frames")
    return numbers


def as_marks(damage_at: Damage | None, count: int, where: str) -> dict[int, str]:
    """Returns {index of the first frame after damage: word}, from an index, several of them, or the mapping itself.

    Raises:
        ValueError: an index beyond the frames.
    """
    if damage_at is None:
        return {}
    try:
        if isinstance(damage_at, Mapping):
            marks = {int(frame): str(word) for frame, word in damage_at.items()}
        else:
            marks = {int(frame): "damage" for frame in np.atleast_1d(np.asarray(damage_at))}
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(where, "damage_at", quoted(damage_at), f"a frame index 0..{count - 1}") from None
    for frame in marks:
        if not 0 <= frame < count:
            raise ArgumentError(where, "damage_at", frame, f"a frame index 0..{count - 1}")
    return marks


def check_fps(fps: object, where: str) -> float:
    """Frames a second as a float; ValueError unless 0.1 to 60: slower ones overflow the clocks of GIF and WebP."""
    return as_number(fps, where, "fps", 0.1, 60, "0.1 to 60")


def one_clock(series: Mapping[str, Sequence[int]], where: str) -> tuple[list[int], dict[str, list[int]]]:
    """The steps of a film of several series, and which frame of each series it shows at each of them.

    The clock stops at every step of every series; a series shows its latest frame by then (its first before that).
    A step that one series has twice, such as before and after a cut, comes twice.

    Args:
        series: name → (T,) steps that don't fall.
        where: who asks, for errors.

    Returns:
        (N,) steps, and name → (N,) indices of frames.

    Raises:
        ValueError: steps that fall.
    """
    keys: dict[str, list[tuple[int, int]]] = {}
    for name, steps in series.items():
        if any(later < earlier for earlier, later in pairwise(steps)):
            raise ArgumentError(where, "steps", f"steps of {name!r} that fall", "steps that rise")
        seen: Counter[int] = Counter()
        keys[name] = []
        for step in steps:
            keys[name].append((step, seen[step]))
            seen[step] += 1
    times = sorted({key for some in keys.values() for key in some})
    frames: dict[str, list[int]] = {}
    for name, own in keys.items():
        latest, frames[name] = 0, []
        for time in times:
            while latest + 1 < len(own) and own[latest + 1] <= time:
                latest += 1
            frames[name].append(latest)
    return [step for step, _ in times], frames
