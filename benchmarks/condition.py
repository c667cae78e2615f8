"""What does a condition cost? Seconds a step of a rule of ten bodies, against a rule of one body of the same widths.

    python benchmarks/condition.py [RULE]

Rollouts of the same bodies in the same process, by turns, with and without gradient; the median of eleven rounds each.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

import nca3d


def seconds(run: Callable[[], object]) -> float:
    """Returns the seconds that a call takes."""
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def main(name: str = "zoo:menagerie", steps: int = 32, rounds: int = 11) -> None:
    """Prints a row for each way to run the same bodies."""
    rule = nca3d.load(name, trainable=True)
    names = list(rule.conditions)
    with torch.no_grad():
        plain = rule.bound(names[0])
    plain.requires_grad_(True)
    alone = plain.card["horizon"]
    start = nca3d.seed_state(rule, batch=len(names), condition=[names[0]] * len(names))
    with torch.no_grad():
        one = nca3d.compact(nca3d.rollout(plain, start, alone))
        many = nca3d.compact(nca3d.rollout(rule, start, 3 * alone, condition=names))
    ways: dict[str, Callable[[], nca3d.Compact]] = {
        "a rule of one body": lambda: nca3d.rollout(plain, one, steps),
        "the same body, told": lambda: nca3d.rollout(rule, one, steps, condition=names[0]),
        "ten bodies, each told": lambda: nca3d.rollout(rule, many, steps, condition=names),
    }
    cells = {"a rule of one body": one, "the same body, told": one, "ten bodies, each told": many}
    print("| | living cells | µs a step | with gradient | against one body, per cell |\n|---|--:|--:|--:|--:|")
    took: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            with torch.no_grad():
                forward = seconds(run)
            took[way].append((forward, seconds(lambda run=run: run().values.square().sum().backward())))
    first = None
    for way, times in took.items():
        forward, both = (1e6 * statistics.median(column) / steps for column in zip(*times, strict=True))
        per_cell = [number / len(cells[way].cells) for number in (forward, both)]
        first = first or per_cell
        ratios = " / ".join(f"{a / b:.2f}×" for a, b in zip(per_cell, first, strict=True))
        print(f"| {way} | {len(cells[way].cells):,} | {forward:,.0f} | {both:,.0f} | {ratios} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
