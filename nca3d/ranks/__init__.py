"""Several processes that train together, as torchrun starts them: who they are, what they tell each other, how they end.

`group.py` has what they tell each other, `joined.py` how a command becomes one of them, `ending.py` whose fault it was when one
is lost. May import `process` and `errors`; torch late, since the shell asks first whether there is more than one process.

Without torchrun `current()` is `ALONE`: one rank, whose every question is answered by itself. So nothing above this folder asks
whether there are several.
"""

from nca3d.ranks.group import ALONE, Ranks, alone, by_first, current, expected

__all__ = ["ALONE", "Ranks", "alone", "by_first", "current", "expected"]
