"""Where memory runs out: one line that says what was asked for and what to lower, never a trace."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_runs import tiny_body

from nca3d.errors import RunError
from nca3d.process.room import line, ran_out, within_memory
from nca3d.training.memory import training_memory

CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "17179869184 bytes. Error code 12 (Cannot allocate memory)"
)
CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 10.00 GiB")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CPU, "memory is not enough, 16,384 MiB more: lower first less"),
        (CUDA, "the device's memory is not enough, 2.5 GiB more: lower first less"),
        (MemoryError("Unable to allocate 64.0 GiB for an array with shape (8,)"), "memory is not enough, 64 GiB more"),
        (MemoryError("too much\nby far"), "memory is not enough (too much): lower"),
        (MemoryError(), "memory is not enough: lower"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), "the device's memory"),
    ],
)
def test_the_line_says_what_was_asked_for(error, says):
    assert ran_out(error)
    assert says in line(error, "work", "less") and "\n" not in line(error, "work", "less")


def test_other_errors_stay_as_they_are():
    for error in (RuntimeError("shapes differ"), ValueError("out of memory"), RunError("out of memory")):
        assert not ran_out(error)
        with pytest.raises(type(error), match=str(error)), within_memory("work", "less"):
            raise error


@pytest.mark.parametrize(
    ("error", "changes", "offered", "useless"),
    [
        (CPU, {}, ["--batch", "--memory recompute", "--pool-size", "--size"], ["offload", "--pool-device"]),
        (CUDA, {}, ["--batch", "--memory recompute", "--offload host", "--pool-device host"], []),
        (
            CUDA,
            {"batch": 2, "accumulate": 2, "damage_count": 0, "memory": "recompute", "offload": "host"},
            ["--pool-device host"],
            ["--batch", "--memory", "--offload"],
        ),
        (CUDA, {"regime": "growing"}, ["--size"], ["--pool"]),
    ],
)
def test_training_offers_what_is_not_done_yet(error, changes, offered, useless):
    with pytest.raises(RunError) as caught, training_memory(tiny_body(**changes)):
        raise error
    text = str(caught.value)
    ways = text.partition("lower first")[2]
    assert all(way in ways for way in offered) and not any(way in ways for way in useless)
    assert "batch" in text and "checkpoints are kept" in text and "\n" not in text


CHILD = """
import resource, sys
import torch
from nca3d.cli.command import main
import nca3d.experiment, nca3d.training.growth
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (int(sys.argv[1]) << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
raise SystemExit(main(sys.argv[2:]))
"""


def child(megabytes: int, *words: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs the command in a process that may take so much more memory than it has once everything is imported."""
    command = [sys.executable, "-c", CHILD, str(megabytes), *words]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_a_training_that_memory_is_too_small_for_ends_with_one_line(tmp_path):
    """For real: the process may not have what a batch needs, and the first iteration fails; the checkpoint before it stays."""
    config = tiny_body(size=(32, 32, 32), batch=32, pool_size=32, memory="keep", executor="dense", out=str(tmp_path / "run"))
    config.save(tmp_path / "big.toml")
    ended = child(500, "train", str(tmp_path / "big.toml"))
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("training with batch 32") and "MiB more" in last and "--memory recompute" in last
    assert (tmp_path / "run" / "checkpoints" / "step-000000").is_dir()


def test_numpy_says_it_in_its_own_way():
    with pytest.raises(RunError, match="memory is not enough"), within_memory("work", "less"):
        np.zeros(1 << 60, np.uint8)
