"""The full cube trained by several processes: each owns some cells, or each has the whole cube and some samples.

    python benchmarks/ranks_cube.py [--batches 64,256] [--rounds 5] [--processes 2] [--precision fp32] [--out FILE.md]

An iteration asks a cube of 15×15×11 cells (73 million weights of their own), twelve steps, and learns by Adam. One thread a
process.

one       one process, the whole cube and the whole batch
cells     each process has the cells of some columns, their weights and their optimizer's state; features at the cut travel
samples   each process has the whole cube and its part of the batch; all gradients travel, by `all_reduce`
fsdp2     the same, but weights and optimizer state lie with owners of cells (`fully_shard`); weights and gradients travel
cells, batch × 2, cells × 2     twice the work, for weak scaling: a perfect one takes as long as "one"

Contenders take turns, each in fresh processes, once a round, with an iteration before the clock. The medians are shown: wall
seconds and CPU seconds of a process, bytes that a process sends an iteration, its peak of resident memory. Of CPU seconds a
process that waits takes none, and other work on the machine moves them little: where the machine is shared, compare these.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.utils import get_total_norm

import nca3d
from nca3d.config import Config
from nca3d.files import odd, write_atomic
from nca3d.process.status import status_bytes
from nca3d.ranks import Ranks
from nca3d.ranks.joined import joined
from nca3d.training.optim import build_optimizer
from nca3d.training.sharding import Shards

SIZE = (11, 15, 15)
STEPS = 12
# For a cube of twice the cells, so many times as high.
HIGH = 2
TIMED = 2


def contenders(processes: int) -> dict[str, dict[str, Any]]:
    """What is measured, by name: processes, factor of the batch, factor of the cells, whether samples are shared out."""
    return {
        "one": {"processes": 1},
        "cells": {"processes": processes},
        "samples": {"processes": processes, "samples": True},
        "fsdp2": {"processes": processes, "samples": True, "fsdp": True},
        f"cells, batch × {processes}": {"processes": processes, "more": processes},
        f"samples, batch × {processes}": {"processes": processes, "more": processes, "samples": True},
        f"cells, cells × {processes}": {"processes": processes, "high": processes},
    }


class Asked(torch.nn.Module):
    """A cube whose call is an iteration's loss: FSDP2 gathers weights before a call, and shares gradients out after it."""

    def __init__(self, rule: nca3d.GMLPRule, half: bool) -> None:
        super().__init__()
        self.rule, self.half = rule, half

    def forward(self, question: torch.Tensor) -> torch.Tensor:
        """Returns the sum of the losses of questions (B, H·W)."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            last = nca3d.rollout(self.rule, self.rule.rest(len(question)), STEPS, inputs=self.rule.ask(question))
        return self.rule.answer(last).square().mean(dim=1).sum()


class Trained:
    """A cube in training, of which this process has its part."""

    def __init__(self, ranks: Ranks, half: bool, samples: bool = False, high: int = 1, fsdp: bool = False) -> None:
        size = (SIZE[0], SIZE[1] * high, SIZE[2])
        self.ranks, self.samples, self.fsdp = ranks, samples, fsdp
        shared_out = None if samples else ranks
        self.rule = nca3d.GMLPRule(size, preset="cube", generator=torch.Generator().manual_seed(0), ranks=shared_out)
        self.asked, self.shards = Asked(self.rule, half), Shards(self.rule)
        if fsdp:
            fully_shard(self.asked, mesh=init_device_mesh("cpu", (ranks.size,)))
            self.numbers = sum(weight.numel() for weight in self.asked.parameters())
        self.optimizer = build_optimizer(Config(optimizer="adam"), list(self.asked.parameters()))

    def step(self, batch: int) -> None:
        """One iteration, of so many samples in all."""
        rule, ranks = self.rule, self.ranks
        self.optimizer.zero_grad()
        question = torch.randn(batch, rule.size[1] * rule.size[2], generator=torch.Generator().manual_seed(1))
        question = question[list(ranks.share(batch))] if self.samples else question
        # FSDP2 takes the mean of processes; a sum scaled by hand it can't have from gloo.
        (self.asked(question) * (ranks.size if self.fsdp else 1) / batch).backward()
        if self.fsdp:
            # Weights come before and gradients go after, each from and to all others; once, since nothing is gathered anew.
            ranks.sent_bytes += 2 * 4 * self.numbers * (ranks.size - 1) // ranks.size
        elif self.samples:
            self.add_up()
        # As training does before every step: all must come to the same verdict.
        grads = [weight for weight in self.asked.parameters() if weight.grad is not None]
        norm = get_total_norm([weight.grad for weight in grads]) if self.fsdp else self.shards.norms(grads).norm()
        assert norm.isfinite()
        self.optimizer.step()

    def add_up(self) -> None:
        """Sums the gradients of all processes, each tensor as it is: the fastest way that torch has on a processor."""
        for weight in self.rule.parameters():
            if self.ranks.size > 1 and weight.grad is not None:
                torch.distributed.all_reduce(weight.grad)
                # Each number is sent in, and each sum comes out: of a ring or its like.
                self.ranks.sent_bytes += 2 * weight.grad.nbytes * (self.ranks.size - 1) // self.ranks.size


def worker(given: dict[str, Any]) -> None:
    """Measures one contender in this process, and prints what all found from the first one."""
    torch.set_num_threads(1)
    with joined(600) as ranks:
        made = Trained(ranks, given["half"], given.get("samples", False), given.get("high", 1), given.get("fsdp", False))
        batch = given["batch"] * given.get("more", 1)
        made.step(batch)
        ranks.sent_bytes = 0
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(TIMED):
            made.step(batch)
        found = {
            "wall": (time.perf_counter() - wall) / TIMED,
            "cpu": (time.process_time() - cpu) / TIMED,
            "sent": ranks.sent_bytes / TIMED / 1e6,
            "memory": (status_bytes("VmHWM") or 0) / 1e6,
        }
        everyone = ranks.gather_objects(found)
        if ranks.first:
            print(json.dumps({name: max(one[name] for one in everyone) for name in found}))


def measured(contender: dict[str, Any]) -> dict[str, float]:
    """What fresh processes measure."""
    count = contender["processes"]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"] if count > 1 else []
    command = [sys.executable, *launcher, __file__, "--worker", json.dumps(contender)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contender}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def compared(batch: int, rounds: int, processes: int, half: bool, show: Callable[[str], None]) -> None:
    """Shows the medians of all contenders at one batch."""
    all_of = contenders(processes)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in all_of}
    for number in range(rounds):
        # In turn forward and backward, so that nothing always comes after the same.
        for name, contender in list(all_of.items())[:: -1 if number % 2 else 1]:
            found[name].append(measured({**contender, "batch": batch, "half": half}))
            print(f"batch {batch}, round {number + 1}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    medians = {name: {key: statistics.median(one[key] for one in many) for key in many[0]} for name, many in found.items()}
    one = medians["one"]
    show("")
    show(f"| batch {batch} | wall s | CPU s a process | MB sent a process | peak MB a process | scaling, wall | scaling, CPU |")
    show("|---|---|---|---|---|---|---|")
    for name, values in medians.items():
        work = all_of[name].get("more", 1) * all_of[name].get("high", 1)
        scaling = [work * one[key] / (all_of[name]["processes"] * values[key]) for key in ("wall", "cpu")]
        show(
            f"| {name} | {values['wall']:.2f} | {values['cpu']:.2f} | {values['sent']:,.1f} | {values['memory']:,.0f} "
            f"| {scaling[0]:.0%} | {scaling[1]:.0%} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker(json.loads(arguments.worker))
    if arguments.out and odd(arguments.out):
        parser.error(f"--out: found {arguments.out}, which is {odd(arguments.out)}, allowed a file name")
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    show(f"A cube by {arguments.processes} processes, {platform.machine()}, torch {torch.__version__}, {arguments.precision}")
    for batch in map(int, arguments.batches.split(",")):
        compared(batch, arguments.rounds, arguments.processes, arguments.precision == "bf16", show)
    if arguments.out:
        write_atomic(arguments.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
