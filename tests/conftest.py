"""One thread, quiet and repeatable: two threads on a busy two-core box turn short operations into long ones."""

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
