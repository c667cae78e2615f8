"""PLY: elements with properties, in text or binary; faces of any number of corners, and colours under any usual name.

Read here and not by trimesh, which knows no colours but red, green and blue, gives those of quads to the wrong triangles, and
refuses binary files in which triangles and quads are mixed, as Blender writes them. The format: Turk 1994, "The PLY polygon
file format".
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.polygons import check_faces, fans, numbers_of
from nca3d.targets.readers.textures import Beside, Texture

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
TYPES |= {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4"}
TYPES |= {"float64": "f8", "int64": "i8", "uint64": "u8"}
# Names of red, green, blue and alpha: those of most programs, of VTK and VRML tools, of renderers, and short ones.
PREFIXES = ("", "diffuse_", "ambient_", "vertex_", "face_", "specular_")
BANDS = [tuple(prefix + band for band in ("red", "green", "blue", "alpha")) for prefix in PREFIXES]
BANDS.insert(1, ("r", "g", "b", "a"))
# Names of the texture coordinates of a vertex.
PLACES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))


@dataclass
class Element:
    """A table of a .ply.

    Attributes:
        name: Its name, as in "vertex".
        count: Its rows.
        properties: The type of each property, and that of the length in front of it for lists ("" = one number).
        columns: The numbers of each property: one a row, or those of all rows in one line.
        lengths: How many numbers of a list each row has.
    """

    name: str
    count: int
    properties: dict[str, tuple[str, str]] = field(default_factory=dict)
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    lengths: dict[str, np.ndarray] = field(default_factory=dict)

    def number(self, name: str) -> np.ndarray | None:
        """Returns a property with one number a row, or None."""
        return self.columns.get(name) if name not in self.lengths else None


def read_ply(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the faces of a .ply, with the colours of its texture, its vertices or its faces, in this order.

    Raises:
        InputError: If the header promises more than the file has, or there are no faces.
    """
    data = path.read_bytes()
    elements, picture = _read(data, path)
    vertex, face = elements.get("vertex"), elements.get("face")
    points = [vertex.number(axis) for axis in "xyz"] if vertex is not None else []
    if vertex is None or any(one is None for one in points):
        raise InputError(path, "vertex", "no x, y and z", "an element 'vertex' with them")
    corners, lengths = _polygons(elements)
    if not len(lengths) or not len(corners):
        raise InputError(path, "faces", "none", f"triangles; these are {vertex.count:,} points, which must be meshed first")
    slot, owner = fans(lengths, path)
    triangles = corners[slot]
    vertices = np.stack([np.asarray(one, np.float64) for one in points], 1)
    check_faces(vertices, triangles, path)
    # Colours of faces belong to the rows of faces, not to strips.
    face = face if face is not None and face.count == len(lengths) else None
    colours, notes = _coloured(vertex, face, triangles, owner, slot, picture, beside)
    return [Part(vertices[triangles], *colours)], notes


def _read(data: bytes, path: Path) -> tuple[dict[str, Element], str | None]:
    """Returns the elements of a file by name, and the name of its texture."""
    header, end, rest = data.partition(b"end_header")
    if not data.startswith(b"ply") or not end or len(header) > 1 << 16:
        raise InputError(path, "header", repr(data[:16]), "'ply' ... 'end_header'")
    elements, encoding, picture = _header(header.decode("latin-1"), path)
    rest = rest[2:] if rest.startswith(b"\r\n") else rest[1:]
    if encoding == "ascii":
        return _ascii(elements, rest, path), picture
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(encoding)
    if order is None:
        raise InputError(path, "format", repr(encoding), "ascii, binary_little_endian, binary_big_endian")
    at = 0
    for element in elements:
        at = _binary(element, rest, at, order, path)
    return {element.name: element for element in elements}, picture


def _header(text: str, path: Path) -> tuple[list[Element], str, str | None]:
    """Returns the elements, not filled yet, the encoding, and the name of a texture."""
    elements: list[Element] = []
    encoding, picture = "", None
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[:1] == ["format"] and len(words) > 1:
            encoding = words[1]
        elif words[:1] == ["comment"] and len(words) > 2 and words[1].lower() == "texturefile":
            picture = picture or line.split(None, 2)[2].strip()
        elif words[:1] == ["element"] and len(words) == 3 and words[2].isdecimal():
            elements.append(Element(words[1], int(words[2])))
        elif words[:1] == ["property"] and elements and len(words) in (3, 5):
            kinds = [words[1]] if len(words) == 3 else words[2:4]
            if (len(words) == 5 and words[1] != "list") or any(kind not in TYPES for kind in kinds):
                raise InputError(path, "header", repr(line), f"types {', '.join(TYPES)}")
            elements[-1].properties[words[-1]] = (TYPES[kinds[-1]], TYPES[kinds[0]] if len(words) == 5 else "")
        elif words and words[0] not in ("comment", "obj_info"):
            raise InputError(path, "header", repr(line), "format, comment, element NAME COUNT, property TYPE NAME")
    return elements, encoding, picture


