"""nca3d: 3D neural cellular automata that grow, keep and heal a body, trained from a pool of evolved states.

    import nca3d
    run = nca3d.train(nca3d.Config(target="axolotl", size=(10, 18, 14)))
    grown = nca3d.rollout(run.rule, nca3d.seed_state(run.rule, (10, 18, 14)), steps=46)

Names are looked up when they are first used, so that `import nca3d` and `nca3d --help` load nothing heavy.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType
from typing import Any

# libgomp's threads spin at every barrier and stall each other on a busy machine; the choice must precede torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_HOMES = {
    "Compact": "nca3d.sparse",
    "Config": "nca3d.config",
    "ConvRule": "nca3d.rules",
    "Cube": "nca3d.cube",
    "Cut": "nca3d.evaluation.story",
    "GMLPRule": "nca3d.cube",
    "InputError": "nca3d.errors",
    "RunError": "nca3d.errors",
    "Rule": "nca3d.rules",
    "Target": "nca3d.targets",
    "Trajectory": "nca3d.rollout",
    "compact": "nca3d.sparse",
    "dense": "nca3d.sparse",
    "evaluate": "nca3d.evaluation",
    "fire_mask": "nca3d.fire",
    "iou": "nca3d.metrics",
    "live": "nca3d.live",
    "load": "nca3d.load",
    "rollout": "nca3d.rollout",
    "seed_state": "nca3d.rollout",
    "tell": "nca3d.evaluation.story",
    "to_rgba": "nca3d.metrics",
    "train": "nca3d.experiment",
    "zoo": "nca3d.load",
}
_MODULES = ("evaluation", "executors", "losses", "rules", "targets", "training")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"nca3d.{name}")
    else:
        raise AttributeError(f"module 'nca3d' has no attribute {name!r}")
    globals()[name] = value
    return value


class _Doors(ModuleType):
    """Keeps `nca3d.rollout` the function: importing the file of that name would put the module in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Doors


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
