"""Mesh files (.ply .obj .stl .glb .gltf .off .3mf): their triangles, turned so that z is up, and their colours."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from nca3d.errors import InputError
from nca3d.targets.meshes import from_mesh
from nca3d.targets.readers.gltf import read_gltf
from nca3d.targets.readers.guard import parsing
from nca3d.targets.readers.mesh_colours import Part, join
from nca3d.targets.readers.obj import read_obj
from nca3d.targets.readers.off import read_off
from nca3d.targets.readers.ply import read_ply
from nca3d.targets.readers.stl import read_stl
from nca3d.targets.readers.textures import Beside
from nca3d.targets.readers.threemf import read_3mf
from nca3d.targets.target import Target, Wanted
from nca3d.targets.voxelise import Mesh

# Files with y up, by their specification (glTF 2.0, section 3.4).
GLTF = (".glb", ".gltf")
# A file is read whole; of text, which takes several times its length in memory, less is.
MAX_DATA, MAX_TEXT = 1 << 29, 1 << 28
Read = Callable[[Path, Beside], tuple[list[Part], list[str]]]
FORMATS: dict[str, tuple[Read, int]] = {
    ".ply": (read_ply, MAX_DATA),
    ".stl": (read_stl, MAX_DATA),
    ".obj": (read_obj, MAX_TEXT),
    ".off": (read_off, MAX_TEXT),
    ".glb": (read_gltf, MAX_DATA),
    ".gltf": (read_gltf, MAX_TEXT),
    ".3mf": (read_3mf, MAX_TEXT),
}


class MeshOptions(TypedDict, total=False):
    """What a mesh file can be asked for.

    Attributes:
        margin: The cells left free at each face, 1.
        fill: True fills it, False leaves its surface only, "auto" (the default) looks at it.
        thicken: Whether parts thinner than a cell keep the cells that they run through, True.
        threshold: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map along height, for a mesh without colours of its own, "sunset".
        color: One colour for all of it, None = its own.
    """

    margin: int
    fill: bool | str
    thicken: bool
    threshold: float
    colormap: str
    color: object


def read_mesh(path: Path, size: Wanted, **options: Unpack[MeshOptions]) -> Target:
    """Reads a target from a mesh file. It is always fitted, with its own colours or a colour map along height.

    x, y and z of a file are those of the lattice, z up; but glTF has y up, so that a .glb stands as in any viewer: its
    (x, y, z) become (x, -z, y) before any `orientation`. An .obj doesn't say which way is up: many programs write y up, and
    `orientation="x-zy"` sets those upright. A body that `visualize.save` wrote as .glb comes back cell by cell where the fit
    leaves its size as it was (`margin=0` on its own lattice, if the body reaches two opposite ends).

    Args:
        path: The .ply, .obj, .stl, .glb, .gltf, .off or .3mf file.
        size: The lattice (D, H, W); "auto" = `place.LONGEST` cells along the longest side, else as small as the body allows.
        **options: See `MeshOptions`.

    Raises:
        InputError: If the file is unreadable, empty or flat, a corner is not finite, or the header promises more than the
            file has.
    """
    mesh, notes = load_mesh(path)
    target = from_mesh(mesh, size, path, path.stem, **options)
    if options.get("color") is not None:
        notes = [line for line in notes if not line.startswith("colours")]
    return replace(target, notes=(*target.notes, *(f"{path.name}: {line}" for line in notes)))


def load_mesh(path: Path) -> tuple[Mesh, list[str]]:
    """Returns the triangles of a file, z up as far as its format says which way that is, and what was decided.

    Raises:
        InputError: See `read_mesh`.
    """
    read, most = FORMATS[path.suffix.lower()]
    held = path.stat().st_size
    if held > most:
        raise InputError(path, "file", f"{held:,} bytes", f"at most {most:,} bytes: simplify it, or save it as .ply or .glb")
    beside = Beside(path)
    with parsing(path, f"a whole {path.suffix.lower()} file"):
        parts, notes = read(path, beside)
        mesh, said = join(parts, path)
    if path.suffix.lower() in GLTF:
        mesh = mesh.upright()
    elif path.suffix.lower() == ".obj":
        said.append("z is up, as its numbers are; orientation = 'x-zy' sets upright what was made with y up")
    return mesh, [*said, *notes, *beside.notes]
