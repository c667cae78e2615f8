"""How cells with own weights are run: `cells.py` (torch), `native.py` and `steps.py` (compiled), `graph.py` (messages),
`approx.py` (cells that rest)."""

from nca3d.cube.executor import cells, graph, native, steps
from nca3d.executors.every_cell import Stepper

STEPPER = Stepper({"dense": cells.run, "compiled": steps.run, "graph": graph.run}, cells.step_bytes, native.unsupported)

__all__ = ["STEPPER"]
