"""One thread, quiet and repeatable: two threads on a busy two-core box turn short operations into long ones."""

import ctypes
import importlib.util
import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)
# A test run started in the background inherits an ignored Ctrl-C, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile(
    "nca3d", deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nca3d")


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
