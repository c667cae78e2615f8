"""The executors of cubes, whose cells have weights of their own.

When to choose which:

- "compiled" (`steps.py`, `native.py`): training and asking on a processor. It is the fastest, needs a C compiler once, and is
  what "auto" takes where it can run the rule.
- "dense" (`cells.py`): on a GPU, without a compiler, with dropout in training, or for a cell that is written in Python. It
  runs everywhere, and the others are measured by it.
- "graph" (`graph.py`): to check the others. It computes the same by messages along edges, slowly, with plain autograd.
- "event-approx" (`approx.py`, `resting.py`): long rollouts of a cube that has nearly settled, without gradients, where a small,
  bounded error of each cell's input is allowed.

"compiled" and "dense" also run a cube that several processes share out (`nca3d/cube/share.py`): each its own cells.

Besides them `asking.py`, for a served cube alone: it computes each layer only while the question passes through it.
"""

from nca3d.cube.executor import cells, graph, native, steps
from nca3d.executors.every_cell import Stepper

STEPPER = Stepper({"dense": cells.run, "compiled": steps.run, "graph": graph.run}, cells.step_bytes, native.unsupported)

__all__ = ["STEPPER"]
