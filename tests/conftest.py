"""One thread, quiet and repeatable: two threads on a busy two-core box turn short operations into long ones."""

import ctypes
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, MutableMapping
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# A test run started in the background inherits an ignored Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same few examples in every run of the tests, many new ones in every nightly run; what fails there is printed as a
# decorator that repeats it, and belongs into the test.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("nca3d", max_examples=25, derandomize=True, **COMMON)
settings.register_profile("fast", max_examples=5, derandomize=True, **COMMON)
settings.register_profile("nightly", max_examples=200, derandomize=False, print_blob=True, **COMMON)
settings.load_profile(os.environ.get("NCA3D_EXAMPLES", "nca3d"))


def pytest_collection_modifyitems(items):
    """Where PyTorch Geometric is missing, the executor that needs it is skipped, in every test over executors."""
    if importlib.util.find_spec("torch_geometric") is None:
        for item in items:
            if hasattr(item, "callspec") and item.callspec.params.get("executor") == "graph":
                item.add_marker(pytest.mark.skip(reason="needs PyTorch Geometric: pip install 'nca3d[graph]'"))


@pytest.fixture
def swapped():
    """A mirror of a C struct with two of its fields in each other's place: swapped(mirror, one, other)."""

    def swap(mirror: type[ctypes.Structure], one: str, other: str) -> type[ctypes.Structure]:
        fields = dict((field[0], field) for field in mirror._fields_)
        turned = {one: fields[other], other: fields[one]}
        return type(mirror.__name__, (ctypes.Structure,), {"_fields_": [turned.get(name, fields[name]) for name in fields]})

    return swap


@pytest.fixture
def registries() -> Iterator[None]:
    """What a test registers, itself or by a plugin, is taken out of all registries after it."""
    before = [(table, dict(table)) for table in known_registries().values()]
    yield
    for table, entries in before:
        for name in table.keys() - entries.keys():
            del table[name]
        table.update(entries)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_registered_by_an_import_of_tests() -> None:
    """All that is registered when the first test begins belongs to the three houses."""
    for place, table in known_registries().items():
        homes = {name: getattr(thing, "__module__", type(thing).__module__) for name, thing in raw(table).items()}
        ours = (*HOUSES, "builtins")
        strangers = [f"{name} of {home}" for name, home in homes.items() if home.split(".")[0] not in ours]
        assert not strangers, f"{place}: {', '.join(strangers)}: see the fixture `registries`"


@pytest.fixture(autouse=True)
def _registries_are_left_as_they_were() -> Iterator[None]:
    """Else a test would change what the ones after it see."""
    before = {place: set(table) for place, table in known_registries().items()}
    yield
    tables = known_registries()
    changed = {place: sorted(names ^ set(tables[place])) for place, names in before.items() if names != set(tables[place])}
    for place in changed:
        for name in set(tables[place]) - before[place]:
            del tables[place][name]  # told once, by the test that left it
    assert not changed, f"left behind or taken away: {changed}: see the fixture `registries`"


HOUSES = ("nca3d", "pools", "visualize")
_found: dict[str, MutableMapping[str, Any]] = {}
_looked_at: set[str] = set()


def known_registries() -> dict[str, MutableMapping[str, Any]]:
    """The registries of the modules imported so far, by "module.NAME". Each module is looked at once: this runs in every test."""
    for name in [name for name in sys.modules if name.split(".")[0] in HOUSES and name not in _looked_at]:
        _looked_at.add(name)
        for key, value in list(vars(sys.modules[name]).items()):
            is_registry = type(value).__module__ == "nca3d.registry" or isinstance(getattr(value, "fitting", None), type(raw))
            if is_registry or (name, key) == ("pools.damage", "DAMAGES"):
                _found[f"{name}.{key}"] = value
    return _found
