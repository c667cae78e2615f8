"""Checks whether a run fits into this machine's memory, before anything heavy is loaded. Imports no torch."""

import math
from pathlib import Path

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.files import names_path


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
        fitted = " --target-options fit=true" if names_path(config.target) else ""
        raise InputError(
            "config",
            "size",
            f"{list(config.lattice)} with pool_size = {slots} and batch = {config.batch}: at least {needed / 2**30:.1f} GiB",
            f"what fits in the {free / 2**30:.1f} GiB that are free: a smaller pool_size or batch, or --size {shorter}{fitted}",
        )


def free_memory() -> int:
    """Returns how many bytes can be allocated without swapping; a huge number where the system doesn't say."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        # macOS and others have no /proc: better no check than a wrong refusal.
        return 1 << 62
