"""One body on several processes: seconds, CPU seconds and bytes against one process. Two minutes on two idle cores.

    python benchmarks/slabs.py [--processes 2] [--size 64] [--living 1.0 0.05] [--steps 8] [--repeats 5] [--out FILE.md]
    python benchmarks/slabs.py --large 128 [--steps 4] [--iterations 3]      # iterations on a solid body, and their memory
    python benchmarks/slabs.py --train 128 [--iterations 3]                  # the first iterations of nca3d.train

The first trains on the random body of `nca3d bench`: a rollout with 16 channels and 128 hidden units, its loss, and the pass
backward, by `event` on one process with one thread and with two, and by `slabs` on all processes with one thread each. They
take turns; medians count. CPU seconds are of one process: on a machine with other work they say more than the clock. What
crosses a cut is counted by the executor, and compared with two dense planes each way, forward and backward.

The second runs a solid body forward and backward under `memory="auto"`, moves weights, and looks at it without a gradient.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import nca3d
from nca3d.bench.inputs import living_share, loss, make_rule, make_state
from nca3d.bench.machine import describe, header
from nca3d.bench.settings import Setting
from nca3d.executors.memory import noted_segments
from nca3d.executors.slabs.ghosts import Crossed, noted_crossing
from nca3d.files import write_atomic
from nca3d.process.status import status_bytes
from nca3d.ranks import current, expected
from nca3d.ranks.joined import joined

# Seconds that a process may wait for others, which measure alone meanwhile.
TIMEOUT = 1800


def trained(rule: nca3d.Rule, state: Tensor, steps: int, executor: str, seed: int) -> Tensor:
    """Returns the last state of a rollout, after its pass backward."""
    rule.zero_grad()
    last = nca3d.rollout(rule, state, steps, random_seed=seed, executor=executor)
    loss(last, rule).backward()
    return last.detach()


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Returns the seconds of a call, and the CPU seconds of this process meanwhile."""
    begun, used = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - begun, time.process_time() - used


@contextmanager
def threads(count: int) -> Iterator[None]:
    """A context in which torch, and so compiled steps, have so many threads."""
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(1)


def together() -> None:
    """Waits until all processes are here."""
    current().gather(torch.zeros(1))


def measure(setting: Setting, repeats: int) -> list[str]:
    """Returns the lines of one body: who took how long, what crossed the cuts, and whether it is the same."""
    ranks, rule = current(), make_rule(setting)
    state = make_state(setting, rule)
    ways = {"1 process, 1 thread": ("event", 1), "1 process, 2 threads": ("event", 2), f"{ranks.size} processes": ("slabs", 1)}
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for turn in range(repeats + 1):
        for way, (executor, count) in ways.items():
            together()
            if executor == "event" and not ranks.first:
                continue
            with threads(count):
                seconds = timed(lambda: trained(rule, state, setting.steps, executor, turn))  # noqa: B023
            cpu = max(float(one) for one in ranks.gather(torch.tensor(seconds[1]))) if executor == "slabs" else seconds[1]
            # The first turn warms up.
            took[way] += [(seconds[0], cpu)] * (turn > 0)
    lines = [f"**{setting.words()}** ({100 * living_share(state, rule):.3g} % in the alive mask)", ""]
    lines += ["| | s an iteration | times | CPU s a process | times |", "|---|--:|--:|--:|--:|"]
    first: list[float] = []
    for way, times in took.items():
        own = [statistics.median(column) for column in zip(*times, strict=True)] if times else [1.0, 1.0]
        first = first or own
        lines.append(f"| {way} | {own[0]:.3f} | {first[0] / own[0]:.2f} | {own[1]:.3f} | {first[1] / own[1]:.2f} |")
    return [*lines, "", *compare(setting, rule, state), ""]


def compare(setting: Setting, rule: nca3d.Rule, state: Tensor) -> list[str]:
    """Returns a line on bytes, and one on how what several processes find differs from what one finds."""
    ranks = current()
    with noted_crossing() as crossed:
        shared = trained(rule, state, setting.steps, "slabs", 0)
    found = [parameter.grad for parameter in rule.parameters() if parameter.grad is not None]
    alone = trained(rule, state, setting.steps, "event", 0)
    wanted = [parameter.grad for parameter in rule.parameters() if parameter.grad is not None]
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, wanted, strict=True))
    everywhere = all(torch.equal(one, shared) for one in ranks.gather(shared))
    same = "the same bits as one process, on every process" if torch.equal(shared, alone) and everywhere else "NOT the same"
    return [bytes_line(setting, crossed), "", f"States: {same}. Gradients differ by {error:.1e} of the largest (asked 1e-5)."]


