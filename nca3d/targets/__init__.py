"""The bodies to grow: named shapes, meshes, labelled volumes and voxel arrays, each read into a `Target`.

    target = nca3d.targets.load("frog", size=(14, 31, 32))              # a name in catalogue(), or a path to a file
    target = nca3d.targets.from_array(rgba_or_labels, size=(16, 16, 16))
    @nca3d.targets.TARGETS.register("mine")                             # a name of one's own

`doors` has the public functions. Behind them stand bodies that are computed (`analytic`, `creatures`), that come with pyvista
(`pyvista_examples`) or lie in files (`readers`); `arrays`, `meshes` and `volumes` turn them into a target.

The package may import `nca3d.errors`, `nca3d.registry` and numpy; torch only inside functions (`nca3d targets` lists the names
without it), as are pyvista and trimesh (extra `viz`).
"""

from nca3d.targets.doors import TARGETS, catalogue, from_array, load
from nca3d.targets.target import Target

__all__ = ["TARGETS", "Target", "catalogue", "from_array", "load"]
