"""Named things that a config can ask for: one line registers one's own, and a wing of the house brings its own along.

A wing is a folder of nca3d with a `wing.py`, whose `PROVIDES` says by kind and name what it adds, each as "module:name": it
is looked up when it is first used. An unpacked copy works as well as an installed one, and without the folder the rest stands.
"""

import inspect
from collections import UserDict
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nca3d.errors import InputError, nearest

T = TypeVar("T")


class LazyImport(NamedTuple):
    """The place of a thing that is imported when it is first used: "module:attribute", or "module"."""

    place: str

    def load(self) -> Any:  # whatever lies there
        """Imports the thing and returns it."""
        module, _, attribute = self.place.partition(":")
        home = import_module(module)
        return getattr(home, attribute) if attribute else home


@cache
def wings() -> tuple[Mapping[str, Mapping[str, str]], ...]:
    """Returns what each wing provides: {kind: {name: "module:attribute"}}."""
    folders = sorted(file.parent.name for file in Path(__file__).parent.glob("*/wing.py"))
    return tuple(import_module(f"nca3d.{folder}.wing").PROVIDES for folder in folders)


def wing_entries(kind: str) -> dict[str, LazyImport]:
    """Returns all that wings provide of one kind, by name."""
    return {name: LazyImport(place) for wing in wings() for name, place in wing.get(kind, {}).items()}


class Registry(UserDict[str, Any]):
    """A dictionary of one kind of thing ("rule", "loss", "target") whose look-up fails with one clear line."""

    def __init__(self, kind: str) -> None:
        super().__init__(wing_entries(kind))
        self.kind = kind

    def __getitem__(self, name: str) -> Any:
        thing = self.data[name]
        if isinstance(thing, LazyImport):
            thing = self.data[name] = thing.load()
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator: `@LOSSES.register("mine")` makes `mine` a value that configs may name.

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
        """Returns the thing called `name`.

        Raises:
            InputError: no such name; the line lists the names there are and the nearest one.
        """
        if name not in self:
            raise InputError(where, field or self.kind, repr(name), f"{', '.join(sorted(self))}{nearest(name, self)}")
        return self[name]


def constructor_arguments(make: Callable[..., Any]) -> set[str] | None:
    """Returns the names of the arguments that a constructor takes; None = any."""
    parameters = inspect.signature(make).parameters.values()
    return None if any(entry.kind is entry.VAR_KEYWORD for entry in parameters) else {entry.name for entry in parameters}


def accepted_arguments(make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those options that a constructor takes: a rule of one's own need not take what means nothing to it."""
    names = constructor_arguments(make)
    return {name: value for name, value in options.items() if names is None or name in names}


def _origin(thing: Any) -> tuple[str, str]:
    return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(thing))
