"""What to grow: named bodies, meshes, labelled volumes and voxel arrays, each made into a `Target`.

    target = nca3d.targets.load("frog", size=(14, 31, 32))              # a name in catalogue(), or a path to a file
    target = nca3d.targets.from_array(rgba_or_labels, size=(16, 16, 16))
    @nca3d.targets.TARGETS.register("mine")                             # a name of one's own

`doors` leads there: to what is computed (`analytic`, `creatures`), what comes with pyvista (`pyvista_examples`) and what lies
in files (`read_arrays`, `read_meshes`, `read_volumes`). `arrays`, `meshes` and `volumes` make a target of what was found.

May import `nca3d.errors`, `nca3d.registry` and numpy, and torch only inside functions (`nca3d targets` lists the names
without it); pyvista and trimesh (extra `viz`) only inside functions.
"""

from nca3d.targets.doors import TARGETS, catalogue, from_array, load
from nca3d.targets.target import Target

__all__ = ["TARGETS", "Target", "catalogue", "from_array", "load"]
