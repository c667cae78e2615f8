"""Files, a format in one place: `read_…(path, size, **options)` makes a `Target`; `doors.READERS` says which for what suffix.

A reader finds out what its file holds and leaves the rest to others: voxels go as a `Volume` to `volumes.from_volume`, arrays
to `arrays.from_voxels`, triangles as a `Mesh` to `meshes.from_mesh`. Formats are read by libraries, which are imported inside
functions; `guard` is the one door to them: whatever they raise or ask for, the user gets one line.
"""
