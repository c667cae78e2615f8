"""What each tool of a study saves, and what it costs in learning: memory, losses, and the life of the bodies.

    python benchmarks/tools.py [--parts memory,losses,life] [--iterations 300] [--out FILE.md]

memory: each tool alone beside plain training, on a grown body (zoo:axolotl, batch 8, every step of a long rollout kept) and a
full cube (73 million weights, batch 8, twelve steps), each in a process of its own; beside it what others report of the tool.
losses: every pair with a tool of fewer bits that a config allows: the loss over the last tenth of a training of a tiny body,
beside plain training from three seeds.
life: bodies trained with each tool, beside three plain ones: Moran's I, block entropy, Lyapunov exponent, IoU after healing.
Three seeds are few: *inside* means within their range, *near* within the 95 % prediction interval for a fourth one.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

import nca3d
from nca3d.bench.memory import status_bytes
from nca3d.bench.tools import ALL, of, pairs, plain_of
from nca3d.config import Config
from nca3d.evaluation.presets import Preset
from nca3d.files import odd, write_atomic
from nca3d.training.ledger import held_bytes
from nca3d.training.trainer import Trainer

Rows = Iterator[tuple[str, ...]]

# Student's t for 2 degrees of freedom, 95 %, times √(1 + 1/3): how far a fourth seed may lie from the mean of three.
FOURTH = 4.303 * (4 / 3) ** 0.5
SEEDS = 3

# What others report of a tool, the part of memory that it speaks of, and why ours differs where it does.
REPORTED = {
    "bf16": ("parameters", "−50 %", "weights stay float32, products alone are rounded: what is trained is never rounded"),
    "fp16": ("parameters", "−50 %", "as bf16"),
    "8-bit AdamW": ("optimizer", "−75 %", "cells' vectors keep 32 bits, so that no cell shares its scale"),
    "recomputation": ("kept", "−60 … −80 %", "a state for each step stays: what is kept without it are states already"),
    "segments": ("kept", "−60 … −80 %", "√steps states stay"),
    "offloading": ("kept", "−70 … −90 %", "on a CPU it is counted and stays"),
    "accumulation": ("kept", "−50 %", "half of the batch at a time"),
    "blocks of √N cells": ("peak", "", "activations of 50 cells at a time"),
    "optimizer in the backward pass": ("gradients", "", "of cells' own weights: never all there"),
}


# Memory ---------------------------------------------------------------------------------------------------------------


def body() -> Config:
    return Config.load("axolotl").replace(
        init="zoo:axolotl", batch=8, pool_size=8, steps=(46, 46), memory="keep", executor="dense", ageing=0, damage_count=0
    )


def cube() -> Config:
    changes: dict[str, Any] = {"batch": 8, "pool_size": 8, "steps": (12, 12), "precision": "fp32", "gradient": "none"}
    return Config.load("cube").replace(**changes, damage_count=0, average=0.0)


def memory() -> Rows:
    yield ("tool", "part", "plain, MiB", "with it, MiB", "change", "others report", "why")
    for name, config in (("body", body()), ("cube", cube())):
        plain: dict[str, dict[str, float]] = {}
        for tool in of(config):
            if tool.name not in REPORTED:
                continue
            part, reported, why = REPORTED[tool.name]
            if name == "cube" and tool.name == "recomputation":
                why = "a cube keeps states alone, whatever is asked for"
            if name == "body" and tool.name == "8-bit AdamW":
                why = "tensors of fewer than 4,096 numbers stay float32: of 10,368 weights that is much"
            alone = config.replace(**tool.needs)
            key = json.dumps(dict(tool.needs))
            plain[key] = plain.get(key) or in_process(alone)
            segments = {"memory": round(config.steps_range[1] ** 0.5)} if tool.name == "segments" else {}
            found = in_process(alone.replace(**{**tool.lines, **segments}))
            before, after = plain[key][part], found[part]
            change = f"{100 * (after / before - 1):+.0f} %" if before else "—"
            yield (f"{tool.name}, {name}", part, f"{before:.2f}", f"{after:.2f}", change, reported, why)


def in_process(config: Config) -> dict[str, float]:
    """What a process of its own holds after three iterations, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        config.save(Path(folder) / "config.toml")
        command = [sys.executable, __file__, "--worker", str(Path(folder) / "config.toml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{config}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def worker(path: str) -> None:
    torch.set_num_threads(2)
    config = Config.load(path)
    trainer = Trainer.begin(config)
    if config.init:
        # Bodies that are grown: a seed alone says nothing of memory.
        with torch.no_grad():
            seeds = trainer.task.seed(trainer.rule).expand(config.batch, -1, -1, -1, -1)
            trainer.pool.states.copy_(nca3d.rollout(trainer.rule, seeds.contiguous(), config.horizon))
    before = status_bytes("VmRSS")
    for _ in range(3):
        trainer.step()
    held = held_bytes(trainer)
    held |= {"peak": status_bytes("VmHWM") - before}
    print(json.dumps({name: size / 2**20 for name, size in held.items()}))


# Losses ---------------------------------------------------------------------------------------------------------------


def tiny(iterations: int, **changes: Any) -> Config:
    return Config.load("tiny").replace(iterations=iterations, threads=1, report=False, log_every=1, pattern_every=0, **changes)


def trained(config: Config) -> tuple[nca3d.Rule, float]:
    """The rule of a run, and its mean loss over the last tenth."""
    with tempfile.TemporaryDirectory() as folder:
        run = nca3d.train(config.replace(out=str(Path(folder) / "run")), progress=False)
    losses = [line["loss"] for line in run.metrics if "loss" in line]
    return run.rule, statistics.fmean(losses[-max(1, len(losses) // 10) :])


def losses(iterations: int) -> Rows:
    yield ("tools", "loss", "three plain seeds", "verdict")
    config = tiny(iterations, optimizer="adamw")
    plain = [trained(config.replace(random_seed=seed))[1] for seed in range(SEEDS)]
    yield ("plain", " ".join(f"{loss:.4f}" for loss in plain), spread(plain), "")
    fewer = [tool for tool in of(config) if not tool.exact]
    for tool in fewer:
        loss = trained(config.replace(**tool.lines))[1]
        yield (tool.name, f"{loss:.4f}", spread(plain), verdict(loss, plain))
    for one, other, both in pairs(config):
        if both is not None and not (one.exact and other.exact):
            loss = trained(both)[1]
            yield (f"{one.name} + {other.name}", f"{loss:.4f}", spread(plain), verdict(loss, plain))


def spread(values: list[float]) -> str:
    return f"{min(values):.4f} … {max(values):.4f}"


def verdict(value: float, plain: list[float]) -> str:
    if min(plain) <= value <= max(plain):
        return "inside"
    return "near" if abs(value - statistics.fmean(plain)) <= FOURTH * statistics.stdev(plain) else "**outside**"


# Life -----------------------------------------------------------------------------------------------------------------

FIGURES = {
    "Moran's I": lambda report: report["emergence"]["morans_i"],
    "block entropy": lambda report: report["emergence"]["spatial_entropy"],
    "Lyapunov": lambda report: report["emergence"]["lyapunov"],
    "IoU grown": lambda report: report["grow_iou"],
    "IoU, half cut healed": lambda report: report["heal_iou"]["half_space"],
    "IoU, hole healed": lambda report: report["heal_iou"]["sphere"],
}
LOOK = Preset(samples=8, hold_steps=100, late_steps=100, studies=("emergence",))


def life(iterations: int) -> Rows:
    yield ("tool", *FIGURES)
    plain = [figures(tiny(iterations, random_seed=seed)) for seed in range(SEEDS)]
    for seed, values in enumerate(plain):
        yield (f"plain, seed {seed}", *(f"{value:.3f}" for value in values))
    columns = list(zip(*plain, strict=True))
    for tool in of(tiny(iterations)):
        values = figures(plain_of(tiny(iterations), tool).replace(**tool.needs).replace(**tool.lines))
        cells = [f"{value:.3f} {verdict(value, list(column))}" for value, column in zip(values, columns, strict=True)]
        yield (tool.name, *cells)


def figures(config: Config) -> list[float]:
    rule, _ = trained(config)
    report = nca3d.evaluate(rule, preset=LOOK)
    return [figure(report) for figure in FIGURES.values()]


# ----------------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="memory,losses,life")
    parser.add_argument("--iterations", type=int, default=300)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.out and odd(args.out):
        parser.error(f"--out: found {args.out}, which is {odd(args.out)}, allowed a file name")
    if args.worker:
        return worker(args.worker)
    parts: Mapping[str, Callable[[], Rows]] = {
        "memory": memory,
        "losses": lambda: losses(args.iterations),
        "life": lambda: life(args.iterations),
    }
    lines = [f"The tools of a study, {platform.machine()}, torch {torch.__version__}, {len(ALL)} tools"]
    print(lines[0], flush=True)
    for part in args.parts.split(","):
        for number, row in enumerate(parts[part]()):
            lines += ["", f"**{part}**", ""] * (not number)
            lines.append(f"| {' | '.join(row)} |")
            lines += ["|" + "---|" * len(row)] * (not number)
            print(lines[-1] if number else "\n".join(lines[-2:]), flush=True)
    if args.out:
        write_atomic(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
