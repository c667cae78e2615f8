"""What a training will take on this machine, by arithmetic: said before it begins.

    time   = useful operations / (the machine's matrix rate · SHARE) + what passes over whole lattices
    memory = imports + pool + what a rollout keeps of its living cells

The floor (`executors/floor.py`) says what is useful. SHARE was read off `floor_share` in the logs of trainings of bodies of 300
to 10,000 cells; the living cells are the body and those that touch it, three quarters of them over a rollout.
"""

from collections.abc import Sequence

import torch
from torch import nn

from nca3d.config import Config
from nca3d.config.fields import AGEING_EVERY
from nca3d.executors.cores import cores
from nca3d.executors.floor import quick_rate, reachable, useful_operations
from nca3d.lattice import dilate
from nca3d.rules.cell import Rule
from nca3d.targets import Target
from nca3d.training.monitor import LOWER

# The share of the floor that training reaches, and the living cells of a rollout as a share of those in its end.
SHARE, LIVING = 0.33, 0.75
# Bytes that an iteration moves for each byte of a batch's whole lattices (losses, pool, copies), and how many a second.
PASSES, BANDWIDTH = 40, 4e9
# Bytes of the process before it trains.
IMPORTS = 400 << 20


def forecast(config: Config, targets: Sequence[Target], rule: Rule, done: int = 0) -> str:
    """Returns a line: about how long training will take, and how much memory.

    Args:
        config: The experiment, in numbers.
        targets: The bodies, one or several.
        rule: The rule, as training begins with it.
        done: How many iterations are done already.
    """
    left = config.iterations - done
    low, high = config.steps_range
    living = sum(float(dilate(target.occupied[None, None]).sum()) for target in targets) / len(targets)
    rows = LIVING * living * config.batch * (low + high) / 2
    state = 4 * rule.channels * targets[0].occupied.numel()
    seconds = PASSES * config.batch * state / BANDWIDTH
    if (multiply_adds := rule.multiply_adds()) is not None:
        ageing = living * config.ageing / 2 / AGEING_EVERY * max(1, config.batch - 2) if config.kind.pooled else 0.0
        operations = useful_operations(multiply_adds, rows * rule.fire_rate, ageing * rule.fire_rate)
        seconds += operations / (SHARE * _rate(config, rule))
    core = rule.to_core(torch.zeros(1, rule.channels)).shape[1]
    kept = min(rows * (4 * (-(-core // 16) * 16 + 3) + rule.fire_rate * _seen(config, rule)), config.memory_budget << 20)
    pool = state * (config.pool_size if config.kind.pooled else 1)
    memory = IMPORTS + pool + kept + 10 * config.batch * state
    early = ", less if the body is whole before" if config.stop_when_whole else ""
    return (
        f"forecast: {left:,} iterations{' more' * bool(done)} of batch {config.batch}, {low} to {high} steps: about "
        f"{duration(left * seconds)} on this machine ({seconds:.2g} s an iteration, {memory / 1e6:,.0f} MB)"
        f"{early}; more on a busy one"
    )


def _seen(config: Config, rule: Rule) -> int:
    """Returns the bytes that the layers of a cell that fires keep of what they see: where numbers are rounded to two bytes."""
    layers = [layer for layer in rule.modules() if isinstance(layer, nn.Linear) and layer.weight.requires_grad]
    halves = config.precision == "bf16" and rule.multiply_adds() is not None
    return 2 * sum(layer.in_features for layer in layers) if halves else 0


def _rate(config: Config, rule: Rule) -> float:
    """Returns the operations a second of the machine in the precision of the run."""
    device = next(rule.parameters()).device
    threads = config.threads or cores()
    float32 = quick_rate(device, torch.float32, threads)
    lower = LOWER.get(config.precision)
    return reachable(float32, quick_rate(device, lower, threads) if lower is not None else None)


def duration(seconds: float) -> str:
    """Returns a time in the unit in which people say it."""
    if seconds < 1.5:
        return "a second"
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
