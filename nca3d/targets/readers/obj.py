"""Wavefront .obj with its materials (.mtl): faces, places in textures, and colours of vertices where a file has them.

Read here and not by trimesh 5.2, which gives wrong bodies and colours without a word, even of a file whose indices were made
to count forwards (otherwise it counts them back from the end of the file, and not from where they stand):

- Bent polygons are cut from their first corner and fold over (`test_a_bent_face_covers_what_is_inside_of_it`).
- An index of 0 is taken for the first vertex (`test_a_broken_obj_names_its_line`; no other case of it names its line either).
- `mtllib a.mtl b.mtl` is one name to it, it takes the options of `map_Kd` for the name of the picture, and passes `d` and `Tr`
  over when it draws (`test_an_obj_has_its_materials_and_counts_backwards`). Where some vertices have colours, none has.
- Tabs behind `v` and `f` leave nothing, and comments behind a face are refused. What goes wrong with a file of materials, as
  that it is a device, is passed over (`test_what_a_mesh_names_is_a_file_too`).

The format: Wavefront 1995, "Object files (.obj)", as far as it speaks of polygons.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.polygons import cut
from nca3d.targets.readers.textures import Beside, Texture

# How many words follow an option of a texture, as in `map_Kd -s 1 1 1 wood.png`.
WORDS = {"-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2, "-texres": 1}
WORDS |= {"-o": 3, "-s": 3, "-t": 3, "-type": 1, "-colorspace": 1}
# No file of materials is larger, and no list of them longer.
MAX_LIBRARY, MAX_MATERIALS = 1 << 24, 20_000


@dataclass
class Corners:
    """The faces of one material: for each corner its vertex, its place in the texture (-1 = none), and the corners a face."""

    vertices: "array[int]" = field(default_factory=lambda: array("q"))
    places: "array[int]" = field(default_factory=lambda: array("q"))
    lengths: "array[int]" = field(default_factory=lambda: array("q"))


class _Reader:
    """Goes through the lines of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points, self.colours, self.uv = array("d"), array("d"), array("d")
        self.coloured: list[int] = []
        self.of: dict[str, Corners] = {}
        self.libraries: list[str] = []
        self.others = self.faces = 0
        self._current = self.of.setdefault("", Corners())

    def line(self, line: str) -> None:
        """Reads one line."""
        kind, _, rest = line.partition(" ")
        if kind == "v":
            words = rest.split()
            if len(self.points) > 3 * MAX_FACES:
                raise InputError(self.path, "vertices", f"more than {MAX_FACES:,}", "fewer: simplify it first")
            self.points.extend((float(words[0]), float(words[1]), float(words[2])))
            if len(words) >= 6:  # x y z red green blue; a fourth number alone is a weight
                self.coloured.append(len(self.points) // 3 - 1)
                self.colours.extend((float(words[3]), float(words[4]), float(words[5])))
        elif kind == "f":
            self._face(rest.split())
        elif kind == "vt":
            words = rest.split()
            if len(self.uv) > 6 * MAX_FACES:
                raise InputError(self.path, "vt", f"more than {3 * MAX_FACES:,}", "fewer: simplify it first")
            self.uv.extend((float(words[0]), float(words[1]) if len(words) > 1 else 0.0))
        elif kind == "usemtl":
            self._current = self.of.setdefault(rest.strip(), Corners())
            if len(self.of) > MAX_MATERIALS:
                raise InputError(self.path, "materials", f"more than {MAX_MATERIALS:,}", "fewer: join them first")
        elif kind == "mtllib":
            self.libraries.append(rest.strip())
        elif kind in ("l", "p"):
            self.others += 1

    def _face(self, words: list[str]) -> None:
        """Reads a face; an index below 0 counts back from the last vertex so far."""
        if len(words) < 3:
            return
        self.faces += len(words) - 2
        if self.faces > MAX_FACES:
            raise InputError(self.path, "faces", f"more than {MAX_FACES:,}", "fewer: simplify it first (Blender: Decimate)")
        points, places, current = len(self.points) // 3, len(self.uv) // 2, self._current
        for word in words:
            first, _, rest = word.partition("/")
            second = rest.partition("/")[0]
            index = int(first)
            current.vertices.append(index - 1 if index > 0 else index + points if index < 0 else -1)
            place = int(second) if second else 0
            current.places.append(place - 1 if place > 0 else place + places if place < 0 else -1)
        current.lengths.append(len(words))


def read_obj(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the faces of all objects and groups of an .obj, with its materials.

    Raises:
        InputError: If a line can't be read, or a face names a vertex that isn't there.
    """
    reader = _Reader(path)
    for number, line in _lines(path):
        try:
            reader.line(line)
        except InputError:
            raise
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(path, f"line {number}", repr(line[:60]), "numbers, as in 'v 0 0 1' and 'f 1 2 3'") from error
    if not any(len(one.lengths) for one in reader.of.values()):
        there = len(reader.points) // 3
        found = f"none, {there:,} vertices and {reader.others:,} lines or points"
        raise InputError(path, "faces", found, "a mesh with at least one triangle ('f 1 2 3')")
    notes: list[str] = []
    materials = _materials(reader, beside, notes)
    points = np.array(reader.points).reshape(-1, 3)
    uv = np.array(reader.uv).reshape(-1, 2) * (1, -1) + (0, 1)
    colours = _vertex_colours(reader, len(points))
    parts = [
        _part(corners, points, uv, colours, materials.get(name), path, notes)
        for name, corners in reader.of.items()
        if len(corners.lengths)
    ]
    return parts, notes


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the numbered lines of a file, those that end with a backslash together with the next."""
    held = ""
    with path.open("rb") as start:
        marks = start.read(2) in (b"\xff\xfe", b"\xfe\xff")
    with path.open(encoding="utf-16" if marks else "latin-1") as file:
        for number, line in enumerate(file, 1):
            line = held + line.rstrip().replace("\t", " ")
            held = line[:-1] + " " if line.endswith("\\") else ""
            if not held:
                yield number, line.lstrip()


def _part(
    faces: Corners,
    points: np.ndarray,
    uv: np.ndarray,
    colours: np.ndarray | None,
    material: Material | None,
    path: Path,
    notes: list[str],
) -> Part:
    """Returns the faces of one material as triangles."""
    vertices = np.array(faces.vertices)
    slot, _ = cut(vertices, np.array(faces.lengths), points, path, notes)
    triangles = vertices[slot]
    places = np.array(faces.places)[slot]
    if material is not None and material.texture is not None:
        known = (places >= 0) & (places < len(uv))
        if not known.any():
            material = Material(material.name, material.factor, None, False, material.cut)
        else:
            return Part(points[triangles], material, None, np.where(known[..., None], uv[np.where(known, places, 0)], 0))
    if colours is not None:
        return Part(points[triangles], None if material is None else Material(cut=material.cut), colours[triangles])
    return Part(points[triangles], material)


def _vertex_colours(reader: _Reader, count: int) -> np.ndarray | None:
    """Returns RGBA (count, 4) of vertices, 0..1, grey where there is none; None for a file without."""
    if not reader.coloured:
        return None
    given = np.array(reader.colours).reshape(-1, 3)
    most = 255.0 if np.nanmax(given, initial=0) > 1.001 else 1.0
    rgba = np.full((count, 4), (0.7, 0.7, 0.7, 1.0), np.float32)
    rgba[reader.coloured, :3] = np.clip(np.nan_to_num(given / most), 0, 1)
    return rgba


def _materials(reader: _Reader, beside: Beside, notes: list[str]) -> dict[str, Material]:
    """Returns the materials that faces use, by name."""
    used = {name for name, corners in reader.of.items() if name and len(corners.lengths)}
    entries: dict[str, dict[str, list[str]]] = {}
    for line in dict.fromkeys(reader.libraries):
        # A line may name several files, and a file may have spaces in its name.
        whole = beside.read(line)
        each = (
            [(line, whole)]
            if whole is not None or " " not in line
            else [(name, beside.read(name)) for name in line.split()[:50]]
        )
        for name, data in each:
            if data is None or len(data) > MAX_LIBRARY:
                why = beside.missing(name) if data is None else "is too long"
                notes.append(f"material file {name} {why}: drawn without it")
            else:
                entries |= _library(data.decode("latin-1"))
                beside.folders.append(name.replace("\\", "/").rpartition("/")[0])
    missing = sorted(used - entries.keys())
    if missing and entries:
        notes.append(f"materials without an entry: {', '.join(missing[:5])}{' ...' * (len(missing) > 5)}")
    return {name: _material(name, entries[name], beside) for name in sorted(used & entries.keys())}


def _library(text: str) -> dict[str, dict[str, list[str]]]:
    """Returns the lines of each material of an .mtl: words by the keyword, in small letters."""
    entries: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].lower() == "newmtl":
            current = entries.setdefault(line.split(None, 1)[1].strip(), {})
        elif len(words) > 1:
            current[words[0].lower()] = words[1:]
    return entries


def _material(name: str, entry: dict[str, list[str]], beside: Beside) -> Material:
    """Returns a material: Kd, map_Kd and d (or Tr, its opposite; but a Tr of 1 is what MeshLab writes for an opaque one).

    A grey Kd beside a picture is what exporters write who didn't ask for one: the picture is drawn as it is.
    """
    colour = _numbers(entry.get("kd", []))[:3]
    colour = colour * 3 if len(colour) == 1 else colour
    given = len(colour) == 3
    opacity = (_numbers(entry.get("d", [])) or [1 - tr for tr in _numbers(entry.get("tr", [])) if tr < 1] or [1.0])[0]
    words = entry.get("map_kd", [])
    texture = None
    if words:
        file_name, clamp = _picture(words)
        pixels = beside.texture(file_name)
        wrap = "clamp" if clamp else "repeat"
        texture = None if pixels is None else Texture(pixels, (wrap, wrap))
    if not given or (texture is not None and max(colour) - min(colour) < 0.02):
        colour = [1.0] * 3
    return Material(name, (*np.clip(colour, 0, 1).tolist(), min(max(opacity, 0.0), 1.0)), texture, False, GLASS)


def _picture(words: list[str]) -> tuple[str, bool]:
    """Returns the file of a texture and whether it is clamped, from the words behind map_Kd."""
    at, clamp = 0, False
    while at < len(words) - 1 and words[at].lower() in WORDS:
        option = words[at].lower()
        clamp = clamp or (option == "-clamp" and words[at + 1] == "on")
        at += 1
        # Of up to three numbers the last ones may be left out.
        taken = 0
        while taken < WORDS[option] and at < len(words) - 1 and (WORDS[option] == 1 or _numbers(words[at : at + 1])):
            at, taken = at + 1, taken + 1
    return " ".join(words[at:]), clamp


def _numbers(words: list[str]) -> list[float]:
    """Returns the finite numbers that words begin with."""
    found: list[float] = []
    for word in words:
        try:
            number = float(word)
        except ValueError:
            break
        if not np.isfinite(number):
            break
        found.append(number)
    return found
