"""Checks whether a run fits into this machine's memory, before anything heavy is loaded, and says what to lower. No torch."""

import math
from contextlib import AbstractContextManager
from pathlib import Path

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.files import names_path
from nca3d.process.room import on_device, within_memory


def check_memory(config: Config) -> None:
    """Refuses at once a run that can't fit, instead of being killed for it in the middle of the night.

    Args:
        config: the experiment.

    Raises:
        InputError: the pool and one batch with its gradient need more memory than this machine has free.
    """
    # Not known as long as the target was not read; `Trainer.begin` asks again.
    if config.size == "auto":
        return
    slots = config.pool_size if config.kind.pooled else 1
    # 4 bytes a number (float32).
    state = 4 * config.kind.channels(config) * math.prod(config.lattice)
    # About six copies of the running part of a batch: states, their gradients and the update network's values. A lower bound.
    needed = state * (slots + 6 * config.batch // config.accumulate)
    free = free_memory()
    if needed > free:
        shorter = " ".join(str(max(1, int(n * (free / needed) ** (1 / 3)))) for n in config.lattice)
        # A body of one's own keeps its cells unless it is told not to.
        fitted = " --target-options fit=true" if any(map(names_path, config.targets)) else ""
        raise InputError(
            "config",
            "size",
            f"{list(config.lattice)} with pool_size = {slots} and batch = {config.batch}: at least {needed / 2**30:.1f} GiB",
            f"what fits in the {free / 2**30:.1f} GiB that are free: a smaller pool_size or batch, or --size {shorter}{fitted}",
        )


def training_memory(config: Config) -> AbstractContextManager[None]:
    """A context for a training: where memory runs out all the same, it ends with one line that says what to lower.

    Args:
        config: the experiment.

    Raises:
        RunError: memory ran out; the last good checkpoint is kept.
    """
    names = ("batch", "accumulate", "memory", "offload", *(["pool_size", "pool_device"] if config.kind.pooled else []))
    size = "auto" if isinstance(config.size, str) else " ".join(map(str, config.size))
    settings = ", ".join([*(f"{name} {getattr(config, name)}" for name in names), f"size {size}"])
    return within_memory(f"training with {settings}", lambda error: f"{_ways(config, error)}; checkpoints are kept")


def _ways(config: Config, error: BaseException) -> str:
    """Returns what there is to lower, what costs least in front."""
    device = on_device(error)
    ways = [
        "--batch (or --accumulate: its parts one after the other)" if config.batch > config.accumulate else "",
        "--memory recompute" if config.memory != "recompute" else "",
        "--offload host" if device and config.offload == "none" else "",
        ("--pool-device host" if device and config.pool_device != "host" else "--pool-size") if config.kind.pooled else "",
        "--size",
    ]
    return ", ".join(filter(None, ways))


def free_memory() -> int:
    """Returns how many bytes can be allocated without swapping; a huge number where the system doesn't say."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        # macOS and others have no /proc: better no check than a wrong refusal.
        return 1 << 62
