"""Files for other tools: a film or a body as ParaView, glTF, MagicaVoxel, OME-Zarr or NumPy keeps it.

Holds the door (`save`), what it checks (`content`), how nothing half-written is left (`whole`) and one file a format:
`vti` (.vti, .pvd), `glb`, `vox`, `ome_zarr` and `npz`. Numpy in, files out; pyvista, trimesh and zarr load when used.
"""

from visualize.formats.save import save

__all__ = ["save"]
