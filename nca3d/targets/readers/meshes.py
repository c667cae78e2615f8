"""Mesh files (.ply .obj .stl .glb): headers are compared with the file's length, parts checked, colours read."""

import contextlib
import logging
import math
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import from_mesh
from nca3d.targets.options import MAX_BYTES, VIZ
from nca3d.targets.target import Target, Wanted
from nca3d.targets.voxelise import Mesh

# Files with y up and linear colours, by their specification (glTF 2.0, sections 3.4 and 3.9.2).
GLTF = (".glb", ".gltf")


def read_mesh(
    path: Path,
    size: Wanted,
    *,
    margin: int = 1,
    fill: bool = True,
    threshold: float = 0.3,
    colormap: str = "sunset",
    color: object = None,
) -> Target:
    """Reads a target from a mesh file. It is always fitted, with its own colours or a colour map along height.

    x, y and z of a file are those of the lattice, z up; but glTF has y up, so that a .glb stands as in any viewer: its
    (x, y, z) become (x, -z, y) before any `orientation`. A body that `visualize.save` wrote as .glb comes back cell by
    cell where the fit leaves its size as it was (`margin=0` on its own lattice, if the body reaches two opposite ends).

    Args:
        path: The .ply, .obj, .stl or .glb file.
        size: The lattice (D, H, W); "auto" = `place.LONGEST` cells along the longest side, else as small as the body allows.
        margin: The cells left free at each face.
        fill: Whether the body is solid; False = its surface only.
        threshold: The share of its volume from which a cell is filled, above 0 to 1.
        colormap: The colour map along height, for a mesh without colours of its own.
        color: One colour for all of it.

    Raises:
        InputError: If the file is unreadable, empty or flat, a corner is not finite, or the header promises more than the
            file has.
    """
    mesh = _load(path, promised=_check_header(path))
    if path.suffix.lower() in GLTF:
        mesh = mesh.upright()
    return from_mesh(mesh, size, path, path.stem, margin=margin, fill=fill, threshold=threshold, colormap=colormap, color=color)


def _check_header(path: Path) -> int:
    """Compares what the header promises with the bytes in the file, before a reader makes room for it.

    Returns:
        The number of faces that a .ply promises; 0 where the header has no such number.

    Raises:
        InputError: If the file is too large, is of another format, or the header promises more than it has.
    """
    held = path.stat().st_size
    if held > MAX_BYTES:
        raise InputError(path, "file", f"{held:,} bytes", f"at most {MAX_BYTES:,} bytes")
    with path.open("rb") as file:
        start = file.read(65536)
    suffix = path.suffix.lower()
    # Many binary .stl files begin with "solid" too: only text has a "facet" soon after.
    if suffix == ".stl" and not (start[:5].lower() == b"solid" and b"facet" in start[:2048]):
        faces = int.from_bytes(start[80:84], "little") if held >= 84 else -1
        if held < 84 or 84 + 50 * faces > held:
            found = f"{faces:,} faces in {held:,} bytes" if held >= 84 else f"{held} bytes"
            raise InputError(path, "header", found, "84 bytes and 50 for each face, or text that begins with 'solid'")
    elif suffix == ".ply":
        return _check_ply(path, start, held)
    elif suffix == ".glb":
        claimed = int.from_bytes(start[8:12], "little")
        if start[:4] != b"glTF" or claimed > held:
            found = f"{claimed:,} bytes promised, {held:,} there" if start[:4] == b"glTF" else repr(start[:4])
            raise InputError(path, "header", found, "'glTF' and the length of the file")
    return 0


