"""What one cell does: `cell.py` (read it first), `kernels.py`, `conv.py`; `inputs.py` has what may come from outside.

May import `lattice`, `registry`, torch, and `targets` inside functions.

A rule of one's own is one line: `@RULES.register("mine")` over a subclass of `Rule`; configs then say `rule = "mine"`.
"""

from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

RULES = Registry("rule")
RULES.register("conv")(ConvRule)

__all__ = ["RULES", "ConvRule", "Rule"]
