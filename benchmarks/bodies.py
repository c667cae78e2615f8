"""What binds on bodies of more than a thousand cells: the recipe of "auto", and it with one thing changed, for equal CPU time.

    python benchmarks/bodies.py --bodies castle oak --seconds 180 --jobs 2
    python benchmarks/bodies.py --bodies castle.nbt --seconds 180 --changes "hidden=(128,)" "batch=4" "code=0"

A run is given so many seconds of one core, whatever an iteration costs: schedule, curriculum and damage follow the time that is
left, so that a cheap iteration is worth its price. The columns: IoU of four bodies at the horizon and 300 steps later, share of
right labels (1 - colour error for colours), and IoU right after and a horizon after half of each body was cut off.
"""

import argparse
import ast
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The bodies of the repository, with their lattices; anything else is a file.
SIZES = {
    "oak": (28, 24, 25),
    "castle": (20, 18, 18),
    "cathedral": (31, 20, 34),
    "coral": (32, 32, 32),
    "island": (34, 52, 50),
    "frog": (14, 31, 32),
}
# One thing each, as a field of a config.
CHANGES = (
    "",
    "code=0",
    "hidden=(128,)",
    "hidden=(384,)",
    "hidden=(128, 128)",
    "perception='learned'",
    "perception='gradient'",
    "perception='gradient+laplacian'",
    "batch=4",
    "learning_rate=0.003",
    "learning_rate=0.012",
    "betas=(0.9, 0.95)",
    "damage_from=0.0",
    "regime='persistent'",
    "losses={'classes': 1.0, 'overflow': 0.1}",
)
# What an untrained rule does in its first seconds says nothing of the time that is left.
FIRST = 2.0


def train(body: str, change: str, seconds: float, random_seed: int) -> str:
    """Trains for so many seconds of this process and returns the row of the table."""
    import torch

    from nca3d.config import Config
    from nca3d.training.growth import Growth
    from nca3d.training.trainer import Trainer

    torch.set_num_threads(1)
    fields = {"target": body, "random_seed": random_seed, **({"size": SIZES[body]} if body in SIZES else {})}
    if change:
        name, _, value = change.partition("=")
        fields[name] = ast.literal_eval(value)
    config = Config(**fields)
    config, given = config.kind.sized(config)
    trainer = Trainer.begin(config, given)
    task, begun = trainer.task, time.process_time()
    assert isinstance(task, Growth)
    while (used := time.process_time() - begun) < seconds and trainer.bad_steps < 5:
        # As if it had been asked for as many iterations as there will have been.
        total = round((trainer.iteration + 1) * seconds / used) if used > FIRST else 400
        trainer.config = task.config = config.replace(iterations=max(trainer.iteration + 1, total), stop_when_whole=False)
        trainer.step()
    task.config = config
    look = task.look(trainer.trained_rule(), trainer.iteration, least=0.0)
    weights = sum(parameter.numel() for parameter in trainer.rule.parameters())
    ended = "" if trainer.bad_steps < 5 else f" (ended after {used:.0f} s: numbers or cells were lost)"
    figures = " | ".join(f"{value:.3f}" for value in (look.grown, look.held, look.right, look.healed))
    return f"| {Path(body).stem} | {change or 'recipe'}{ended} | {weights:,} | {trainer.iteration:,} | {figures} |"


def main() -> None:
    """Prints the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", nargs="+", default=["castle", "oak"], help=f"{', '.join(SIZES)}, or files")
    parser.add_argument("--changes", nargs="*", default=list(CHANGES), help="fields, one each; the recipe itself is ''")
    parser.add_argument("--seconds", type=float, default=180.0, help="of CPU time for each run (default: 180)")
    parser.add_argument("--seeds", type=int, default=1, help="random seeds of each (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time (default: 1)")
    parser.add_argument("--one", nargs=4, metavar=("BODY", "CHANGE", "SECONDS", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        body, change, seconds, seed = args.one
        print(train(body, change, float(seconds), int(seed)))
        return
    print("| body | changed | weights | iterations | grown | 300 steps later | right | healed |")
    print("|---|---|--:|--:|--:|--:|--:|--:|", flush=True)
    runs = [(b, c, seed) for b in args.bodies for c in args.changes for seed in range(args.seeds)]

    def run(one: tuple[str, str, int]) -> None:
        # A process each: CPU time is that of a process.
        words = [sys.executable, __file__, "--one", one[0], one[1], str(args.seconds), str(one[2])]
        done = subprocess.run(words, capture_output=True, text=True)
        rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
        print(rows[0] if rows else f"| {one[0]} | {one[1]} | failed: {done.stderr.strip().splitlines()[-1:]} |", flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(run, runs))


if __name__ == "__main__":
    main()
