"""Several processes that train together, as torchrun starts them: who they are, what they tell each other, how they end.

`launcher.py` has what their launcher says of them, `group.py` what they tell each other, `joined.py` how a command becomes one
of them, `ending.py` whose fault it was when one is lost, `telling.py` who says so, `restart.py` how a run is found again. May
import `process` and `errors`; torch late, since the shell asks first whether there is more than one process.

Without torchrun `current()` is `ALONE`: one rank, whose every question is answered by itself. So nothing above this folder asks
whether there are several.
"""

from nca3d.ranks.group import ALONE, Ranks, alone, by_first, current
from nca3d.ranks.launcher import expected

__all__ = ["ALONE", "Ranks", "alone", "by_first", "current", "expected"]
