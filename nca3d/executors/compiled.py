"""The executor `compiled`: every cell of the lattice, as in `dense`, but in C built for this processor (`native_code.py`).

Choose it on a CPU for rules without an alive mask; where cells can be dead, `event` costs less. Its cost is that of every cell.

It is exact, and it refuses what it can't run with one line that says why. A rule with its own step is run by its stepper; any
other by the steps of `event.py`, in which each cell then has a row and keeps it.
"""

from torch import Tensor

from nca3d.errors import ArgumentError
from nca3d.executors import event
from nca3d.executors.every_cell import EveryCell, stepper_of
from nca3d.executors.memory import Memory
from nca3d.fire import Draw
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact


def run(rule: Rule, state: Tensor | Compact, draw: Draw, start: int, stop: int, memory: Memory) -> Tensor | Compact:
    """Runs steps start .. stop−1 of a state (B, C, D, H, W), dense or compact; the result has the same form.

    Raises:
        ValueError: There is no compiled code for the rule, the state or the machine; the line says why, and what to choose.
    """
    # An empty batch has nothing to run and no rows to make.
    if not state.shape[0]:
        return state
    why, own = unsupported(rule, state), stepper_of(rule)
    if why:
        # The rule inside `RuleWithInputs` is the one that the caller knows.
        kind = type(getattr(rule, "rule", rule)).__name__
        raise ArgumentError("executor", f"'compiled' for {kind}, which {why}", "'auto', 'dense'")
    steps = EveryCell(own.runs["compiled"], own.step_bytes) if own else event.run_every_cell
    return steps(rule, state, draw, start, stop, memory)


def unsupported(rule: Rule, state: Tensor | Compact) -> str:
    """Returns why compiled code can't run the rule on a state (B, C, D, H, W) on this machine, or ""."""
    own = stepper_of(rule)
    return own.not_compiled(rule, state) if own else event.not_compiled(rule, state)
