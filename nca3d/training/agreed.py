"""What several processes must agree on: that they train the same, where they go on, and when they stop."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nca3d import checkpoint
from nca3d.errors import InputError
from nca3d.process.stop import StopSignal
from nca3d.ranks import by_first, current
from nca3d.training.trainer import Trainer
from nca3d.versions import versions


def check_alike(trainer: Trainer) -> None:
    """Checks that all processes are about to train the same: config, bodies, shapes, software.

    Raises:
        InputError: One of them differs from rank 0; all raise it.
    """
    ranks = current()
    if ranks.size == 1:
        return
    first, *others = ranks.gather_objects(_about(trainer))
    for rank, other in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                found = f"{other.get(name)} (rank {rank})"
                raise InputError(f"rank {rank}", name, found, f"{first.get(name)}, as rank 0 has it: start all ranks alike")


def _about(trainer: Trainer) -> dict[str, Any]:
    """Returns what must be the same for all processes, by name."""
    config = trainer.config.plain()
    about = {f"config.{name}": json.dumps(value) for name, value in config.items() if name not in ("out", "threads")}
    about |= {f"software.{name}": version for name, version in versions().items()}
    about["device"] = trainer.task.device.type
    about["card"] = json.dumps({name: value for name, value in trainer.rule.card.items() if name != "figures"}, default=str)
    for name, tensor in trainer.shards.planned(trainer.rule.state_dict()).items():
        about[f"shape of {name}"] = str(tuple(tensor.shape))
    about["pool"] = f"{len(trainer.pool)} states of {tuple(trainer.pool.seed.shape)}"
    about["seed"] = hashlib.sha256(trainer.pool.seeds.cpu().numpy().tobytes()).hexdigest()[:16]
    return about


def load_newest(
    folder: Path, up_to: int | None = None, check: Callable[[checkpoint.Checkpoint], None] | None = None
) -> checkpoint.Checkpoint:
    """Returns the checkpoint that all processes go on from: the one that `checkpoint.load` gives rank 0.

    Args:
        folder: The run folder.
        up_to: The last step that will do; None = any.
        check: See `checkpoint.load`.

    Raises:
        InputError: No checkpoint can be used.
    """
    if current().size == 1:
        return checkpoint.load(folder, up_to=up_to, check=check)
    own = {}

    def load() -> Path:
        own["saved"] = checkpoint.load(folder, up_to=up_to, check=check)
        return own["saved"].path

    path = by_first(load)
    return own.get("saved") or checkpoint.load(path, check=check)


def stopping(stop: StopSignal) -> bool:
    """Returns whether a signal has come, to any of the processes: then all of them stop after the same iteration."""
    ranks = current()
    if ranks.size == 1:
        return stop.requested is not None
    numbers = [int(one) for one in ranks.gather(torch.tensor([stop.requested or 0]))]
    # One that has come since, to this process alone, waits for the next time: the others don't know of it.
    if number := max(numbers):
        stop.told(number)
        # A launcher that ends sends it to all; and from now on all have been told.
        if not all(numbers):
            ranks.stopped = numbers.index(number)
    return number != 0
