"""nca3d: 3D neural cellular automata that grow, keep and heal a body, trained from a pool of evolved states.

    import nca3d
    run = nca3d.train(nca3d.Config(target="axolotl", size=(10, 18, 14)))
    grown = nca3d.rollout(run.rule, nca3d.seed_state(run.rule, (10, 18, 14)), steps=46)

Names are looked up when they are first used, so that `import nca3d` and `nca3d --help` load nothing heavy.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

# libgomp's threads spin at every barrier and stall each other on a busy machine; the choice must precede torch's import.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"


def _refuse_neighbours() -> None:
    """Says which file of the user's hides `pools` or `visualize`: beside a script or a notebook, Python finds that one first.

    Raises:
        ImportError: one does; as a command, the same line and exit code 2.
    """
    for name in ("pools", "visualize"):
        ours = os.path.join(os.path.dirname(__path__[0]), name)
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a stand-in without a spec
            continue
        found = ours if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), ours)
        if os.path.realpath(found) in {os.path.realpath(place) for place in (ours, os.path.join(ours, "__init__.py"))}:
            continue
        line = f"nca3d: import: found {os.path.abspath(found)}, which hides nca3d's own {name}, allowed another name for it"
        # Run as a module, or by the script that pip writes.
        if os.path.basename(sys.argv[0]) == "nca3d" or (sys.argv[0] == "-m" and "nca3d" in sys.orig_argv):
            print(line, file=sys.stderr)
            sys.exit(2)
        raise ImportError(line, name=name, path=found)


_refuse_neighbours()

_HOMES = {
    "Compact": "nca3d.compact",
    "Config": "nca3d.config",
    "ConvRule": "nca3d.rules",
    "Cube": "nca3d.asking",
    "Cut": "nca3d.evaluation.story",
    "GMLPRule": "nca3d.rules",
    "InputError": "nca3d.errors",
    "RunError": "nca3d.errors",
    "Rule": "nca3d.rules",
    "Target": "nca3d.targets",
    "Trajectory": "nca3d.rollout",
    "compact": "nca3d.compact",
    "dense": "nca3d.compact",
    "evaluate": "nca3d.evaluation",
    "fire_mask": "nca3d.fire",
    "iou": "nca3d.quality",
    "live": "nca3d.live",
    "load": "nca3d.load",
    "rollout": "nca3d.rollout",
    "seed_state": "nca3d.rollout",
    "tell": "nca3d.evaluation.story",
    "to_rgba": "nca3d.quality",
    "train": "nca3d.training",
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
