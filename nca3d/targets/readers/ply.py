"""PLY: faces of any number of corners, with the colours of a texture, of vertices or of faces under any usual name."""

from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.ply_elements import Element, read_elements
from nca3d.targets.readers.polygons import cut
from nca3d.targets.readers.textures import Beside, Texture

# Names of red, green, blue and alpha: those of most programs, of VTK and VRML tools, of renderers, and short ones.
PREFIXES = ("", "diffuse_", "ambient_", "vertex_", "face_", "specular_")
BANDS = [tuple(prefix + band for band in ("red", "green", "blue", "alpha")) for prefix in PREFIXES]
BANDS.insert(1, ("r", "g", "b", "a"))
# Names of the texture coordinates of a vertex.
PLACES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))


def read_ply(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the faces of a .ply, with the colours of its texture, its vertices or its faces, in this order.

    Raises:
        InputError: If the header promises more than the file has, or there are no faces.
    """
    elements, picture = read_elements(path.read_bytes(), path)
    vertex, face = elements.get("vertex"), elements.get("face")
    points = [vertex.number(axis) for axis in "xyz"] if vertex is not None else []
    if vertex is None or any(one is None for one in points):
        raise InputError(path, "vertex", "no x, y and z", "an element 'vertex' with them")
    corners, lengths = _polygons(elements)
    if not len(lengths) or not len(corners):
        raise InputError(path, "faces", "none", f"triangles; these are {vertex.count:,} points, which must be meshed first")
    vertices = np.stack([np.asarray(one, np.float64) for one in points], 1)
    bent: list[str] = []
    slot, owner = cut(corners, lengths, vertices, path, bent)
    triangles = corners[slot]
    # Colours of faces belong to the rows of faces, not to strips.
    face = face if face is not None and face.count == len(lengths) else None
    colours, notes = _coloured(vertex, face, triangles, owner, slot, picture, beside)
    return [Part(vertices[triangles], *colours)], notes + bent


def _polygons(elements: dict[str, Element]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the corners of all faces in one line and how many each has; strips of triangles become triangles."""
    for name in ("vertex_indices", "vertex_index"):
        face = elements.get("face")
        if face is not None and name in face.lengths:
            return face.columns[name].astype(np.int64), face.lengths[name]
    strips = elements.get("tristrips")
    if strips is None or len(strips.lengths) != 1:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    (name,) = strips.lengths
    order = strips.columns[name].astype(np.int64)
    # A strip ends at -1; every other triangle of it is turned.
    three = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    since = np.arange(len(order)) - np.maximum.accumulate(np.where(order < 0, np.arange(len(order)) + 1, 0))
    three[since[:-2] % 2 == 1] = three[since[:-2] % 2 == 1][:, [1, 0, 2]]
    three = three[(three >= 0).all(1)]
    return three.ravel(), np.full(len(three), 3)


def _coloured(
    vertex: Element,
    face: Element | None,
    triangles: np.ndarray,
    owner: np.ndarray,
    slot: np.ndarray,
    picture: str | None,
    beside: Beside,
) -> tuple[tuple[Material | None, np.ndarray | None, np.ndarray | None, str], list[str]]:
    """Returns material, colours, (u, v) and source of the triangles, see `Part`, and what was left out.

    Args:
        vertex: The vertices.
        face: The faces.
        triangles: The vertices of triangles, (N, 3).
        owner: The face of each triangle, (N,).
        slot: The place of each corner in the list of all faces' corners, (N, 3).
        picture: The name of the texture.
        beside: The files that the mesh names.
    """
    notes: list[str] = []
    uv = _places(vertex, face, triangles, slot)
    pixels = beside.texture(picture) if picture is not None and uv is not None else None
    if picture is not None and uv is None:
        notes.append("texture: no coordinates in the file: drawn without it")
    found = [(name, _rgba(element)) for name, element in (("vertices", vertex), ("faces", face)) if element is not None]
    of = {name: rgba for name, rgba in found if rgba is not None}
    if pixels is not None and uv is not None:
        notes += [f"colours of {' and '.join(of)} left out beside the texture"] * bool(of)
        return (Material("", texture=Texture(pixels), cut=GLASS), None, uv, ""), notes
    if not of:
        return (None, None, None, ""), notes
    # Painted and scanned colours are those of vertices, unless these are all alike and those of faces are not.
    plain = {name: len(rgba) == 0 or bool((rgba == rgba[0]).all()) for name, (rgba, *_) in of.items()}
    name = min(of, key=lambda one: (plain[one], one == "faces"))
    notes += [f"colours of {other} left out: those of {name} are there too" for other in of if other != name]
    rgba, bands, has_alpha = of[name]
    colours = rgba[triangles] if name == "vertices" else np.repeat(rgba[owner][:, None], 3, 1)
    source = name if bands[0] == "red" else f"{name} ({', '.join(bands)})"
    return (Material("", cut=GLASS if has_alpha else 0.0), colours, None, source), notes


def _rgba(element: Element) -> tuple[np.ndarray, tuple[str, ...], bool] | None:
    """Returns straight RGBA 0..1 of each row, the names that it was read from, and whether alpha is among them."""
    called = {name.lower(): name for name in element.properties}
    for words in BANDS:
        names = tuple(called.get(word, word) for word in words)
        bands = [element.number(name) for name in names]
        if any(band is None for band in bands[:3]):
            continue
        there = [band for band in bands if band is not None]
        table = np.stack([np.asarray(band, np.float32) for band in there], 1)
        kind = element.properties[names[0]][0]
        # Whole numbers run to the most that their type can hold; floats to 1, or to 255 where one is above 1.
        most = float(np.iinfo(kind).max) if kind in ("u1", "u2") else 255.0
        if kind == "u2" and len(table) and table[:, :3].max() <= 255:  # 0..255 in a wide type
            most = 255.0
        if kind[0] == "f":
            most = 255.0 if len(table) and np.nanmax(table[:, :3], initial=0) > 1.001 else 1.0
        rgba = np.ones((len(table), 4), np.float32)
        rgba[:, : table.shape[1]] = np.clip(np.nan_to_num(table / most), 0, 1)
        return rgba, names[: len(there)], len(there) == 4
    return None


def _places(vertex: Element, face: Element | None, triangles: np.ndarray, slot: np.ndarray) -> np.ndarray | None:
    """Returns the texture coordinates of corners, (N, 3, 2), v down; None if there are none."""
    if face is not None and "texcoord" in face.lengths:
        uv = face.columns["texcoord"].astype(np.float32)
        if len(uv) == 2 * int(face.lengths.get("vertex_indices", face.lengths.get("vertex_index", np.zeros(0))).sum()):
            return uv.reshape(-1, 2)[slot] * (1, -1) + (0, 1)
    for names in PLACES:
        u, v = (vertex.number(name) for name in names)
        if u is not None and v is not None:
            pair = np.stack([np.asarray(u, np.float32), 1 - np.asarray(v, np.float32)], 1)
            return pair[triangles]
    return None
