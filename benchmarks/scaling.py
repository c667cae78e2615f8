"""How much faster is training on two processes? Strong and weak scaling, measured; and a cost model that is fitted to it.

    python benchmarks/scaling.py [CONFIG ...] [--processes 1 2] [--repeats 5] [--iterations 40] [--batch 8]

A worker trains CONFIG (default: castle, axolotl; cube for the cube of gMLP cells) for some iterations as torchrun would start
it, one thread a process. *Strong*: the whole batch stays. *Weak*: the batch grows with the processes;
the same batch in one process stands beside it. One process with as many
threads as there are processes is printed beside them. All take turns, and the median counts. Speed-ups by processor seconds
stand beside those by the clock: they say what an idle machine would show where this one is busy.

The model: seconds = work / rate + calls · latency + bytes / bandwidth, where work is the samples that the busiest process runs,
and latency and bandwidth are measured between the same processes. It is printed beside what was measured.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from nca3d.bench.machine import describe, header
from nca3d.config import Config
from nca3d.executors.child import python_with_nca3d

# Iterations before the clock starts: libraries set themselves up, pools fill with bodies.
WARM = 8
# What latency and bandwidth are measured with: small messages, and one of so many numbers.
PINGS, NUMBERS = 200, 4_000_000


def main() -> None:
    """Measures all rows in turns, prints them, and what the model says of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", metavar="CONFIG")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(json.loads(args.worker))
        return
    print(header(describe(torch.device("cpu"))))
    for name in args.configs or ["castle", "axolotl"]:
        report(name, args)


def report(name: str, args: argparse.Namespace) -> None:
    """Measures one config and prints its rows."""
    most = max(args.processes)
    rows = {f"strong, {n} × 1 thread": (n, 1, args.batch) for n in args.processes}
    rows |= {f"weak, {n} × 1 thread": (n, 1, args.batch * n) for n in args.processes if n > 1}
    # The work of the weak row in one process: of a larger batch fewer samples are fresh seeds, so that a sample costs more.
    rows |= {"weak, the same work in 1": (1, 1, args.batch * most)} if most > 1 else {}
    rows[f"one process, {most} threads"] = (1, most, args.batch)
    found: dict[str, list[dict[str, Any]]] = {row: [] for row in rows}
    for _ in range(args.repeats):
        for row, (processes, threads, batch) in rows.items():
            task = {"config": name, "batch": batch, "iterations": args.iterations, "threads": threads}
            found[row].append(launch(task, processes))
    one = median(found[f"strong, {args.processes[0]} × 1 thread"])
    print(f"\n{name}, batch {args.batch}, {one['cells']:,} living cells at the end; {args.repeats} turns, medians")
    print("| | batch | s an iteration | CPU s a process | times as fast | by CPU | sent, MB | calls | model, s |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row, (processes, _, batch) in rows.items():
        m = median(found[row])
        grown = batch / args.batch
        model = one["seconds"] * (batch / processes) / args.batch + m["calls"] * m["latency"] + m["bytes"] / m["bandwidth"]
        print(
            f"| {row} | {batch} | {m['seconds']:.4f} | {m['cpu']:.4f} | {grown * one['seconds'] / m['seconds']:.2f} | "
            f"{grown * one['cpu'] / m['cpu']:.2f} | {m['bytes'] / 1e6:.2f} | {m['calls']:.0f} | {model:.4f} |",
            flush=True,
        )
    two = median(found[f"strong, {most} × 1 thread"])
    if most > 1:
        print(f"latency of a call {1e6 * two['latency']:.0f} µs, bandwidth {two['bandwidth'] / 1e9:.2f} GB/s between processes")


def median(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the median of each figure."""
    return {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}


def launch(task: dict[str, Any], processes: int) -> dict[str, Any]:
    """Runs a worker on so many processes and returns its figures."""
    python, environment = python_with_nca3d()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = [*python, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", f"--master-port={port}"]
    words = [*(start if processes > 1 else python), str(Path(__file__).resolve()), "--worker", json.dumps(task)]
    environment |= {"OMP_NUM_THREADS": str(task["threads"])}
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def work(task: dict[str, Any]) -> None:
    """Trains, as one of several processes or alone, and prints what it took."""
    from nca3d.ranks.joined import joined
    from nca3d.training.build import shaped
    from nca3d.training.threads import threads
    from nca3d.training.trainer import Trainer

    config = Config.load(task["config"]).replace(
        batch=task["batch"], accumulate=1, iterations=100_000, report=False, threads=task["threads"], stop_when_whole=False
    )
    config = config.replace(**{} if config.kind.table == "body" else {"pool_size": max(config.pool_size, task["batch"])})
    with tempfile.TemporaryDirectory() as folder, joined(600) as ranks, threads(config):
        ranks.splits = config.kind.splits(config)
        os.environ.setdefault("NCA3D_CACHE", folder)
        config, given = config.kind.sized(shaped(config), None, None)
        trainer = Trainer.begin(config, given)
        for _ in range(WARM):
            trainer.step()
        latency, bandwidth = network(ranks)
        sent, calls, cpu, start = ranks.sent_bytes, ranks.calls, time.process_time(), time.perf_counter()
        for _ in range(task["iterations"]):
            outcome = trainer.step()
        each = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "bytes": ranks.sent_bytes - sent,
            "calls": ranks.calls - calls,
        }
        each = {name: value / task["iterations"] for name, value in each.items()}
        found = ranks.gather_objects(each)
        assert outcome.states is not None
        cells = int(trainer.rule.alive_mask(outcome.states).sum()) // max(1, len(outcome.states))
        worst = {name: max(one[name] for one in found) for name in each}
        if ranks.first:
            print(json.dumps(worst | {"latency": latency, "bandwidth": bandwidth, "cells": cells}))


def network(ranks: Any) -> tuple[float, float]:
    """Returns the seconds of a call that says next to nothing, and the bytes a second of one that says much."""
    if ranks.size == 1:
        return 0.0, float("inf")
    small, large = torch.zeros(1), torch.zeros(NUMBERS)
    ranks.gather(small)
    start = time.perf_counter()
    for _ in range(PINGS):
        ranks.gather(small)
    latency = (time.perf_counter() - start) / PINGS
    start = time.perf_counter()
    for _ in range(3):
        ranks.gather(large)
    return latency, 3 * large.nbytes * (ranks.size - 1) / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(main())
