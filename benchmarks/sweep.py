"""Twelve short runs one after the other, and the same twelve as a sweep: how many times sooner is it done?

    python benchmarks/sweep.py [--repeats 3] [--jobs 2] [--iterations 150]

A run is a tiny body, trained and measured (`--measure quick`) on one thread. One after the other: the very processes that a
sweep starts, without a sweep. The sweep: `nca3d sweep` from its first line to its table and chart. Both take turns, and the
median counts; 1.7 times is asked on an idle machine of two cores, so the load before each turn is printed.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from nca3d.config import Config
from nca3d.executors.child import python_with_nca3d
from nca3d.sweep.attempt import PROGRAM

RATES = (0.4, 0.6, 0.8, 1.0)
SEEDS = 3


def main() -> None:
    """Times both, and prints each turn and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=150)
    args = parser.parse_args()
    config = Config.load("tiny").replace(iterations=args.iterations, report=False, threads=1)
    seconds: dict[str, list[float]] = {"one after the other": [], f"sweep, {args.jobs} jobs": []}
    for turn in range(args.repeats):
        for name, times in seconds.items():
            folder = Path(tempfile.mkdtemp())
            load, start = os.getloadavg()[0], time.monotonic()
            if name.startswith("sweep"):
                _sweep(config, folder, args.jobs)
            else:
                _one_by_one(config, folder)
            times.append(time.monotonic() - start)
            shutil.rmtree(folder)
            print(f"turn {turn + 1}: {name:<20} {times[-1]:7.1f} s   load before {load:.2f}", flush=True)
    first, second = (statistics.median(times) for times in seconds.values())
    print(f"median: {first:.1f} s and {second:.1f} s: {first / second:.2f} times, on {os.cpu_count()} cores")


def _one_by_one(config: Config, folder: Path) -> None:
    python, environment = python_with_nca3d()
    settings = [(rate, seed) for seed in range(SEEDS) for rate in RATES]
    for number, (rate, seed) in enumerate(settings):
        file = folder / f"{number}.toml"
        config.replace(fire_rate=rate, random_seed=seed).save(file)
        words = [*python, "-m", PROGRAM, str(os.getpid()), str(folder / str(number)), str(file), "quick"]
        subprocess.run(words, env={**environment, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)


def _sweep(config: Config, folder: Path, jobs: int) -> None:
    python, environment = python_with_nca3d()
    config.save(folder / "base.toml")
    vary = f"fire_rate={','.join(map(str, RATES))}"
    flags = f"--seeds {SEEDS} --jobs {jobs}".split()
    words = ["sweep", str(folder / "base.toml"), "--vary", vary, *flags, "--out", str(folder / "s")]
    subprocess.run([*python, "-m", "nca3d", *words], env=environment, check=True, capture_output=True)


if __name__ == "__main__":
    main()
