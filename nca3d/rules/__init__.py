"""What one cell does: `cell.py` (read it first), `kernels.py`, `conv.py`; `gmlp.py` with `cell_weights.py`,
`coarse.py`, `surface.py` and `fed.py`, cells with weights of their own between two surfaces. May import `lattice`, `registry`,
`teacher.adapters` and torch.

A rule of one's own is one line: `@RULES.register("mine")` over a subclass of `Rule`; configs then say `rule = "mine"`.
"""

from __future__ import annotations

from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

RULES = Registry("rule")
RULES.register("conv")(ConvRule)

__all__ = ["RULES", "ConvRule", "Rule"]
