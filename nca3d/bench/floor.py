"""The floor of a setting: how fast this machine can multiply and move numbers, and how many cells of a rollout live and fire.

What the share of the floor is stands in `nca3d/executors/floor.py`.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nca3d.bench.inputs import DRIFT, living_share
from nca3d.bench.settings import Setting
from nca3d.errors import RunError
from nca3d.executors.cores import torch_threads
from nca3d.executors.floor import best_seconds, matrix_rate, useful_operations
from nca3d.fire import fire_mask
from nca3d.rollout import rollout
from nca3d.rules import Rule

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
        float32, bf16 = (matrix_rate(device, dtype, repeats) for dtype in (torch.float32, torch.bfloat16))
        source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
        target = torch.ones_like(source)
        copied = 2 * COPIED / best_seconds(lambda: target.copy_(source), device, repeats)
        return Floor(torch.get_num_threads(), float32, bf16, copied)


def operations(setting: Setting, fired: int) -> float:
    """Useful operations of one training iteration in which `fired` living cells fired, all steps counted."""
    widths = [4 * setting.channels, *setting.hidden, setting.channels]
    return useful_operations(sum(a * b for a, b in pairwise(widths)), fired)


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
