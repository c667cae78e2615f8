"""How the same rule is run: `dense.py` is the reference, torch everywhere; `compiled.py` does the same in C on a CPU;
`event.py` runs living cells only; `graph.py` passes messages. May import `lattice`, `sparse`, `fire` and `rules`.

An executor is one callable `run(rule, state, draw, start, stop, memory)`: steps start .. stop−1 of a dense or compact state,
the answer in the same form. `EveryCell` makes one of a function on whole lattices. All must agree with `Rule.forward` (law 5);
a new one enters the law tests by its line here. What is only approximate has "approx" in its name and its own error report.
"""

from torch import Tensor

from nca3d.executors import compiled, dense, event, graph, native_code
from nca3d.executors.cores import use_cores
from nca3d.executors.every_cell import EveryCell, stepper_of
from nca3d.executors.memory import BUDGET, THRESHOLD, Memory
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact

EXECUTORS = Registry("executor")
EXECUTORS["dense"] = EveryCell(dense.run, dense.step_bytes)
EXECUTORS["compiled"] = compiled.run
EXECUTORS["event"] = event.run
EXECUTORS["graph"] = EveryCell(graph.run)

# Without compiled code, events pay off below this share of living cells.
SPARSE = 0.25


def exact() -> list[str]:
    """The names of the executors that agree with `Rule.forward`."""
    return [name for name in EXECUTORS if "approx" not in name]


def choose(rule: Rule, state: Tensor | Compact) -> str:
    """What "auto" means: a pure function of the rule, the lattice, its living cells and what the machine has, so that a resumed
    run chooses the same.

    Compiled events are the fastest way to run any rule that they can run, at any share of living cells; of rules with a step of
    their own it is their compiled step.
    """
    if stepper_of(rule):
        return "dense" if compiled.unsupported(rule, state) else "compiled"
    if event.unsupported(rule):
        return "dense"
    if isinstance(state, Compact) or native_code.available(state):
        return "event"
    living = rule.alive_mask(state.detach()).float().mean() if state.numel() else 0.0
    return "event" if living < SPARSE else "dense"


__all__ = ["BUDGET", "EXECUTORS", "THRESHOLD", "EveryCell", "Memory", "choose", "exact", "use_cores"]
