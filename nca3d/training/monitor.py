"""What training costs while it runs: cells a second, share of the floor, memory, seconds an epoch, for each line of the log."""

import contextlib
import importlib.util
import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nca3d.config import Config
from nca3d.executors.cores import cores
from nca3d.executors.floor import quick_rate, reachable, useful_operations
from nca3d.process.status import status_bytes
from nca3d.rules.cell import Rule

# Entries of a line of metrics.jsonl that tell of the machine and the moment: a resumed run, which is the same to the bit, may
# differ in them.
OF_THE_MOMENT = (
    "seconds",
    "cells_per_second",
    "floor_share",
    "seconds_per_epoch",
    "peak_memory_mib",
    "peak_device_memory_mib",
    "device_utilisation",
)

# The types of numbers that matrices are multiplied in.
LOWER = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Work:
    """What one iteration had to compute; tensors stay on the device, where nobody waits for them before a line is due.

    Attributes:
        volume: The number of cells of a lattice.
        steps: The number of steps of the rollout, summed over the samples.
        aged: That of ageing, which has no backward pass, int ().
        learnt: The number of updates of living cells that fired, with a backward pass, float (): an estimate by the mean of the
            living cells at both ends of the rollout. Where states come from a pool it is within 15 % of a count (measured on
            the default body, untrained and trained); where each grows from the seed, within 50 %: an untrained body grows late
            in a rollout, a trained one early. None = the rule doesn't say what an update takes.
        run: The same of ageing, float (), by the living cells that ageing ended with.
    """

    volume: int
    steps: int
    aged: Tensor
    learnt: Tensor | None = None
    run: Tensor | None = None


@torch.no_grad()
def living(rule: Rule, states: Tensor) -> Tensor | None:
    """Returns the number of living cells of states (B, C, D, H, W), float (B,); None where nobody will ask for it."""
    return None if rule.multiply_adds() is None else rule.alive_mask(states).flatten(1).sum(dim=1, dtype=torch.float32)


@torch.no_grad()
def work_of(rule: Rule, first: Tensor | None, end: Tensor, steps: int, ages: Tensor) -> Work:
    """Returns what an iteration had to compute.

    Args:
        rule: What the cells do.
        first: The living cells that the rollout began with, as `living` returns them.
        end: The states that it ended with, (B, C, D, H, W).
        steps: Its length.
        ages: The steps by which each state was aged before, int (B,).
    """
    # One of several processes may have no sample.
    volume, last = end.shape[2:].numel(), living(rule, end)
    work = Work(volume, len(end) * steps, ages.sum())
    if first is None or last is None:
        return work
    learnt = ((first.to(last.device) + last) / 2 * steps * rule.fire_rate).sum()
    return replace(work, learnt=learnt, run=(first * ages.to(first)).sum() * rule.fire_rate)


class Monitor:
    """Gathers what iterations cost, and returns it for a line of the log.

    Args:
        config: The experiment, for its precision.
        rule: The rule, for its device and for what an update of it takes.
        epoch: The number of iterations of an epoch; 0 = there is no such thing.
    """

    def __init__(self, config: Config, rule: Rule, epoch: float = 0.0) -> None:
        self.config, self.rule, self.epoch = config, rule, epoch
        self.device = next(rule.parameters()).device
        # Some kernels let it sink again.
        self._peak = 0
        self._begin()
        self._utilisation = self.device.type == "cuda"
        if self._utilisation and importlib.util.find_spec("pynvml") is None:
            self._utilisation = False
            print("device_utilisation is left out: it needs pynvml: pip install nvidia-ml-py", file=sys.stderr)

    def _begin(self) -> None:
        self.seconds, self.work = 0.0, list[Work]()

    def note(self, work: Work | None, seconds: float) -> None:
        """Adds an iteration.

        Args:
            work: What it had to compute; None = that is not known, and the iteration is left out.
            seconds: How long it took, without logging and saving.
        """
        if work is not None:
            self.seconds += seconds
            self.work.append(work)

    def figures(self) -> dict[str, float]:
        """Returns what the iterations since the last call cost, by names of `OF_THE_MOMENT`, and begins anew.

        * `cells_per_second`: cell updates a second, as every peer counts them: the whole lattice of each sample, once a step.
          Steps of ageing are steps like others, though they have no backward pass.
        * `floor_share`: the share of the floor that `nca3d bench` defines (`executors/floor.py`), 0 .. 1, with the cores of
          the run; not of a rule that doesn't say what an update takes.
        * `seconds_per_epoch`: for a body, a pass over as many states as its pool has.
        * `peak_memory_mib`: the most that was resident of this process so far, imports and all; Linux only.
        * `peak_device_memory_mib`: the most that tensors held at once on a CUDA device so far.
        * `device_utilisation`: the share of the last moments in which a CUDA device was at work, 0 .. 1.
        """
        work, seconds = self.work, self.seconds
        self._begin()
        figures: dict[str, float] = {}
        if work and seconds > 0:
            figures["cells_per_second"] = self._updates(work) / seconds
            if (operations := self._operations(work)) is not None:
                figures["floor_share"] = operations / seconds / self._rate()
            if self.epoch:
                figures["seconds_per_epoch"] = seconds / len(work) * self.epoch
        figures |= self._memory()
        # Four digits say all there is to say of a clock, and lines stay short.
        return {name: float(f"{value:.4g}") for name, value in figures.items()}

    def _updates(self, work: list[Work]) -> int:
        return work[0].volume * (sum(one.steps for one in work) + int(torch.stack([one.aged for one in work]).sum()))

    def _operations(self, work: list[Work]) -> float | None:
        multiply_adds = self.rule.multiply_adds()
        learnt = [one.learnt for one in work if one.learnt is not None]
        run = [one.run for one in work if one.run is not None]
        if multiply_adds is None or not learnt:
            return None
        # All iterations at once: a device must come to rest for each number that is read from it.
        return useful_operations(multiply_adds, float(torch.stack(learnt).sum()), float(torch.stack(run).sum()))

    def _rate(self) -> float:
        threads, lower = cores(), LOWER.get(self.config.precision)
        float32 = quick_rate(self.device, torch.float32, threads)
        return reachable(float32, quick_rate(self.device, lower, threads) if lower is not None else None)

    def _memory(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        # Elsewhere than on Linux nobody says it, and it is left out.
        with contextlib.suppress(OSError, ValueError):
            self._peak = max(self._peak, status_bytes("VmHWM"))
            figures["peak_memory_mib"] = self._peak / 2**20
        if self.device.type == "cuda":
            figures["peak_device_memory_mib"] = torch.cuda.max_memory_allocated(self.device) / 2**20
            if self._utilisation:
                figures["device_utilisation"] = torch.cuda.utilization(self.device) / 100
        return figures
