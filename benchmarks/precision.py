"""What fewer bits cost a cube in training: its loss under bf16 and under the 8-bit optimizer, beside float32 from three seeds.

    python benchmarks/precision.py [CONFIG] [--iterations 60] [--threads 2] [--out FILE.md]

CONFIG is a shipped config of regime "answering" or a file (default: cube). A run is `nca3d train`, in a folder that goes away.
The loss is the mean over the last ten iterations. A difference is to the float32 run of the same seed, which asks the same
questions in the same order; the spread is that of float32 over the seeds. Ten minutes a run for a full cube on one busy core.
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import nca3d
from nca3d.files import odd, write_atomic

# Iterations whose losses are averaged: one batch says little.
LAST = 10

FEWER = {
    "bf16": {"precision": "bf16"},
    "8-bit optimizer": {"optimizer": "adamw8bit"},
    "both": {"precision": "bf16", "optimizer": "adamw8bit"},
}


def loss_of(config: nca3d.Config) -> float:
    """The loss of a run at its end."""
    with tempfile.TemporaryDirectory() as folder:
        run = nca3d.train(replace(config, out=str(Path(folder) / "run")))
        lines = (Path(run.folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return statistics.mean(json.loads(line)["loss"] for line in lines[-LAST:])


def main() -> None:
    """Print the table, and write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="cube")
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.out and odd(args.out):
        parser.error(f"--out: found {args.out}, which is {odd(args.out)}, allowed a file name")
    full = replace(
        nca3d.Config.load(args.config),
        precision="fp32",
        optimizer="adamw",
        iterations=args.iterations,
        threads=args.threads,
        log_every=1,
        pattern_every=0,
        save_every=args.iterations,
        report=False,
    )
    lines = [f"| {args.config}, {args.iterations} iterations | loss | to fp32, same seed |", "|---|--:|--:|"]
    print("\n".join(lines), flush=True)

    def tell(name: str, loss: float, difference: float | None = None) -> None:
        lines.append(f"| {name} | {loss:.4f} | {'' if difference is None else f'{difference:+.4f}'} |")
        print(lines[-1], flush=True)

    losses = []
    for seed in range(3):
        losses.append(loss_of(replace(full, random_seed=seed)))
        tell(f"fp32, seed {seed}", losses[-1])
    spread = max(losses) - min(losses)
    found = {name: loss_of(replace(full, random_seed=0, **options)) - losses[0] for name, options in FEWER.items()}
    for name, difference in found.items():
        tell(f"{name}, seed 0", losses[0] + difference, difference)
    inside = [name for name, difference in found.items() if abs(difference) <= spread]
    lines.append(f"\nSpread of the three seeds {spread:.4f}; within it: {', '.join(inside) or 'none'}.")
    print(lines[-1])
    if args.out:
        write_atomic(args.out, ("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
