"""Neural cellular automata in 3D that grow, maintain and regenerate a body, trained from a pool of evolved states.

    import nca3d
    run = nca3d.train(nca3d.Config(target="axolotl", size=(10, 18, 14)))
    grown = nca3d.rollout(run.rule, nca3d.seed_state(run.rule, (10, 18, 14)), steps=46)

Names are looked up when they are first used, so that `import nca3d` and `nca3d --help` load nothing heavy.
"""

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nca3d import evaluation, executors, losses, rules, targets, training
    from nca3d.config import Config
    from nca3d.cube import Cube, GMLPRule
    from nca3d.errors import InputError, RunError
    from nca3d.evaluation.story import Cut, tell
    from nca3d.experiment import evaluate, train
    from nca3d.fire import fire_mask
    from nca3d.live import live
    from nca3d.load import load, zoo
    from nca3d.losses import LOSSES
    from nca3d.metrics import body_mask, iou, to_rgba
    from nca3d.reports.report import Report
    from nca3d.rollout import Trajectory, record, rollout, seed_state
    from nca3d.rules import RULES, CodedRule, ConditionalRule, ConvRule, Rule
    from nca3d.sparse import Compact, compact, dense
    from nca3d.targets import TARGETS, Target
    from nca3d.training.loop import Run

# OpenMP threads would spin at every barrier and stall each other on a busy machine; this must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

# The module of each public name; a name in `__all__` that is not here is a module itself.
_HOMES = {
    "CodedRule": "rules",
    "Compact": "sparse",
    "ConditionalRule": "rules",
    "Config": "config",
    "ConvRule": "rules",
    "Cube": "cube",
    "Cut": "evaluation.story",
    "GMLPRule": "cube",
    "InputError": "errors",
    "LOSSES": "losses",
    "RULES": "rules",
    "Report": "reports.report",
    "Rule": "rules",
    "Run": "training.loop",
    "RunError": "errors",
    "TARGETS": "targets",
    "Target": "targets",
    "Trajectory": "rollout",
    "body_mask": "metrics",
    "compact": "sparse",
    "dense": "sparse",
    "evaluate": "experiment",
    "fire_mask": "fire",
    "iou": "metrics",
    "live": "live",
    "load": "load",
    "record": "rollout",
    "rollout": "rollout",
    "seed_state": "rollout",
    "tell": "evaluation.story",
    "to_rgba": "metrics",
    "train": "experiment",
    "zoo": "load",
}

__all__ = [
    "LOSSES",
    "RULES",
    "TARGETS",
    "CodedRule",
    "Compact",
    "ConditionalRule",
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


def _refuse_neighbours() -> None:
    """Refuses to go on if a user's own pools.py or visualize.py hides ours: Python finds a file beside a script first.

    Raises:
        ImportError: a file hides ours, and the message says which; as a command, the same message and exit code 2.
    """
    for name in ("pools", "visualize"):
        ours = os.path.join(os.path.dirname(__path__[0]), name)
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a module without a spec, such as a test's replacement
            continue
        # A package without __init__.py has no origin, only folders.
        found = ours if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), ours)
        # Real paths, because an editable installation may reach ours through a link.
        if os.path.realpath(found) in {os.path.realpath(place) for place in (ours, os.path.join(ours, "__init__.py"))}:
            continue
        line = f"nca3d: import: found {os.path.abspath(found)}, which hides nca3d's own {name}, allowed another name for it"
        # A command (`nca3d`, or `python -m nca3d`) shows one line instead of a traceback.
        if os.path.basename(sys.argv[0]) == "nca3d" or (sys.argv[0] == "-m" and "nca3d" in sys.orig_argv):
            print(line, file=sys.stderr)
            sys.exit(2)
        raise ImportError(line, name=name, path=found)


_refuse_neighbours()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'nca3d' has no attribute {name!r}")
    module = importlib.import_module(f"nca3d.{_HOMES.get(name, name)}")
    # Stored, so that the next use is an ordinary attribute.
    globals()[name] = value = getattr(module, name) if name in _HOMES else module
    return value


class _Doors(ModuleType):
    """The class of this module, which keeps `nca3d.rollout` the function.

    When Python imports nca3d/rollout.py, it sets the attribute `rollout` of the package to the module; this ignores it.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Doors


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
