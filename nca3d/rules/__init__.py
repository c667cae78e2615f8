"""What one cell does: `cell.py` (read it first), `kernels.py`, `conv.py`; `gmlp.py` with `cell_weights.py`,
`cell_blocks.py` and `surface.py`, cells with weights of their own. May import `lattice`, `registry` and torch.

A rule of one's own is one line: `@RULES.register("mine")` over a subclass of `Rule`; configs then say `rule = "mine"`.
"""

from __future__ import annotations

from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule
from nca3d.rules.gmlp import GMLPRule

RULES = Registry("rule")
RULES.register("conv")(ConvRule)
RULES.register("gmlp")(GMLPRule)

__all__ = ["RULES", "ConvRule", "GMLPRule", "Rule"]
