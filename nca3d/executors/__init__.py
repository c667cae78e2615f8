"""How the same rule is run: `dense.py` is the reference. May import `lattice` and `rules`.

An executor is one function `run(rule, state, fire)` on channels-last states: (B, D, H, W, C), bool (T, B, D, H, W).
All must agree with `Rule.forward` (law 5); a new one enters the law tests by its line here.
"""

from __future__ import annotations

from nca3d.executors import dense
from nca3d.registry import Registry

EXECUTORS = Registry("executor")
EXECUTORS["dense"] = dense.run

__all__ = ["EXECUTORS"]
