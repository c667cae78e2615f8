"""What a loss term declares: how many recorded states it looks at, and which kinds of target it fits."""

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, TypeVar

from nca3d.errors import ArgumentError
from nca3d.registry import Registry

# The kinds of target.
KINDS = ("rgb", "classes", "signal")

Term = TypeVar("Term", bound=Callable[..., Any])


def declared(moments: int = 1, kinds: Iterable[str] = KINDS) -> Callable[[Term], Term]:
    """Returns a decorator that declares what a loss term looks at.

    Args:
        moments: how many recorded states it needs, the last ones of a rollout; 1 or more.
        kinds: which kinds of target it fits, some of `KINDS`.

    Raises:
        ValueError: moments is below 1, or a kind is unknown.
    """
    kinds = tuple(kinds)
    if moments < 1 or not kinds or not set(kinds) <= set(KINDS):
        raise ArgumentError("loss", f"moments {moments}, kinds {kinds}", f"1 or more, some of {', '.join(KINDS)}")

    def declare(term: Term) -> Term:
        # A term declared before, and registered again under a second name, keeps the first declaration; a copy gets the new.
        if hasattr(term, "kinds"):
            term = wraps(term)(partial(term))  # type: ignore[assignment]
        term.moments, term.kinds = moments, kinds  # type: ignore[attr-defined]
        return term

    return declare


class Losses(Registry):
    """Loss terms by name: `@LOSSES.register("smooth", moments=2, kinds=("rgb",))` adds a term of your own."""

    def register(  # type: ignore[override]
        self, name: str, *, moments: int | None = None, kinds: Iterable[str] | None = None
    ) -> Callable[[Term], Term]:
        """Returns a decorator that adds a loss term to the registry, like `Registry.register`.

        Args:
            name: a name that is not taken.
            moments: see `declared`; None = what the term declares itself.
            kinds: see `declared`; None = what the term declares itself.
        """
        enter = super().register(name)
        if moments is None and kinds is None:
            return enter
        return lambda term: enter(declared(1 if moments is None else moments, KINDS if kinds is None else kinds)(term))

    def fitting(self, kind: str) -> list[str]:
        """Returns the names of the terms that fit targets of one kind."""
        return [name for name in self if kind in kinds_of(self[name])]

    def moments(self, names: Iterable[str]) -> int:
        """Returns how many recorded states these terms need: the largest number that any of them declares."""
        return max((getattr(self[name], "moments", 1) for name in names), default=1)


def kinds_of(term: object) -> tuple[str, ...]:
    """Returns the kinds of target that a term fits; a term that declares none fits all."""
    return getattr(term, "kinds", KINDS)
