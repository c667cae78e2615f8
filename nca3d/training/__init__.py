"""How a rule learns. Start with `loop.py` and `step.py`; the rest serves them.

May import everything below it (`lattice` … `losses`) and `pools`.
"""

from nca3d.training.loop import Run, train

__all__ = ["Run", "train"]
