"""Named things that a config can ask for: one line registers one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from nca3d.errors import InputError, nearest

T = TypeVar("T")


class Registry(dict[str, Any]):
    """A dictionary of one kind of thing ("rule", "loss", "target") whose look-up fails with one clear line."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: `@LOSSES.register("mine")` makes `mine` a value that configs may name.

        Raises:
            ValueError: the name is taken (a silent replacement would change other people's runs). Defining one's own thing
                again, as one does in a notebook, replaces it.
        """

        def add(thing: T) -> T:
            if name in self and _origin(self[name]) != _origin(thing):
                raise ValueError(f"{self.kind}: {name!r} is already registered")
            self[name] = thing
            return thing

        return add

    def find(self, name: str, where: object = "config", field: str | None = None) -> Any:
        """The thing called `name`.

        Raises:
            InputError: no such name; the line lists the names there are and the nearest one.
        """
        if name not in self:
            raise InputError(where, field or self.kind, repr(name), f"{', '.join(sorted(self))}{nearest(name, self)}")
        return self[name]


def _origin(thing: Any) -> tuple[str, str]:
    return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(thing))
