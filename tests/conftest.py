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
    """Executors are skipped, in every test over them, where they can't run: without PyTorch Geometric, or compiled on a GPU."""
    for item in items:
        asked = item.callspec.params if hasattr(item, "callspec") else {}
        if asked.get("device") == "cuda" and asked.get("executor") in ("compiled", "event, step by step"):
            item.add_marker(pytest.mark.skip(reason="compiled code is for processors"))
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


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"))]


# For the session: Hypothesis asks each of its examples in the same place.
@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that a law holds on; where there is no GPU, that half is skipped."""
    return torch.device(request.param)


HOUSES = ("nca3d", "pools", "visualize")
_found: dict[str, MutableMapping[str, Any]] = {}
_looked_at: set[str] = set()


def known_registries() -> dict[str, MutableMapping[str, Any]]:
    """The registries of the modules imported so far, by "module.NAME". Every test asks: each module is looked at once."""
    new = sys.modules.keys() - _looked_at
    _looked_at.update(new)
    registry = sys.modules.get("nca3d.registry")
    for module in sorted(name for name in new if name.split(".")[0] in HOUSES):
        for name, value in list(vars(sys.modules[module]).items()):
            is_one = (module, name) == ("pools.damage", "DAMAGES") or (registry and isinstance(value, registry.Registry))
            if is_one and not any(value is known for known in _found.values()):
                _found[f"{module}.{name}"] = value
    return _found


def left_behind(before: dict[str, set[str]]) -> dict[str, list[str]]:
    """The names that registries have and had not before, or the other way round, by registry."""
    after = known_registries()
    return {place: sorted(names ^ set(after[place])) for place, names in before.items() if names != set(after[place])}


@pytest.fixture(scope="session", autouse=True)
def _tests_register_nothing_when_they_are_imported() -> None:
    for place, registry in known_registries().items():
        # Wings' things are not loaded by being looked at.
        things = getattr(registry, "data", registry)
        homes = {name: getattr(thing, "__module__", type(thing).__module__).split(".")[0] for name, thing in things.items()}
        strangers = [name for name, home in homes.items() if home not in (*HOUSES, "builtins")]
        assert not strangers, f"{place}: {strangers}: registered by the import of a test; see the fixture `registries`"


@pytest.fixture(autouse=True)
def _a_test_leaves_registries_as_they_were() -> Iterator[None]:
    """Else the tests after it would see more names, or fewer, than when they run alone."""
    before = {place: set(registry) for place, registry in known_registries().items()}
    yield
    changed = left_behind(before)
    # What was left is taken away all the same, so that one test fails and not all after it.
    for place in changed:
        for name in set(_found[place]) - before[place]:
            del _found[place][name]
    assert not changed, f"registries have other names than before: {changed}; see the fixture `registries`"


@pytest.fixture
def registries() -> Iterator[None]:
    """For tests that register something, through the doors or by a plugin: after the test, registries are as they were."""
    # The data of a registry, so that what wings provide is not loaded by being looked at.
    before = [(registry, dict(getattr(registry, "data", registry))) for registry in known_registries().values()]
    yield
    for registry, entries in before:
        for name in set(registry) - set(entries):
            del registry[name]
        registry.update(entries)


@pytest.fixture
def event_variants(registries: None) -> None:
    """The event-driven executor by the ways that it takes where it has no compiled code, each under a name of its own."""
    from rule_cases import EVENT_VARIANTS

    from nca3d.executors import EXECUTORS

    EXECUTORS.update(EVENT_VARIANTS)