def bytes_line(setting: Setting, crossed: Crossed) -> str:
    """Returns what went across the cuts in a step, and its share of two dense planes each way."""
    ranks = current()
    sent = torch.stack(ranks.gather(torch.tensor([crossed.forward, crossed.backward]))).sum(0).tolist()
    # Each of the cuts, forward and backward alike; a cut between two samples costs neither way anything.
    cuts = ranks.size - 1
    planes = 2 * 2 * cuts * setting.size[1] * setting.size[2] * setting.channels * 4
    shares = [one / setting.steps / planes for one in sent]
    kib = [one / setting.steps / 1024 for one in sent]
    return (
        f"Across {cuts} cut{'s' * (cuts > 1)}: {kib[0]:,.0f} KiB a step forward, {kib[1]:,.0f} backward. Two dense planes each "
        f"way, {planes / 1024:,.0f} KiB: {100 * shares[0]:.1f} % and {100 * shares[1]:.1f} % of that, together "
        f"{50 * sum(shares):.1f} % (asked of a body of 5 %: 20)."
    )


def large(side: int, steps: int, iterations: int) -> list[str]:
    """Returns what a few iterations on a solid body take, and a look without a gradient: seconds, memory of each process."""
    ranks = current()
    setting = Setting("solid", (side, side, side), batch=1, steps=steps)
    rule = make_rule(setting)
    state = make_state(setting, rule)
    optimizer = torch.optim.Adam(rule.parameters(), 1e-4)
    lines = [f"**{setting.words()}**, {ranks.size} processes, memory = auto", ""]
    lines += ["| | s | CPU s a process | peak memory of each process |", "|---|--:|--:|---|"]

    def told(name: str, seconds: tuple[float, float]) -> None:
        cpu = max(float(one) for one in ranks.gather(torch.tensor(seconds[1])))
        peaks = [float(one) for one in ranks.gather(torch.tensor(peak_gib()))]
        lines.append(f"| {name} | {seconds[0]:.1f} | {cpu:.1f} | {' / '.join(f'{peak:.2f} GiB' for peak in peaks)} |")

    told("state made", (0.0, 0.0))
    for iteration in range(iterations):
        together()
        with noted_segments() as segments:
            seconds = timed(lambda: trained(rule, state, steps, "slabs", iteration))  # noqa: B023
        optimizer.step()
        kept = "all steps kept" if not any(segments) else f"segments of {segments[0]} steps"
        told(f"iteration {iteration + 1}, {kept}", seconds)
    with torch.no_grad():
        told(f"{4 * steps} steps without gradient", timed(lambda: nca3d.rollout(rule, state, 4 * steps, executor="slabs")))
    return [*lines, ""]


def train(side: int, iterations: int) -> list[str]:
    """Returns what a few iterations of `nca3d.train` on a solid body take, and its overlap with what it has grown."""
    colours = np.ones((side - 8,) * 3 + (4,), dtype=np.float32)
    target = nca3d.targets.from_array(colours, size=(side,) * 3)
    changes = {"regime": "growing", "batch": 1, "pool_size": 1, "iterations": iterations, "split": "lattice", "threads": 1}
    folder = tempfile.mkdtemp() if current().first else ""
    folder = current().from_first(folder)
    config = nca3d.Config.load("default").replace(
        **changes, size=(side,) * 3, steps=(16, 24), report=False, timeout=TIMEOUT, out=f"{folder}/run"
    )
    seconds = time.perf_counter()
    run = nca3d.train(config, target=target)
    seconds = time.perf_counter() - seconds
    with torch.no_grad():
        last = nca3d.rollout(run.rule, nca3d.seed_state(run.rule), 64, executor="slabs")
    iou = float(nca3d.iou(last, target)[0])
    peaks = " / ".join(f"{float(one):.2f} GiB" for one in current().gather(torch.tensor(peak_gib())))
    return [
        f"nca3d.train, {side}³, {iterations} iterations: {seconds:.1f} s, IoU after 64 steps {iou:.3f}, peak memory {peaks}."
    ]


def peak_gib() -> float:
    """Returns the most memory that this process has had, in GiB."""
    return (status_bytes("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) / 2**30


def main() -> None:
    """Starts the processes, or is one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--size", type=int, default=64, help="cells along each side")
    parser.add_argument("--living", type=float, nargs="+", default=[1.0, 0.05], help="shares of living cells")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=None, help="8; of large bodies 4")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--large", type=int, help="cells along each side of a solid body")
    parser.add_argument("--train", type=int, help="the same by nca3d.train")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--out", type=Path, help="write the table to this file too")
    args = parser.parse_args()
    if expected() == 1 and args.processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={args.processes}"]
        sys.exit(subprocess.run([*command, __file__, *sys.argv[1:]]).returncode)
    torch.set_num_threads(1)
    with joined(TIMEOUT) as ranks:
        lines = [header(describe(torch.device("cpu"))), ""]
        if args.large:
            lines += large(args.large, args.steps or 4, args.iterations)
        elif args.train:
            lines += train(args.train, args.iterations)
        else:
            for living in args.living:
                size = (args.size,) * 3
                lines += measure(Setting("slabs", size, args.batch, args.steps or 8, living), args.repeats)
        if ranks.first:
            text = "\n".join(lines)
            print(text, flush=True)
            if args.out:
                write_atomic(args.out, f"# One body on {ranks.size} processes\n\n{text}\n".encode())


if __name__ == "__main__":
    main()
