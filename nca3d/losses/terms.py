"""What a loss term says of itself: of how many recorded states it is a function, and for which kinds of target."""

from collections.abc import Callable, Iterable
from functools import partial, wraps
from typing import Any, TypeVar

from nca3d.errors import ArgumentError
from nca3d.registry import Registry

# What a target can be of.
KINDS = ("rgb", "classes", "signal")

Term = TypeVar("Term", bound=Callable[..., Any])


def declared(moments: int = 1, kinds: Iterable[str] = KINDS) -> Callable[[Term], Term]:
    """Decorator: the term looks at so many recorded states, the last ones of a rollout, and fits these kinds of target.

    Raises:
        ValueError: fewer than one state, or a kind that is none.
    """
    kinds = tuple(kinds)
    if moments < 1 or not kinds or not set(kinds) <= set(KINDS):
        raise ArgumentError("loss", f"moments {moments}, kinds {kinds}", f"1 or more, some of {', '.join(KINDS)}")

    def declare(term: Term) -> Term:
        if hasattr(term, "kinds"):  # one that says something of itself already goes on saying it under its own name
            term = wraps(term)(partial(term))  # type: ignore[assignment]
        term.moments, term.kinds = moments, kinds  # type: ignore[attr-defined]
        return term

    return declare


class Losses(Registry):
    """Loss terms by name: `@LOSSES.register("smooth", moments=2, kinds=("rgb",))` adds one's own."""

    def register(  # type: ignore[override]
        self, name: str, *, moments: int | None = None, kinds: Iterable[str] | None = None
    ) -> Callable[[Term], Term]:
        """As `Registry.register`; moments, kinds: see `declared`, None = what the term says of itself."""
        enter = super().register(name)
        if moments is None and kinds is None:
            return enter
        return lambda term: enter(declared(1 if moments is None else moments, KINDS if kinds is None else kinds)(term))

    def fitting(self, kind: str) -> list[str]:
        """The names of the terms for targets of one kind."""
        return [name for name in self if kind in kinds_of(self[name])]

    def moments(self, names: Iterable[str]) -> int:
        """How many recorded states these terms need: the most that any of them does."""
        return max((getattr(self[name], "moments", 1) for name in names), default=1)


def kinds_of(term: Any) -> tuple[str, ...]:
    """The kinds that a term fits; one that says nothing fits all."""
    return getattr(term, "kinds", KINDS)
