"""Peak memory of one training iteration above its inputs, each contender in a process of its own.

Two numbers, because they answer two questions:

* *allocated*: the most that tensors held at once. On CUDA from torch's allocator; on the CPU the running sum of what torch's
  profiler saw allocated and freed. Nothing of caches or fragmentation, but also nothing that libraries take past torch
  (oneDNN's workspaces, memory of native code).
* *resident*: the most that the operating system had to give (VmHWM of /proc/self/status, reset before the run), minus what
  the process held just before. It has everything, rounded up by the C library's caches. Linux and CPU only.

A rollout on a small lattice comes first, so that loading and setting up libraries counts for nobody (oneDNN's bf16 matrix
product takes 55 MB for good when it first meets more than a few hundred rows).
"""

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from nca3d.bench.contenders import Contender, TorchRunner
from nca3d.bench.settings import Setting
from nca3d.executors.child import python_with_nca3d
from nca3d.process.status import status_bytes

MODULE = "nca3d.bench.memory"


@dataclass(frozen=True)
class Peak:
    """Bytes above the inputs; None = can't be measured here."""

    allocated: int | None = None
    resident: int | None = None


def peak_memory(contender: Contender, setting: Setting, device: torch.device, at_once: bool = False) -> Peak:
    """The peak of one training iteration, measured in a fresh process with this one's number of threads.

    Args:
        contender: who.
        setting: what.
        device: where.
        at_once: read both peaks off one run, the profiler's own few MB in the resident one; otherwise there are two runs.

    Raises:
        RuntimeError: the process died; the line has its last words.
    """
    job = {"contender": asdict(contender), "setting": asdict(setting), "device": str(device), "at_once": at_once}
    threads = str(torch.get_num_threads())
    python, environment = python_with_nca3d()
    environment |= {"OMP_NUM_THREADS": threads, "KINETO_LOG_LEVEL": "5"}
    command = [*python, "-m", MODULE, json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}, out of memory perhaps"])[-1]
        raise RuntimeError(f"{contender.name} at {setting.name}: {last}")
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def main(text: str) -> None:
    """The child: does the job that `text` (JSON) says, and prints a `Peak` as JSON."""
    job = json.loads(text)
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in job["setting"].items()}
    setting = Setting(**fields)
    contender, device = Contender(**job["contender"]), torch.device(job["device"])
    tiny = replace(setting, size=(16, 16, 16), batch=1, steps=2, living=1.0)
    small = TorchRunner(contender, tiny, device)
    small.run(True, setting.random_seed)
    if job["at_once"]:
        allocated_bytes(lambda: small.run(True, setting.random_seed))  # starting the profiler takes 75 MB, once

    runner = TorchRunner(contender, setting, device)
    run = lambda: runner.time(True, setting.random_seed)  # noqa: E731
    if device.type == "cuda":
        print(json.dumps(asdict(Peak(allocated=allocated_on_cuda_bytes(run, device)))))
        return
    allocated: list[int] = []
    # The resident peak first: memory that the profiler takes must not count, unless the run is large and long.
    resident = resident_bytes((lambda: allocated.append(allocated_bytes(run))) if job["at_once"] else run)
    print(json.dumps(asdict(Peak(allocated[0] if allocated else allocated_bytes(run), resident))))


def allocated_on_cuda_bytes(run: Callable[[], object], device: torch.device) -> int:
    """How far what tensors hold on a CUDA device rose above what they held before."""
    gc.collect()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def allocated_bytes(run: Callable[[], object]) -> int:
    """The highest running sum of what torch's CPU allocator gave and took back during a run."""
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    assert profiled.profiler is not None and profiled.profiler.kineto_results is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def resident_bytes(run: Callable[[], object]) -> int | None:
    """How far the resident memory rose above what it was; None where the kernel does not say."""
    gc.collect()
    # Free memory that the C library keeps for later is handed back, or the run would reuse it unseen.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    except OSError:
        return None
    before = status_bytes("VmRSS")
    run()
    return status_bytes("VmHWM") - before


if __name__ == "__main__":
    main(sys.argv[1])
