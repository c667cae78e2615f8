"""Leaks are looked for in bodies and cubes alike: five thousand iterations of a whole training, looked at three times."""

import os
from pathlib import Path

import pytest

import nca3d
from nca3d.process.status import status_bytes
from nca3d.training.log import Log

ITERATIONS = 5000

# What is looked at: after libraries, pool and caches have all they want, in the middle, at the end.
LOOKS = (1000, 3000, ITERATIONS)

# What the smallest trainings have in common; lines, measurements of pattern and checkpoints are among what could leak.
LONG = {"iterations": ITERATIONS, "save_every": 1000, "learning_rate": 1e-4, "pattern_every": 500, "log_every": 10}


def leaves_nothing_behind(config: nca3d.Config, monkeypatch: pytest.MonkeyPatch) -> float:
    """Trains; resident memory grows by less than 1 KiB an iteration, open handles and threads stay. Returns bytes each."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    looks: list[tuple[int, int, int]] = []
    write = Log.write

    def looked(log, trainer, outcome, seconds):
        write(log, trainer, outcome, seconds)
        if trainer.iteration in LOOKS:
            handles, threads = (len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task"))
            looks.append((status_bytes("VmRSS"), handles, threads))

    monkeypatch.setattr(Log, "write", looked)
    nca3d.train(config, progress=False)
    (begun, handles, threads), (middle, *_), (ended, *_) = looks
    # A leak grows in both halves; an allocator that takes one more arena does so in one of them.
    assert min(middle - begun, ended - middle) < 1024 * (LOOKS[1] - LOOKS[0]), looks
    assert ended - begun < 2 * 1024 * (LOOKS[-1] - LOOKS[0]), looks
    assert {look[1:] for look in looks} == {(handles, threads)}, looks
    return (ended - begun) / (LOOKS[-1] - LOOKS[0])
