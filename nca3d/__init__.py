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
from typing import TYPE_CHECKING

# libgomp's threads spin at every barrier and stall each other on a busy machine; the choice must precede torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nca3d.config import Config as Config
    from nca3d.cube import Cube as Cube
    from nca3d.cube import GMLPRule as GMLPRule
    from nca3d.errors import InputError as InputError
    from nca3d.errors import RunError as RunError
    from nca3d.evaluation.story import Cut as Cut
    from nca3d.evaluation.story import tell as tell
    from nca3d.experiment import evaluate as evaluate
    from nca3d.experiment import train as train
    from nca3d.fire import fire_mask as fire_mask
    from nca3d.live import live as live
    from nca3d.load import load as load
    from nca3d.load import zoo as zoo
    from nca3d.losses import LOSSES as LOSSES
    from nca3d.metrics import body_mask as body_mask
    from nca3d.metrics import iou as iou
    from nca3d.metrics import to_rgba as to_rgba
    from nca3d.reports.report import Report as Report
    from nca3d.rollout import Trajectory as Trajectory
    from nca3d.rollout import record as record
    from nca3d.rollout import rollout as rollout
    from nca3d.rollout import seed_state as seed_state
    from nca3d.rules import RULES as RULES
    from nca3d.rules import ConvRule as ConvRule
    from nca3d.rules import Rule as Rule
    from nca3d.sparse import Compact as Compact
    from nca3d.sparse import compact as compact
    from nca3d.sparse import dense as dense
    from nca3d.targets import TARGETS as TARGETS
    from nca3d.targets import Target as Target
    from nca3d.training.loop import Run as Run

_HOMES = {
    "Compact": "nca3d.sparse",
    "Config": "nca3d.config",
    "ConvRule": "nca3d.rules",
    "Cube": "nca3d.cube",
    "Cut": "nca3d.evaluation.story",
    "GMLPRule": "nca3d.cube",
    "InputError": "nca3d.errors",
    "LOSSES": "nca3d.losses",
    "RULES": "nca3d.rules",
    "Report": "nca3d.reports.report",
    "Rule": "nca3d.rules",
    "Run": "nca3d.training.loop",
    "RunError": "nca3d.errors",
    "TARGETS": "nca3d.targets",
    "Target": "nca3d.targets",
    "Trajectory": "nca3d.rollout",
    "body_mask": "nca3d.metrics",
    "compact": "nca3d.sparse",
    "dense": "nca3d.sparse",
    "evaluate": "nca3d.experiment",
    "fire_mask": "nca3d.fire",
    "iou": "nca3d.metrics",
    "live": "nca3d.live",
    "load": "nca3d.load",
    "record": "nca3d.rollout",
    "rollout": "nca3d.rollout",
    "seed_state": "nca3d.rollout",
    "tell": "nca3d.evaluation.story",
    "to_rgba": "nca3d.metrics",
    "train": "nca3d.experiment",
    "zoo": "nca3d.load",
}
_MODULES = ("evaluation", "executors", "losses", "rules", "targets", "training")

__all__ = [
    "LOSSES",
    "RULES",
    "TARGETS",
    "Compact",
    "Config",
    "ConvRule",
    "Cube",
    "Cut",
    "GMLPRule",
    "InputError",
    "Report",
    "Rule",
    "Run",
    "RunError",
    "Target",
    "Trajectory",
    "body_mask",
    "compact",
    "dense",
    "evaluate",
    "evaluation",
    "executors",
    "fire_mask",
    "iou",
    "live",
    "load",
    "losses",
    "record",
    "rollout",
    "rules",
    "seed_state",
    "targets",
    "tell",
    "to_rgba",
    "train",
    "training",
    "zoo",
]


def __getattr__(name: str) -> object:
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

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Doors


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