def _check_ply(path: Path, start: bytes, held: int) -> int:
    """Compares the elements that a .ply promises with the bytes in the file; returns the number of faces."""
    header, end, _ = start.partition(b"end_header")
    if not header.startswith(b"ply") or not end:
        raise InputError(path, "header", repr(start[:16]), "'ply' ... 'end_header'")
    # Three numbers for each element at least, each of two characters in text and of one byte in binary.
    least = 2 if b"format ascii" in header else 1
    promised = 0
    for kind, count in re.findall(rb"element\s+(\w+)\s+(\d+)", header):
        if int(count) * least * 3 > held:
            found = f"{int(count):,} {kind.decode()} in {held:,} bytes"
            raise InputError(path, "header", found, "no more elements than the file has room for")
        promised = int(count) if kind == b"face" else promised
    return promised


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Switches off warnings, and the log in which trimesh writes whole traces of files that it goes on without."""
    log = logging.getLogger("trimesh")
    before = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _resolver(path: Path) -> Any:
    """Returns what opens the files that a mesh names, such as materials and textures, for trimesh: no pipe, no device."""
    from trimesh.resolvers import FilePathResolver

    class Files(FilePathResolver):
        # Kept, because trimesh goes on without a file that can't be read; reading a pipe would block for ever.
        refused: InputError | None = None

        def get(self, name: str) -> Any:
            # All the places where trimesh looks for it, in any version.
            places = [Path(self.parent) / one for one in (name.strip(), name.strip().lstrip("/"), os.path.split(name)[-1])]
            if any(place.exists() and not place.is_file() and not place.is_dir() for place in places):
                self.refused = InputError(path, "file", f"{name.strip()!r}, a device or pipe, named in it", "names of files")
                raise self.refused
            return super().get(name)

    return Files(str(path))


def _load(path: Path, promised: int) -> Mesh:
    """Reads the triangles of a file, checked one part at a time (a scene has several).

    Args:
        path: The file.
        promised: The number of faces in the header; fewer in the file mean that it is truncated.
    """
    try:
        import trimesh
    except ImportError as error:
        raise InputError(path, "trimesh", "not installed", VIZ) from error
    beside = _resolver(path)
    try:
        with _quiet():
            # Merging corners would mix their colours.
            loaded: Any = trimesh.load(path, process=False, resolver=beside)
            if beside.refused is not None:
                raise beside.refused
            parts = [(np.eye(4), loaded)]
            if isinstance(loaded, trimesh.Scene):
                placed = [loaded.graph[node] for node in loaded.graph.nodes_geometry]
                parts = [(np.asarray(matrix), loaded.geometry[name]) for matrix, name in placed]
            meshes = [_part(part, matrix, path) for matrix, part in parts if hasattr(part, "faces")]
    except InputError:
        raise
    except Exception as error:  # readers of broken files raise anything, and the user needs one line
        found = f"unreadable mesh ({type(error).__name__}: {error})"
        raise InputError(path, "file", found, "a whole mesh file") from error
    faces = sum(len(mesh.corners) for mesh in meshes)
    if faces == 0:
        raise InputError(path, "faces", "none", "a mesh with at least one triangle")
    if faces < promised:
        raise InputError(path, "faces", f"{faces:,}", f"the {promised:,} that the header speaks of")
    colours = None
    if any(mesh.colours is not None for mesh in meshes):
        plain = (0.7, 0.7, 0.7)  # grey, for the parts of a coloured scene that have no colour
        painted = [np.broadcast_to(plain, m.corners.shape) if m.colours is None else m.colours for m in meshes]
        colours = np.concatenate(painted)
    return Mesh(np.concatenate([mesh.corners for mesh in meshes]), colours)


def _part(part: Any, matrix: np.ndarray, path: Path) -> Mesh:
    """Returns the triangles of one part, moved to its place in the scene."""
    points, faces = np.asarray(part.vertices, np.float64), np.asarray(part.faces, np.int64).reshape(-1, 3)
    bad = ~np.isfinite(points).all(-1)
    if bad.any():
        found = f"{int(bad.sum())} not finite, the first at index {int(np.flatnonzero(bad)[0])}"
        raise InputError(path, "vertices", found, "finite coordinates")
    outside = (faces < 0) | (faces >= len(points))
    if outside.any():
        found = f"index {int(faces[outside][0])} in face {int(np.argwhere(outside)[0, 0])}"
        raise InputError(path, "faces", found, f"0..{len(points) - 1} ({len(points)} vertices)")
    corners = (points @ matrix[:3, :3].T + matrix[:3, 3])[faces]
    if np.linalg.det(matrix[:3, :3]) < 0:
        corners = corners[:, ::-1]  # a mirrored part would be inside out next to the others
    return Mesh(corners, _colours(part, faces, path.suffix.lower() in GLTF))


def _colours(loaded: Any, faces: np.ndarray, gltf: bool) -> np.ndarray | None:
    """Returns corner colours (N, 3, 3) from face, vertex or texture colours; None if the mesh has none."""
    try:
        visual = loaded.visual
        if gltf:
            linear = _gltf_colours(visual, len(loaded.vertices))
            return None if linear is None else _to_display(linear)[faces]
        if visual.kind == "face":
            return np.repeat(np.asarray(visual.face_colors)[:, None, :3], 3, 1) / 255
        if visual.kind == "vertex":
            return np.asarray(visual.vertex_colors)[faces][..., :3] / 255
        if visual.kind == "texture":
            colours = np.atleast_2d(np.asarray(visual.to_color().vertex_colors))
            colours = np.broadcast_to(colours, (len(loaded.vertices), colours.shape[1]))
            return colours[faces][..., :3] / 255
    except Exception:  # a missing texture is no reason to refuse a body
        return None
    return None


def _gltf_colours(visual: Any, count: int) -> np.ndarray | None:
    """Returns linear colours (count, 3) of the vertices: texture or factor, times vertex colour (glTF 2.0, section 3.9.2)."""
    factors: list[np.ndarray] = []
    if visual.kind == "vertex":
        factors.append(np.asarray(visual.vertex_colors) / 255)
    elif visual.kind == "texture":
        material, corners = visual.material, visual.vertex_attributes.get("color")
        if getattr(material, "baseColorTexture", None) is not None and visual.uv is not None:
            # A texture isn't linear. The factor is left out beside it: trimesh writes a grey one that nobody asked for.
            factors.append(_to_linear(np.asarray(visual.to_color().vertex_colors) / 255))
        elif getattr(material, "baseColorFactor", None) is not None:
            factors.append(np.asarray(material.baseColorFactor)[None] / 255)
        if corners is not None:
            corners = np.asarray(corners)
            factors.append(corners if corners.dtype.kind == "f" else corners / np.iinfo(corners.dtype).max)
    if not factors:
        return None
    return math.prod((np.clip(colours[:, :3], 0, 1) for colours in factors), start=np.ones((count, 3)))


def _to_display(linear: np.ndarray) -> np.ndarray:
    """Returns linear colours 0..1 as a display shows them (sRGB, IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_linear(display: np.ndarray) -> np.ndarray:
    """Returns the linear colours of display colours 0..1: the inverse of `_to_display`."""
    return np.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)
