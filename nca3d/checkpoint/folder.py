"""The folder of one checkpoint, `step-NNNNNN`: what it is called, and what is in it when it is open."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

# Version of the manifest's format. A change of what is in a folder needs a new number and a reader of the old one.
FORMAT = 1
MANIFEST, SCALARS = "manifest.json", "scalars.json"
# With .old-PID: the folder of a step that was being replaced when its writer was killed.
STEP = re.compile(r"step-(\d{6,18})(\.old-\d+)?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was verified.

    Attributes:
        step: the iteration that it was saved at.
        groups: tensors by name, by group (rule, optimizer, pool, …).
        scalars: what was saved as JSON.
        manifest: the manifest, with versions and device.
        path: the folder.
        skipped: newer checkpoints that could not be used, each with the reason.
    """

    step: int
    groups: dict[str, dict[str, Tensor]]
    scalars: dict[str, Any]
    manifest: dict[str, Any]
    path: Path
    skipped: tuple[tuple[Path, str], ...] = ()


def step_of(path: Path) -> int:
    """Returns the step in a folder's name; −1 for another name."""
    name = STEP.fullmatch(path.name)
    return int(name[1]) if name else -1


def newest_first(folder: Path) -> list[Path]:
    """Returns the folders of checkpoints by falling step; of one step, a replaced folder (.old-PID) comes last."""
    checkpoints = [path for path in folder.iterdir() if step_of(path) >= 0]
    return sorted(checkpoints, key=lambda path: (step_of(path), not path.suffix), reverse=True)


def all_finite(tensor: Tensor) -> bool:
    """Returns whether all numbers of a tensor, of any shape, are finite."""
    # One NaN or infinity makes the sum one, which is found thirty times as fast; a finite sum that overflows is looked into.
    return bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
