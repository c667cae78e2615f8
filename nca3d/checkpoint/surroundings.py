"""What the bits of a resumed run depend on besides its checkpoint, and what of that has changed."""

from collections.abc import Mapping
from typing import Any

import torch


def bit_exact_warning(manifest: Mapping[str, Any], device: str | None = None, *, any_ranks: bool = False) -> str | None:
    """Returns why a run that is resumed here is not bit for bit the run that was saved; None if it is.

    Args:
        manifest: of the checkpoint.
        device: type of the device that the run goes on with; None = not compared.
        any_ranks: whether its sums are the same on any number of processes.
    """
    now = surroundings() | ({"device": device} if device else {})
    differ = [key for key in now if manifest.get(key) != now[key] and not (any_ranks and key == "world_size")]
    changes = [f"{key} was {manifest.get(key)}, is {now[key]}" for key in differ]
    return f"not bit-exact: {'; '.join(changes)}" if changes else None


def surroundings() -> dict[str, Any]:
    """Returns what bits depend on besides the checkpoint: torch, the CPU's instructions, threads and processes."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {
        "torch": str(torch.__version__),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "world_size": torch.distributed.get_world_size() if several else 1,
    }
