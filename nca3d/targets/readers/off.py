"""OFF (Geomview's object file format): text with faces of any number of corners, and colours of vertices or faces.

Read here and not by trimesh 5.2, which leaves all colours out (`test_one_mesh_looks_alike_from_every_format`), and takes a file
that ends before its last face for a whole one, and one of four dimensions for one of three, without a word
(`test_colours_of_faces_in_an_off`). The format: Phillips et al. 2007, "Geomview manual", section OFF.
"""

import re
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.polygons import cut, numbers_of
from nca3d.targets.readers.textures import Beside

# Those of a mesh of `MAX_FACES`, and some: each takes some forty bytes more than it has.
MAX_LINES = 1 << 23
ALLOWED = "text that begins with OFF, COFF, NOFF or CNOFF and the numbers of vertices and faces"


def read_off(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the faces of an .off, with the colours of its vertices (COFF) or of its faces.

    Raises:
        InputError: If the header promises more than the file has, or it is binary or has four dimensions.
    """
    data = path.read_bytes()
    start = re.match(rb"\s*(?:#[^\n]*\n\s*)*(ST)?(C)?(N)?(4)?(n)?OFF(?![A-Za-z_])([ \t]*BINARY)?", data)
    if start is None or start[4] or start[5] or start[6]:
        raise InputError(path, "header", repr(data[:16]), ALLOWED)
    body = re.sub(rb"#[^\n]*", b"", data[start.end() :]) if b"#" in data else data[start.end() :]
    if body.count(b"\n") > MAX_LINES:
        raise InputError(path, "lines", f"more than {MAX_LINES:,}", "fewer: simplify it first, or save it as binary .ply")
    lines = [line for line in body.splitlines() if line.strip()]
    counts = lines[0].split() if lines else []
    if len(counts) < 2 or not all(count.isdigit() and len(count) < 16 for count in counts[:2]):
        raise InputError(path, "header", repr(lines[0][:40] if lines else b""), ALLOWED)
    vertices, faces = int(counts[0]), int(counts[1])
    if vertices + faces > len(lines) - 1:
        found = f"{vertices:,} vertices and {faces:,} faces in {len(lines) - 1:,} lines"
        raise InputError(path, "header", found, "a line for each: it may be cut off, copy it again")
    if not vertices or not faces:
        raise InputError(path, "faces", f"none, {vertices:,} vertices", "a mesh with at least one triangle")
    table = numbers_of(b" ".join(lines[1 : 1 + vertices]), path)
    if len(table) % vertices or len(table) < 3 * vertices:
        raise InputError(path, "vertices", f"{len(table):,} numbers in {vertices:,} lines", "as many in each, three or more")
    table = table.reshape(vertices, -1)
    corners, lengths, painted = _faces(lines[1 + vertices : 1 + vertices + faces], path)
    notes: list[str] = []
    slot, owner = cut(corners, lengths, table[:, :3], path, notes)
    triangles = corners[slot]
    # Normals come before colours, places in a texture behind them; some programs write colours under a plain "OFF".
    rest = table[:, 6 if start[3] else 3 : table.shape[1] - 2 * bool(start[1])]
    if rest.shape[1] in (3, 4) and (start[2] or not start[3]):
        notes += ["colours of faces left out: those of vertices are there too"] * (painted is not None)
        return [_part(table[:, :3][triangles], _rgba(rest)[triangles], "vertices", rest.shape[1] == 4)], notes
    if painted is not None:
        colours = np.repeat(_rgba(painted)[owner][:, None], 3, 1)
        return [_part(table[:, :3][triangles], colours, "faces", True)], notes
    return [Part(table[:, :3][triangles])], notes


def _part(corners: np.ndarray, colours: np.ndarray, source: str, has_alpha: bool) -> Part:
    """Returns coloured triangles."""
    return Part(corners, Material(cut=GLASS if has_alpha else 0.0), colours, None, source)


def _faces(lines: list[bytes], path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Returns the corners of all faces in one line, how many each has, and the faces' RGBA (F, 4) or None."""
    corners: list[int] = []
    lengths: list[int] = []
    colours: dict[int, list[float]] = {}
    for number, line in enumerate(lines):
        words = line.split()
        try:
            count = int(words[0])
            indices = [int(word) for word in words[1 : 1 + max(count, 0)]]
            rest = [float(word) for word in words[1 + count :]]
        except ValueError as error:
            raise InputError(path, f"face {number}", repr(line[:40]), "numbers, as in '3 0 1 2'") from error
        if count < 0 or len(indices) < count:
            raise InputError(path, f"face {number}", repr(line[:40]), "a count and as many indices, as in '3 0 1 2'")
        corners += indices
        lengths.append(count)
        if len(rest) in (3, 4):  # one number is an index of a colour table that the file doesn't have
            colours[number] = rest
    painted = None
    if colours:
        painted = np.full((len(lines), 4), np.nan)
        for number, rest in colours.items():
            painted[number, : len(rest)] = rest
    return np.array(corners, np.int64), np.array(lengths, np.int64), painted


def _rgba(numbers: np.ndarray) -> np.ndarray:
    """Returns RGBA 0..1 of three or four numbers: shares, or of 255 where one is above 1; grey where there are none."""
    most = 255.0 if np.nanmax(numbers, initial=0) > 1.001 else 1.0
    rgba = np.ones((len(numbers), 4), np.float32)
    rgba[:, : numbers.shape[1]] = np.clip(numbers / most, 0, 1)
    unknown = np.isnan(rgba[:, :3]).any(1)
    rgba[:, 3] = np.nan_to_num(rgba[:, 3], nan=1.0)
    rgba[unknown] = (0.7, 0.7, 0.7, 1.0)
    return rgba
