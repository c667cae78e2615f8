"""Five thousand iterations of a body leave nothing behind: memory, open handles, threads."""

import pytest
from leaking import LONG, leaves_nothing_behind
from tiny_runs import tiny_body

BODY = {"size": (5, 5, 5), "channels": 6, "hidden": (8,), "batch": 2, "pool_size": 4, "steps": (2, 3), "ageing": 4}


@pytest.mark.nightly
@pytest.mark.parametrize("executor", ["event", "dense"])
def test_five_thousand_iterations_leave_nothing_behind(executor, tmp_path, monkeypatch, record_property):
    config = tiny_body(executor=executor, out=str(tmp_path / "run"), **BODY, **LONG)
    record_property("bytes an iteration", leaves_nothing_behind(config, monkeypatch))
