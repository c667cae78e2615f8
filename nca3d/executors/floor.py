"""The floor: how fast this machine multiplies matrices, and how many of a training's operations are such multiplications.

Per living cell that fires, a step's network takes 2 · Σ(width in · width out) operations forward (for 64 → 128 → 16:
2 · (64·128 + 128·16) = 20,480) and twice that backward, once for the inputs' gradients and once for the weights'. All else,
hidden layers computed a second time included, is overhead: the *share of the floor* is this useful work, over the time it
took, over the machine's measured matrix rate.
"""

import functools
import time
import timeit
from collections.abc import Callable

import torch

from nca3d.executors.cores import torch_threads

# Rows and columns of the matrices: large enough that setting up counts for nothing, three of them within a shared cache.
SIDE = 1024

# Products of a matrix forward, and backward: for the gradients of its inputs and of its weights.
FORWARD, BACKWARD = 1, 2

# Seconds that a run gives to measuring the machine it is on, and how many times smaller a first matrix is.
QUICK, QUARTER = 0.1, 4


def useful_operations(multiply_adds: int, learnt: float, run: float = 0.0) -> float:
    """Returns the useful operations of some updates of cells, counted for living cells that fire.

    Args:
        multiply_adds: Those of one update of one cell, see `Rule.multiply_adds`.
        learnt: The number of updates with a backward pass.
        run: The number of updates without one.
    """
    return 2.0 * multiply_adds * ((FORWARD + BACKWARD) * learnt + FORWARD * run)


def matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Measures the operations a second of a `SIDE`³ matrix product, the best of several, with torch's present threads."""
    return 2 * SIDE**3 / best_seconds(_product(device, dtype, SIDE), device, repeats)


def reachable(float32: float, lower: float | None) -> float:
    """Returns the rate that counts for arithmetic in fewer bits, in operations a second.

    Args:
        float32: The rate in float32.
        lower: That in bf16 or fp16; None = float32 is what runs. A processor without such units multiplies bf16 numbers in
            float32, and torch's own product of them may be a hundred times slower than that: nobody has to be so slow.
    """
    return max(float32, lower or 0.0)


@functools.cache
def quick_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Measures about what `matrix_rate` does in a tenth of a second, once in a process for the same arguments.

    Args:
        device: Where.
        dtype: In which precision.
        threads: The number of threads on a CPU.
    """
    with torch_threads(threads):
        small, begun = _product(device, dtype, SIDE // QUARTER), time.perf_counter()
        best = best_seconds(small, device, 8)
        rate = 2 * (SIDE // QUARTER) ** 3 / best
        # Slow arithmetic is as slow on small matrices; there is no time for large ones.
        if best * QUARTER**3 < QUICK:
            large = _product(device, dtype, SIDE)
            # The best of both: on a busy machine a large product is seldom left alone.
            while time.perf_counter() - begun < QUICK:
                rate = max(rate, 2 * SIDE**3 / best_seconds(large, device, 1))
    return rate


def best_seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Measures the fewest seconds that a call takes, of some repeats after a first one that does not count."""
    return min(timeit.repeat(lambda: _finished(call, device), number=1, repeat=repeats + 1)[1:])


def _product(device: torch.device, dtype: torch.dtype, side: int) -> Callable[[], object]:
    # A generator of its own: the global one belongs to the run, which must draw the same with and without this.
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=generator).to(device, dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def _finished(call: Callable[[], object], device: torch.device) -> None:
    call()
    # Kernels run on by themselves: else only their launch is timed.
    if device.type == "cuda":
        torch.cuda.synchronize(device)
