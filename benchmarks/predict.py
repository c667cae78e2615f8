"""What the cost model of docs/scaling.md says of machines that we don't have: 8 and 64 GPUs, a 512³ lattice, 10,000 runs.

    python benchmarks/predict.py [--sample 0.052] [--fixed 0.004] [--gpu 20] [--latency 30e-6] [--bandwidth 50e9]

Nothing here is measured but what comes in: seconds a sample and seconds that don't shrink with processes (fitted to
benchmarks/scaling.py), how many times faster a GPU runs a sample, and the network's latency and bandwidth. The model:

    seconds(N) = fixed + sample · samples of the busiest process + calls · latency · log2(N) + bytes(N) / bandwidth

An iteration asks the others `CALLS` times. Gradients of all samples are gathered: a process gets 4 · weights bytes for each
sample of the batch. A slab sends the living rows of two planes each way, in each step, forward and backward.
"""

import argparse
import math

# What a training of castle is made of: its weights, the calls of an iteration, the batch a process.
WEIGHTS, CALLS, BATCH = 34_640, 11, 8
# A row of 16 channels, its cell and its mask.
ROW_BYTES = 4 * 16 + 4 + 1
# Living cells that a core runs forward and backward in a second (benchmarks/slabs.py), and the steps of a rollout.
CELLS_A_SECOND, STEPS = 1.5e6, 64


def main() -> None:
    """Prints the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=float, default=0.052, help="seconds that one core takes for one sample")
    parser.add_argument("--fixed", type=float, default=0.004, help="seconds of an iteration that no process shares")
    parser.add_argument("--gpu", type=float, default=20.0, help="how many times faster a GPU runs a sample (assumed)")
    parser.add_argument("--latency", type=float, default=30e-6, help="seconds of a call between GPUs (assumed)")
    parser.add_argument("--bandwidth", type=float, default=50e9, help="bytes a second between GPUs (assumed)")
    parser.add_argument("--run", type=float, default=60.0, help="seconds of one run of a study")
    parser.add_argument("--start", type=float, default=4.0, help="seconds to start one")
    args = parser.parse_args()
    print("Predicted, not measured.\n")
    samples(args)
    lattice(args)
    study(args)


def seconds(processes: int, batch: int, args: argparse.Namespace) -> float:
    """Returns the seconds of an iteration whose batch so many GPUs share out."""
    own = math.ceil(batch / processes)
    sent = 4 * WEIGHTS * batch * (processes - 1) / processes
    talk = CALLS * args.latency * math.log2(processes) if processes > 1 else 0.0
    return float(args.fixed + args.sample / args.gpu * own + talk + sent / args.bandwidth)


def samples(args: argparse.Namespace) -> None:
    """Prints weak and strong scaling of a body by samples."""
    one = seconds(1, BATCH, args)
    print("| GPUs | weak: batch | s an iteration | efficiency | strong: batch 64, s | times as fast |")
    print("|--:|--:|--:|--:|--:|--:|")
    for count in (1, 2, 8, 64):
        weak, strong = seconds(count, BATCH * count, args), seconds(count, 64, args)
        times = seconds(1, 64, args) / strong
        print(f"| {count} | {BATCH * count} | {weak:.4f} | {100 * one / weak:.0f} % | {strong:.4f} | {times:.1f} |")


def lattice(args: argparse.Namespace) -> None:
    """Prints what a rollout of a 512³ lattice takes, cut into slabs."""
    side = 512
    print("\n| 512³, alive | processes | rows a process | kept for all steps | across a cut a step | s a step |")
    print("|---|--:|--:|--:|--:|--:|")
    for share in (0.05, 0.5):
        for count in (8, 64):
            rows = share * side**3 / count
            kept = rows * ROW_BYTES * STEPS / 2**30
            crossing = 2 * 2 * side**2 * share * ROW_BYTES
            step = rows / (CELLS_A_SECOND * args.gpu) + crossing / args.bandwidth + 2 * args.latency
            print(f"| {100 * share:.0f} % | {count} | {rows:,.0f} | {kept:,.1f} GiB | {crossing / 1e6:.1f} MB | {step:.3f} |")


def study(args: argparse.Namespace) -> None:
    """Prints what a study of 10,000 runs takes, a run a core."""
    print(f"\n| cores | 10,000 runs of {args.run:.0f} s, hours |")
    print("|--:|--:|")
    for cores in (2, 64, 1024):
        print(f"| {cores} | {10_000 / cores * (args.run + args.start) / 3600:,.1f} |")


if __name__ == "__main__":
    main()
