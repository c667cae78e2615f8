"""Damages by name: the registry, and a damage of random kind and severity for each sample, as training draws it."""

import difflib
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from pools import places
from pools.carving import Size, bodies_and_generator
from pools.errors import ArgumentError

# The registered damages by name; `pools.damage` has those that are shipped.
DAMAGES: dict[str, Callable[..., Tensor]] = {}
_F = TypeVar("_F", bound=Callable[..., Tensor])


def register(name: str) -> Callable[[_F], _F]:
    """Returns a decorator that adds a damage to `DAMAGES`.

    A damage that is defined again in the same place replaces the old one, so a cell of a notebook can be run twice.

    Args:
        name: a name that is not taken.

    Raises:
        ValueError: the name can't stand in a config; the decorator says so where it is taken.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ArgumentError("damage", "name", repr(name), "a printable text that is not empty")

    def enter(damage: _F) -> _F:
        known = DAMAGES.get(name, damage)
        if (known.__module__, known.__qualname__) != (damage.__module__, damage.__qualname__):
            raise ArgumentError("damage", "name", repr(name), "a name that is not taken: " + ", ".join(DAMAGES))
        DAMAGES[name] = damage
        return damage

    return enter


def draw(
    names: str | Sequence[str],
    size: Size,
    n: int,
    *,
    severity: float | tuple[float, float] = (0.1, 0.6),
    body: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draws a damage of random kind and severity for each sample, as training uses it.

    Args:
        names: registered damages; one that is listed twice is twice as likely.
        size: (D,H,W).
        n: number of samples.
        severity: one number, or a range (low, high) within 0..1 to draw from evenly.
        body: bool (D,H,W) or (n,D,H,W); None = the whole lattice.
        generator: draws names, severities, centres and directions.

    Returns:
        bool (n,1,D,H,W), True = destroyed.

    Raises:
        ValueError: a name is unknown (the message has the nearest one), or the range is not within 0..1.
    """
    damages, (low, high) = _named(names), _range(severity)
    bodies, g = bodies_and_generator(size, n, body, generator)
    # Kinds and severities for all samples at once, so that they don't depend on how samples are grouped below.
    which = torch.randint(len(damages), (n,), generator=g, device=g.device).to(bodies.device)
    amount = low + (high - low) * places.uniform((n,), g, bodies.device)
    mask = torch.zeros(n, 1, *size, dtype=torch.bool, device=bodies.device)
    for number, damage in enumerate(damages):
        rows = (which == number).nonzero().flatten()
        if len(rows):
            mask[rows] = damage(size, len(rows), severity=amount[rows], body=bodies[rows], generator=g)
    return mask


def mixture(
    names: str | Sequence[str], *, severity: float | tuple[float, float] = (0.1, 0.6)
) -> Callable[[Tensor, torch.Generator | None], Tensor]:
    """Returns `draw` with fixed names and severity, as a function (bodies bool (k,D,H,W), generator) -> bool (k,1,D,H,W).

    Args:
        names: see `draw`.
        severity: see `draw`.

    Raises:
        ValueError: a name is unknown, or the range is not within 0..1.
    """
    # Checked now and not at the first use, which may come hours into a training.
    _named(names)
    _range(severity)

    def damage(bodies: Tensor, generator: torch.Generator | None = None) -> Tensor:
        size, n = bodies.shape[1:], len(bodies)
        return draw(names, size, n, severity=severity, body=bodies, generator=generator)

    return damage


def _range(severity: float | Sequence[float]) -> tuple[float, float]:
    """Returns the checked range of a severity; one number is a range of length 0."""
    low, high = (severity, severity) if isinstance(severity, int | float) else tuple(severity)
    if not 0 <= low <= high <= 1:
        raise ArgumentError("damage", "severity", severity, "0..1 or (low, high) within it")
    return float(low), float(high)


def _named(names: str | Sequence[str]) -> list[Callable[..., Tensor]]:
    """Returns the damages of these names, once for each time that a name is listed."""
    requested = [names] if isinstance(names, str) else list(names)
    if not requested:
        raise ArgumentError("damage", "names", "none", ", ".join(DAMAGES))
    for name in requested:
        if name not in DAMAGES:
            near = difflib.get_close_matches(str(name), DAMAGES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ArgumentError("damage", "name", repr(name), ", ".join(DAMAGES) + hint)
    return [DAMAGES[name] for name in requested]
