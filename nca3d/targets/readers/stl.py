"""STL, text or binary, and the colours that two programs keep in its spare bits.

Text is read by trimesh. Binary files are one array behind 84 bytes; trimesh refuses those with anything behind it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.guard import parsing
from nca3d.targets.readers.mesh_colours import Part
from nca3d.targets.readers.polygons import check_faces
from nca3d.targets.readers.textures import Beside

# Text takes five times its length in memory.
MAX_TEXT = 1 << 27
FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("spare", "<u2")])


def read_stl(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the triangles of an .stl.

    Raises:
        InputError: If the header promises more than the file has.
    """
    data = path.read_bytes()
    faces = int.from_bytes(data[80:84], "little") if len(data) >= 84 else -1
    # Many binary files begin with "solid" too: only text has a "facet" or its end soon after.
    soon = data[:2048].lower()
    if soon.startswith(b"solid") and (b"facet" in soon or b"endsolid" in soon) and len(data) != 84 + 50 * faces:
        return [Part(_text(path))], []
    if faces < 0 or 84 + 50 * faces > len(data):
        found = f"{faces:,} faces in {len(data):,} bytes" if faces >= 0 else f"{len(data)} bytes"
        raise InputError(path, "header", found, "84 bytes and 50 for each face, or text that begins with 'solid'")
    table = np.frombuffer(data, FACET, faces, 84)
    corners = table["corners"].astype(np.float64)
    check_faces(corners.reshape(-1, 3), np.zeros((0, 3), np.int64), path)
    colours, source = _colours(data[:80], table["spare"])
    if colours is None:
        return [Part(corners)], []
    return [Part(corners, None, np.repeat(colours[:, None], 3, 1), None, source)], []


def _text(path: Path) -> np.ndarray:
    """Returns the corners (N, 3, 3) of an .stl in text."""
    if path.stat().st_size > MAX_TEXT:
        raise InputError(
            path, "file", f"{path.stat().st_size:,} bytes of text", f"at most {MAX_TEXT:,}: save it as binary .stl"
        )
    try:
        import trimesh
    except ImportError as error:
        raise InputError(path, "trimesh", "not installed", "the extra: pip install 'nca3d[meshes]'") from error
    with parsing(path, "a whole .stl file", "trimesh"):
        # Merging corners would change them.
        loaded: Any = trimesh.load_scene(path, file_type="stl", process=False)
        solids = [one for one in loaded.geometry.values() if hasattr(one, "faces")]
        triangles = [np.asarray(one.vertices, np.float64)[one.faces] for one in solids]
    corners = np.concatenate([*triangles, np.zeros((0, 3, 3))])
    check_faces(corners.reshape(-1, 3), np.zeros((0, 3), np.int64), path)
    return corners


def _colours(header: bytes, spare: np.ndarray) -> tuple[np.ndarray | None, str]:
    """Returns RGBA (N, 4) of faces and where they come from; None where the spare bits are no colours for sure.

    Magics writes COLOR= and the colour of the whole into the header; a face of its own colour has bit 15 clear, red in the
    lowest five bits. VisCAM and SolidView set bit 15 where there is a colour, blue in the lowest bits, and leave 0 elsewhere.
    """
    bits = spare.astype(np.int64)
    shades = np.stack([bits & 31, bits >> 5 & 31, bits >> 10 & 31], 1) / 31
    magics = re.search(rb"COLOR=(.{4})", header, re.DOTALL)
    rgba = np.ones((len(bits), 4), np.float32)
    if magics is not None:
        rgba[:, :3] = np.where((bits >> 15 & 1)[:, None] == 1, np.frombuffer(magics[1], np.uint8)[:3] / 255, shades)
        return rgba, "faces (Magics)"
    own = bits >> 15 & 1 == 1
    if not own.any() or (bits[~own] != 0).any() or (bits == 0xFFFF).all():
        return None, ""
    rgba[:, :3] = np.where(own[:, None], shades[:, ::-1], 0.7)
    return rgba, "faces (VisCAM)"
