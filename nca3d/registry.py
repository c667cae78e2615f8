"""Things that a config can ask for by name. One line registers your own; a wing of the package adds its own by itself.

A wing is a folder of nca3d with a `wing.py`, whose `PROVIDES` lists what it adds, by kind and name, each as "module:name"; that
is imported when it is first used. An unpacked copy works as well as an installed one, and the rest works without the folder.
"""

import inspect
from collections import UserDict
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nca3d.errors import ArgumentError, InputError, nearest
from nca3d.process.supervise import running

T = TypeVar("T")


class LazyImport(NamedTuple):
    """A thing that is imported when it is first used.

    Attributes:
        place: Where it is: "module:attribute", or "module".
    """

    place: str

    def load(self) -> Any:  # whatever lies there
        """Imports the thing and returns it."""
        # Late, so that a wing costs nothing at import: `nca3d --help` must be quick.
        module, _, attribute = self.place.partition(":")
        home = import_module(module)
        return getattr(home, attribute) if attribute else home


@cache
def wings() -> tuple[Mapping[str, Mapping[str, str]], ...]:
    """Returns what each wing provides: {kind: {name: "module:attribute"}}."""
    # By looking for files, not by entry points: those are known only once a package is installed.
    folders = sorted(file.parent.name for file in Path(__file__).parent.glob("*/wing.py"))
    return tuple(import_module(f"nca3d.{folder}.wing").PROVIDES for folder in folders)


def wing_entries(kind: str) -> dict[str, LazyImport]:
    """Returns all things of one kind that wings provide, by name."""
    return {name: LazyImport(place) for wing in wings() for name, place in wing.get(kind, {}).items()}


class Registry(UserDict[str, Any]):
    """A dictionary of one kind of thing ("rule", "loss", "target") whose look-up fails with one clear line.

    Args:
        kind: What it holds, as error messages name it.

    Attributes:
        plugins: The files of users that registered things, by the names of these.
    """

    def __init__(self, kind: str) -> None:
        self.plugins: dict[str, str] = {}
        super().__init__(wing_entries(kind))
        self.kind = kind

    def __setitem__(self, name: str, thing: Any) -> None:
        self.plugins.pop(name, None)
        if (file := running()) is not None:
            self.plugins[name] = file
        super().__setitem__(name, thing)

    def __getitem__(self, name: str) -> Any:
        thing = self.data[name]
        # Imported once; from then on the dictionary holds the thing itself.
        if isinstance(thing, LazyImport):
            thing = self.data[name] = thing.load()
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Returns a decorator: `@LOSSES.register("mine")` makes `mine` a value that configs may name.

        Raises:
            ValueError: The name is taken by another thing, or can't stand in a config. Running the same definition again, as in
                a notebook, replaces it.
        """
        if not isinstance(name, str) or not name or not name.isprintable():
            raise ArgumentError(self.kind, repr(name), "a name: a printable text that is not empty", "register")

        def add(thing: T) -> T:
            # A silent replacement would change what other people's configs mean.
            if name in self and _origin(self[name]) != _origin(thing):
                raise ValueError(f"{self.kind}: {name!r} is already registered")
            self[name] = thing
            return thing

        return add

    def find(self, name: str, where: object = "config", field: str | None = None, hint: str = "") -> Any:
        """Returns the thing called `name`.

        Args:
            name: The name that is looked up.
            where: The file, flag or object that named it, for the error message.
            field: The field that named it; None = the kind of the registry.
            hint: What the error says after the names there are, such as `searched`.

        Raises:
            InputError: There is no such name; the line lists the names there are and the nearest one.
        """
        if name not in self:
            names = f"{', '.join(sorted(self))}{nearest(name, self)}"
            raise InputError(where, field or self.kind, repr(name), names + hint)
        return self[name]


def searched(plugins: Iterable[str]) -> str:
    """Returns what an error says after the names there are: that plug-ins were run and don't register the one, or how to.

    Args:
        plugins: The files that were run.
    """
    files = ", ".join(plugins)
    return f"; not registered by {files}" if files else "; one of your own is registered by --plugins FILE.py"


def constructor_arguments(make: Callable[..., Any]) -> set[str] | None:
    """Returns the names of the arguments that a constructor takes; None = it takes any (`**options`)."""
    parameters = inspect.signature(make).parameters.values()
    return None if any(entry.kind is entry.VAR_KEYWORD for entry in parameters) else {entry.name for entry in parameters}


def accepted_arguments(make: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those options that a constructor takes: your own rule need not take what means nothing to it."""
    names = constructor_arguments(make)
    return {name: value for name, value in options.items() if names is None or name in names}


def _origin(thing: object) -> tuple[str, str]:
    """Returns where a thing was defined, its module and name: a cell of a notebook that runs twice gives the same."""
    return getattr(thing, "__module__", ""), getattr(thing, "__qualname__", repr(thing))
