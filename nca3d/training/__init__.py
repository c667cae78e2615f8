"""How a rule learns. Start with `loop.py` and `step.py`; the rest serves them.

May import everything below it (`lattice` … `losses`) and `pools`. `train` and `Run` are looked up when they are first used, so
that a run folder can be checked before torch loads.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Run", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nca3d.training' has no attribute {name!r}")
    from nca3d.training import loop

    return getattr(loop, name)
