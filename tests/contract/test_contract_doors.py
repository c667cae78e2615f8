"""Doors are there under their names, with the arguments of 0.1.0 in their places; more may have come."""

import inspect
from typing import Any

import pytest
from contract_tools import frozen

import nca3d
import pools
import visualize

ROOMS = {"nca3d": nca3d, "pools": pools, "visualize": visualize}
DOORS = frozen("doors")


def door(path: str) -> Any:
    room, *names = path.split(".")
    found: Any = ROOMS[room]
    for name in names:
        found = getattr(found, name)
    return found


@pytest.mark.parametrize("path", DOORS)
def test_arguments_stay(path):
    now = {name: p for name, p in inspect.signature(door(path)).parameters.items() if name != "self"}
    old = DOORS[path]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in now.values())
    places = [name for name, p in now.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    asked = [name for name, (kind, _) in old.items() if kind == "POSITIONAL_OR_KEYWORD"]
    assert places[: len(asked)] == asked, "arguments by place keep their order"
    for name, (kind, default) in old.items():
        if kind.startswith("VAR"):
            assert any(p.kind.name == kind for p in now.values())
            continue
        assert name in now or open_ended, name
        if name in now and default is not None:
            assert repr(now[name].default) == default, name
    for name, parameter in now.items():  # whatever is new can be left out
        assert name in old or parameter.default is not parameter.empty or parameter.kind.name.startswith("VAR"), name


@pytest.mark.parametrize("name", frozen("names")["nca3d"])
def test_names_are_doors(name):
    assert name in dir(nca3d)
    assert getattr(nca3d, name) is not None


def test_a_door_stays_a_callable_once_all_else_is_imported():
    """A file of the same name must not take its place."""
    for name in ("zoo", "load", "rollout", "live", "compact", "evaluate", "train"):
        assert callable(getattr(nca3d, name)) and not inspect.ismodule(getattr(nca3d, name))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError):
        _ = nca3d.no_such_door


def test_a_version_is_said():
    assert nca3d.__version__.split(".")[0].isdigit()
    assert issubclass(nca3d.InputError, ValueError) and issubclass(nca3d.RunError, Exception)
