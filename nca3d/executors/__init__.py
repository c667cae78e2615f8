"""How the same rule is run. All executors give the same states and gradients; they differ in what they cost.

| executor | choose it | cost |
|---|---|---|
| auto | always, at first: it takes the fastest of the next three | |
| event | for bodies: wherever a rule has an alive mask | follows the living cells; C on a CPU, torch elsewhere |
| compiled | for rules without an alive mask, such as cubes, on a CPU | every cell, in C |
| dense | on a GPU with most cells alive; as the reference to compare with | every cell, in torch |
| graph | to step by step through messages, or on a mesh (`graph.run_on_graph`) | every cell, several times slower |
| event-approx | without gradient, where cells come to rest | cells whose input changes; it has an error |

May import `lattice`, `sparse`, `fire` and `rules`.

An executor is one callable `run(rule, state, draw, start, stop, memory)`: it runs steps start .. stop−1 of a dense or compact
state and returns the same form. `EveryCell` makes one of a function on whole lattices. All must agree with
`Rule.forward` (law 5); a new one enters the law tests by its line here. What is only approximate has "approx" in its name and
its own error report.
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
    """Returns the names of the executors that agree with `Rule.forward`."""
    return [name for name in EXECUTORS if "approx" not in name]


def choose(rule: Rule, state: Tensor | Compact) -> str:
    """Returns the executor that "auto" means for a rule and a state (B, C, D, H, W).

    It is a pure function of the rule, the lattice, its living cells and what the machine has: a resumed run chooses the same.
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