def _room(element: Element, least: int, held: int, path: Path) -> None:
    """Checks that a file has room for the rows of an element.

    Args:
        element: The element.
        least: The least that a row can have, in bytes or characters.
        held: What is left of the file.
        path: The file.
    """
    if element.count * least > held:
        found = f"{element.count:,} {element.name} in {held:,} bytes"
        raise InputError(path, "header", found, "no more elements than the file has room for: it may be cut off, copy it again")


def _ascii(elements: list[Element], rest: bytes, path: Path) -> dict[str, Element]:
    """Fills elements from numbers in text."""
    for element in elements:
        _room(element, 2 * len(element.properties) or 1, len(rest) + 1, path)
    numbers = numbers_of(rest, path)
    at = 0
    for element in elements:
        kinds = list(element.properties.items())
        if any(count for _, (_, count) in kinds):
            at = _walk(element, numbers, at, path)
        else:
            end = at + element.count * len(kinds)
            table = numbers[at:end]
            if len(table) < end - at:
                _short(element, path)
            table = table.reshape(element.count, len(kinds))
            element.columns = {name: table[:, i] for i, (name, _) in enumerate(kinds)}
            at = end
    return {element.name: element for element in elements}


def _walk(element: Element, numbers: np.ndarray, at: int, path: Path) -> int:
    """Fills an element with lists from numbers in a row, from index `at`; returns the index behind it."""
    starts: dict[str, list[int]] = {name: [] for name in element.properties}
    lengths: dict[str, list[int]] = {name: [] for name, (_, count) in element.properties.items() if count}
    values = memoryview(numbers)
    try:
        for _ in range(element.count):
            for name in starts:
                if name in lengths:
                    length = int(values[at])
                    if length < 0:
                        raise IndexError
                    lengths[name].append(length)
                    at += 1
                else:
                    length = 1
                starts[name].append(at)
                at += length
    except (IndexError, ValueError, OverflowError):
        _short(element, path)
    if at > len(values):
        _short(element, path)
    for name, first in starts.items():
        each = np.array(lengths[name], np.int64) if name in lengths else np.ones(len(first), np.int64)
        element.columns[name] = numbers[_ranges(np.array(first, np.int64), each)]
        if name in lengths:
            element.lengths[name] = each
    return at


def _binary(element: Element, data: bytes, at: int, order: str, path: Path) -> int:
    """Fills an element from bytes, from byte `at`; returns the byte behind it."""
    kinds = {
        name: (np.dtype(order + kind), np.dtype(order + count) if count else None)
        for name, (kind, count) in element.properties.items()
    }
    _room(element, sum((count or kind).itemsize for kind, count in kinds.values()) or 1, len(data) - at, path)
    if not any(count for _, count in kinds.values()):
        dtype = np.dtype([(name, kind) for name, (kind, _) in kinds.items()])
        table = np.frombuffer(data, dtype, element.count, at)
        element.columns = {name: table[name] for name in kinds}
        return at + element.count * dtype.itemsize
    # Rows differ in length: where each begins is found row by row, the numbers are then taken all at once.
    starts: dict[str, list[int]] = {name: [] for name in kinds}
    lengths: dict[str, list[int]] = {name: [] for name, (_, count) in kinds.items() if count}
    little = "little" if order == "<" else "big"
    plan = [
        (
            starts[name].append,
            kind.itemsize,
            count.itemsize if count else 0,
            count is not None and count.kind == "f",
            lengths.get(name),
        )
        for name, (kind, count) in kinds.items()
    ]
    if any(odd for *_, odd, _ in plan):
        raise InputError(path, "header", "a list whose length is no whole number", "property list uchar int vertex_indices")
    end = len(data)
    for _ in range(element.count):
        for begin, size, head, _, found in plan:
            if found is None:
                begin(at)
                at += size
            else:
                length = data[at] if head == 1 and at < end else int.from_bytes(data[at : at + head], little)
                at += head
                found.append(length)
                begin(at)
                at += length * size
        if at > end:
            _short(element, path)
    raw = np.frombuffer(data, np.uint8)
    for name, (kind, _) in kinds.items():
        first = np.array(starts[name], np.int64)
        each = np.array(lengths[name], np.int64) if name in lengths else np.ones(len(first), np.int64)
        element.columns[name] = raw[_ranges(first, each * kind.itemsize)].view(kind)
        if name in lengths:
            element.lengths[name] = each
    return at


def _short(element: Element, path: Path) -> None:
    """Refuses a file that ends before its rows do."""
    found = f"the file ends before its last {element.name}"
    raise InputError(path, "data", found, f"the {element.count:,} that its header speaks of: copy it again")


def _ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Returns the indices of ranges one after another: start, start + 1, ... for each."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)


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
    for names in BANDS:
        bands = [element.number(name) for name in names]
        if any(band is None for band in bands[:3]):
            continue
        there = [band for band in bands if band is not None]
        table = np.stack([np.asarray(band, np.float32) for band in there], 1)
        kind = element.properties[names[0]][0]
        # Whole numbers run to the most that their type can hold; floats to 1, or to 255 where one is above 1.
        most = float(np.iinfo(kind).max) if kind in ("u1", "u2") else 255.0
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
