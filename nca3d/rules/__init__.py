"""What one cell does.

Read `cell.py` first: it is the whole cell. `kernels.py` has what it can perceive, `conv.py` the rule that most bodies grow by,
`coded.py` the one for bodies of many kinds, `conditional.py` the one for many bodies, and `inputs.py` what a cell may get from
outside.

May import `lattice`, `registry`, torch, and `targets` inside functions.

Your own rule takes one line: `@RULES.register("mine")` over a subclass of `Rule`; configs then say `rule = "mine"`.
"""

from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.rules.coded import CodedRule
from nca3d.rules.conditional import ConditionalRule
from nca3d.rules.conv import ConvRule

# The rules that a config can name; folders with a `wing.py` add theirs.
RULES = Registry("rule")
RULES.register("conv")(ConvRule)
RULES.register("coded")(CodedRule)
RULES.register("conditional")(ConditionalRule)

__all__ = ["RULES", "CodedRule", "ConditionalRule", "ConvRule", "Rule"]
