"""Files for other tools: a film or a body as ParaView, glTF, MagicaVoxel, OME-Zarr or NumPy keeps it.

Holds the door (`save`), what it checks (`content`) and one file a format: `vti` (.vti, .pvd), `glb`, `vox`, `ome_zarr`,
`npz` and `minecraft` (.nbt, .schem) with its `blocks`; and `writable`, which asks whether a file can be written at a place.
Numpy in, files out; pyvista, trimesh, zarr and nbtlib load when used. May import what all rooms share, and of `render` the
faces of cells and the environment of OpenGL.
"""

from visualize.files import writable
from visualize.formats.save import save

__all__ = ["save", "writable"]
