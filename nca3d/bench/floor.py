"""The floor: how fast this machine can multiply and move numbers, and how much of a training step is multiplication.

Per living cell that fires, a step's network takes 2 · Σ(width in · width out) operations forward (for 64 → 128 → 16:
2 · (64·128 + 128·16) = 20,480) and twice that backward, once for the inputs' gradients and once for the weights'. All else,
hidden layers computed a second time included, is overhead: the *share of the floor* is this useful work, over the time it
took, over the machine's measured matrix rate.
"""

import timeit
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nca3d.bench.inputs import DRIFT, living_share
from nca3d.bench.settings import Setting
from nca3d.errors import RunError
from nca3d.executors.cores import torch_threads
from nca3d.fire import fire_mask
from nca3d.rollout import rollout
from nca3d.rules import Rule

# Rows and columns of the matrices: large enough that setting up counts for nothing, three of them within a shared cache.
SIDE = 1024

# Living cells of a sample that more or less one cell of its body may make.
STEP = 10

# Bytes of the copy that measures bandwidth: more than any cache.
COPIED = 256 << 20


@dataclass(frozen=True)
class Floor:
    """What this machine reaches with `threads` threads.

    Args:
        threads: of the CPU.
        float32, bf16: operations a second in a 1024³ matrix product.
        bandwidth: bytes a second, read and written, in a large copy.
    """

    threads: int
    float32: float
    bf16: float
    bandwidth: float


@dataclass(frozen=True)
class Work:
    """What a rollout of a setting has to do: living share at both ends, mean living cells a step, cells that fire in all."""

    living_start: float
    living_end: float
    living_rows: float
    fired: int


def measure_floor(device: torch.device, threads: int | None = None, repeats: int = 12) -> Floor:
    """Measures the machine, the best of several, with `threads` threads (None = as many as there are now)."""
    with torch_threads(threads):
        float32, bf16 = (_matrix_rate(device, dtype, repeats) for dtype in (torch.float32, torch.bfloat16))
        source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
        target = torch.ones_like(source)
        copied = 2 * COPIED / _best(lambda: target.copy_(source), device, repeats)
        return Floor(torch.get_num_threads(), float32, bf16, copied)


def _matrix_rate(device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    a, b = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * SIDE**3 / _best(lambda: torch.mm(a, b, out=out), device, repeats)


def _best(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return min(timeit.repeat(run, number=1, repeat=repeats + 1)[1:])


def operations(setting: Setting, fired: int) -> float:
    """Useful operations of one training iteration in which `fired` living cells fired, all steps counted."""
    widths = [4 * setting.channels, *setting.hidden, setting.channels]
    return 3.0 * fired * 2 * sum(a * b for a, b in pairwise(widths))


@torch.no_grad()
def measure_work(setting: Setting, rule: Rule, state: Tensor) -> Work:
    """Counts living and firing cells along the rollout of a setting from a state (B, C, D, H, W).

    Raises:
        RunError: the share of living cells is not, or does not stay, what the setting's name says.
    """
    ids, living, fired = torch.arange(len(state), device=state.device), 0, 0
    start, cells = living_share(state, rule), state
    for step in range(setting.steps):
        alive = rule.alive_mask(cells)
        living += int(alive.sum())
        fired += int((alive & fire_mask(setting.random_seed, step, ids, setting.size, rule.fire_rate)).sum())
        cells = rollout(rule, cells, 1, random_seed=setting.random_seed, first_step=step)
    end = living_share(cells, rule)
    least = STEP * setting.batch / setting.volume
    if abs(start - setting.living) > max(DRIFT * setting.living, least) or abs(end - start) > max(DRIFT * start, least):
        shares = f"{100 * start:.3g} % of the cells are alive at the start and {100 * end:.3g} % at the end"
        raise RunError(f"{setting.name}: {shares}, wanted {100 * setting.living:.3g} % throughout")
    return Work(start, end, living / max(1, setting.steps), fired)
