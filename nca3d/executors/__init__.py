"""How a rule is run. All executors give the same states and gradients; they differ in what a step costs.

| name | choose it when | cost of a step |
|---|---|---|
| auto | you don't want to choose: it takes the fastest of the next three | that of its choice |
| event | the rule has an alive mask, as bodies have | the living cells; in C on a CPU, in torch elsewhere |
| slabs | several processes share out one body (`nca3d.ranks`); in one it is event | the living cells of a process |
| compiled | the rule has no alive mask, as in cubes, and runs on a CPU | every cell, in C |
| dense | most cells live and there is no C code (a GPU), or to compare with it | every cell, in torch |
| graph | you follow a step message by message, or run on a mesh (`run_on_graph`) | every edge: several times dense |
| event-approx | no gradient is needed and most cells are at rest | the cells whose input changes, at a small error |

May import `lattice`, `sparse`, `fire`, `rules` and `ranks`.

An executor is a callable `run(rule, state, draw, start, stop, memory)`, which runs steps start .. stop−1 of a dense or compact
state and returns a state of the same form; `EveryCell` makes one of a function on whole lattices. All must agree with
`Rule.forward` (law 5), and a line in `EXECUTORS` puts a new one under the tests of the laws. One that is only approximate has
"approx" in its name and a report of its error.
"""

from torch import Tensor

from nca3d.executors import compiled, dense, event, graph, native_code, slabs
from nca3d.executors.cores import use_cores
from nca3d.executors.every_cell import EveryCell, stepper_of
from nca3d.executors.memory import BUDGET, THRESHOLD, Memory
from nca3d.ranks import current
from nca3d.registry import Registry
from nca3d.rules.cell import Rule
from nca3d.sparse import Compact

# Names that `rollout` and configs accept; folders with a `wing.py` add theirs ("event-approx").
EXECUTORS = Registry("executor")
EXECUTORS["dense"] = EveryCell(dense.run, dense.step_bytes)
EXECUTORS["compiled"] = compiled.run
EXECUTORS["event"] = event.run
EXECUTORS["slabs"] = slabs.run
EXECUTORS["graph"] = EveryCell(graph.run)

# Without compiled code, "event" pays off below this share of living cells.
SPARSE = 0.25


def exact() -> list[str]:
    """Returns the names of the executors that agree with `Rule.forward`."""
    return [name for name in EXECUTORS if "approx" not in name]


def choose(rule: Rule, state: Tensor | Compact) -> str:
    """Returns the executor that "auto" means for a rule and a state (B, C, D, H, W).

    It is a pure function of the rule, the state, the machine and what ranks share out, so a resumed run chooses the same.
    """
    # A rule with its own step brings its own compiled code, or none.
    if stepper_of(rule):
        return "dense" if compiled.unsupported(rule, state) else "compiled"
    if event.unsupported(rule):
        return "dense"
    events = "slabs" if current().size > 1 and current().splits == "lattice" else "event"
    # In C, events are the fastest at any share of living cells; a compact state is their own form, and never made dense.
    if isinstance(state, Compact) or native_code.available(state):
        return events
    living = rule.alive_mask(state.detach()).float().mean() if state.numel() else 0.0
    return events if living < SPARSE else "dense"


__all__ = ["BUDGET", "EXECUTORS", "THRESHOLD", "EveryCell", "Memory", "choose", "exact", "use_cores"]
