"""What to grow: analytic bodies, meshes, labelled volumes and voxel arrays, each made into a `Target`.

May import `nca3d.errors`, `nca3d.registry`, `nca3d.lattice`, numpy and torch; pyvista and trimesh (extra `viz`) only
inside functions.
"""

from nca3d.targets.catalogue import TARGETS, catalogue, load
from nca3d.targets.target import Target

__all__ = ["TARGETS", "Target", "catalogue", "load"]
