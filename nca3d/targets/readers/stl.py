"""STL, text or binary, by trimesh, and the colours that two programs keep in its spare bits."""

import io
import re
from pathlib import Path
from typing import IO, Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.guard import parsing
from nca3d.targets.readers.mesh_colours import Part
from nca3d.targets.readers.polygons import check_faces
from nca3d.targets.readers.textures import Beside

# Text takes five times its length in memory.
MAX_TEXT = 1 << 27


def read_stl(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the triangles of an .stl.

    Raises:
        InputError: If the header promises more than the file has, or more than `MAX_FACES`, or text isn't whole.
    """
    held = path.stat().st_size
    with path.open("rb") as file:
        soon = file.read(2048)
        faces = int.from_bytes(soon[80:84], "little") if len(soon) >= 84 else -1
        whole = 84 + 50 * faces
        # Many binary files begin with "solid" too: only text has a "facet" or its end soon after.
        words = soon.lower()
        if words.startswith(b"solid") and (b"facet" in words or b"endsolid" in words) and held != whole:
            return _text(path), []
        if faces < 0 or whole > held:
            found = f"{faces:,} faces in {held:,} bytes" if faces >= 0 else f"{held} bytes"
            raise InputError(path, "header", found, "84 bytes and 50 for each face, or text that begins with 'solid'")
        if faces > MAX_FACES:
            raise InputError(path, "faces", f"{faces:,}", f"at most {MAX_FACES:,}: simplify it first (Blender: Decimate)")
        file.seek(0)
        # trimesh refuses files with anything behind the faces.
        solids = _solids(file if held == whole else io.BytesIO(file.read(whole)), path)
    return [_painted(corners, soon[:80], spare) for corners, spare in solids], []


def _text(path: Path) -> list[Part]:
    """Returns the solids of an .stl in text."""
    if path.stat().st_size > MAX_TEXT:
        found = f"{path.stat().st_size:,} bytes of text"
        raise InputError(path, "file", found, f"at most {MAX_TEXT:,}: save it as binary .stl")
    with path.open("rb") as file:
        parts = [Part(corners) for corners, _ in _solids(file, path)]
    # trimesh leaves out what stands behind a word that is no number, and a solid without its end.
    there, read = path.read_bytes().lower().count(b"vertex"), 3 * sum(len(part.corners) for part in parts)
    if there != read:
        found = f"{there:,} vertices, {read:,} of them readable"
        raise InputError(path, "facets", found, "three of three numbers in each, and 'endsolid': copy it again")
    return parts


def _solids(file: IO[bytes], path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the corners (N, 3, 3) of each solid in a file and the spare bits of its faces, (N,) or none.

    Raises:
        InputError: If trimesh can't read it or isn't installed, or a corner is not finite.
    """
    try:
        import trimesh.exchange.stl
    except ImportError as error:
        raise InputError(path, "trimesh", "not installed", "the extra: pip install 'nca3d[meshes]'") from error
    with parsing(path, "a whole .stl file", "trimesh"):
        # A Trimesh made of it would merge corners, which changes them.
        loaded: dict[str, Any] = trimesh.exchange.stl.load_stl(file)
        found = loaded["geometry"].values() if "geometry" in loaded else [loaded]
        # The vertices of one face after the other.
        solids = [
            (one["vertices"].astype(np.float64).reshape(-1, 3, 3), one.get("face_attributes", {}).get("stl", np.zeros(0)))
            for one in found
        ]
    for corners, _ in solids:
        check_faces(corners.reshape(-1, 3), np.zeros((0, 3), np.int64), path)
    return solids


def _painted(corners: np.ndarray, header: bytes, spare: np.ndarray) -> Part:
    """Returns the faces of a binary file with their colours, if they have any."""
    colours, source = _colours(header, spare)
    return Part(corners) if colours is None else Part(corners, None, np.repeat(colours[:, None], 3, 1), None, source)


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
