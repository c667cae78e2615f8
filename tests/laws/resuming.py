"""Law 11 is asked of bodies and of cubes alike: a run that is cut short, and all that a checkpoint holds."""

from pathlib import Path
from typing import Any

import torch

from nca3d import checkpoint
from nca3d.config import Config
from nca3d.training.loop import Run
from nca3d.training.monitor import OF_THE_MOMENT
from nca3d.training.trainer import Trainer


def everything(run: Run) -> dict[str, torch.Tensor]:
    """All tensors of a run's newest checkpoint."""
    saved = checkpoint.load(run.folder)
    return {f"{group}/{name}": tensor for group, tensors in saved.groups.items() for name, tensor in tensors.items()}


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a run's metrics without what tells of the machine and the moment."""
    return [{name: value for name, value in line.items() if name not in OF_THE_MOMENT} for line in lines]


def cut_short(config: Config, iterations: int) -> None:
    """The first iterations of a run, as a signal would have cut it, in the folder that its config names."""
    trainer, folder = Trainer.begin(config), Path(config.out)
    folder.mkdir()
    config.save(folder / "config.toml")
    for done in range(iterations):
        if done % config.save_every == 0:
            trainer.save(folder)
        trainer.step()
    trainer.save(folder)
