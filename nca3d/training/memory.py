"""Whether a run fits into this machine's memory, found out before anything is loaded. Imports no torch."""

import math
from pathlib import Path

from nca3d.config import Config
from nca3d.errors import InputError


def check_memory(config: Config) -> None:
    """Refuse at once what can't fit, instead of being killed for it in the middle of the night.

    Raises:
        InputError: the pool and one batch with its gradient need more than this machine has free.
    """
    slots = config.pool_size if config.kind.pooled else 1
    state = 4 * config.kind.channels(config) * math.prod(config.size)
    needed = state * (slots + 6 * config.batch // config.accumulate)
    free = free_memory()
    if needed > free:
        raise InputError(
            "config",
            "size",
            f"{list(config.size)} with pool_size = {slots} and batch = {config.batch}: at least {needed / 2**30:.1f} GiB",
            f"what fits in the {free / 2**30:.1f} GiB that are free: a smaller size, pool_size or batch",
        )


def free_memory() -> int:
    """Bytes that can be had without swapping; without such a figure, as much as anyone asks for."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 1 << 62
