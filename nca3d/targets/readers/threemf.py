"""3MF: the objects of a print, in a zip of XML, in their places, with the colours of materials.

zipfile and xml.etree take a file apart; what its elements mean is read here, since neither library gives that in full:

- trimesh 5.2 leaves colours out, and needs lxml and networkx.
- lib3mf 2.5.0, of the format's own consortium, drops `p1` of triangles that name no `pid` without a warning, where the
  specification has them take that of the object (4.1.4.1): all such triangles would have the object's default colour
  (`test_a_print_has_its_parts_and_colours`). It refuses a whole file for one triangle of two equal corners, for a component
  above the object that it names, and for a package without [Content_Types].xml or _rels; and takes a model whose end is cut
  off for a whole one (`test_broken_prints_are_refused`). It has no wheel for Linux on ARM.

The format: 3MF Consortium, "Core specification" 1.3 and "Materials and properties extension" 1.2.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.guard import parsing
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.polygons import check_faces
from nca3d.targets.readers.textures import Beside, Texture
from nca3d.targets.readers.threemf_model import Archive, Key, Model, Object

MAX_INSTANCES = 10_000
ALLOWED = "a whole .3mf file (a zip with 3D/3dmodel.model in it)"


def read_3mf(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads what a .3mf builds: all instances of its objects, but for supports.

    Raises:
        InputError: If it is no such file, unpacks to too much, or an object is missing.
    """
    with parsing(path, ALLOWED):
        print_ = _Print(path, beside)
        parts = [part for key, matrix in print_.placed() for part in print_.parts(key, matrix)]
    return parts, print_.notes


class _Print:
    """The objects of a file, read when they are asked for."""

    def __init__(self, path: Path, beside: Beside) -> None:
        self.path, self.beside = path, beside
        self.archive = Archive(path)
        self.notes: list[str] = []
        self.faces = 0
        self._models: dict[str, Model] = {}
        self._materials: dict[Key, Material | None] = {}
        self._read: dict[Key, list[Part]] = {}

    def model(self, name: str) -> Model:
        """Returns a model file of the archive."""
        if name not in self._models:
            self._models[name] = self.archive.model(name)
        return self._models[name]

    def placed(self) -> Iterator[tuple[Key, np.ndarray]]:
        """Yields the objects that are built and have triangles, and their places (4, 4)."""
        root = self.model(self.archive.root)
        left = [(key, matrix, 0) for key, matrix in root.build]
        if not left:  # an unfinished file: all objects that no other one holds
            held = Counter(key for one in root.objects.values() for key, _ in one.components)
            left = [((root.name, ident), np.eye(4), 0) for ident in root.objects if not held[(root.name, ident)]]
        seen = 0
        while left:
            key, matrix, depth = left.pop()
            seen += 1
            if seen > MAX_INSTANCES or depth > 50:
                raise InputError(self.path, "instances", f"more than {MAX_INSTANCES:,}, or within one another", "fewer")
            one = self._object(key)
            if one.kind in ("support", "solidsupport"):
                self._say("objects: supports left out")
                continue
            left += [(inner, matrix @ place, depth + 1) for inner, place in one.components]
            if len(one.triangles):
                yield key, matrix

    def _object(self, key: Key) -> Object:
        """Returns an object by file and number."""
        found = self.model(key[0]).objects.get(key[1])
        if found is None:
            raise InputError(self.path, "objectid", f"{key[1]!r}, which {key[0]} hasn't", "objects that are there")
        return found

    def parts(self, key: Key, matrix: np.ndarray) -> Iterator[Part]:
        """Yields the triangles of an object, one part for each group of colours, in their place."""
        if key not in self._read:
            self._read[key] = list(self._parts(key))
        for part in self._read[key]:
            self.faces += len(part.corners)
            if self.faces > MAX_FACES:
                raise InputError(self.path, "faces", f"more than {MAX_FACES:,}", f"at most {MAX_FACES:,}: simplify it first")
            corners, colours, uv = part.corners @ matrix[:3, :3].T + matrix[:3, 3], part.colours, part.uv
            if np.linalg.det(matrix[:3, :3]) < 0:  # mirrored: it would be inside out next to the others
                corners, colours, uv = (None if one is None else one[:, ::-1] for one in (corners, colours, uv))
            yield Part(corners, part.material, colours, uv, part.source)

    def _parts(self, key: Key) -> Iterator[Part]:
        """Yields the triangles of an object by groups of colours."""
        one, model = self._object(key), self.model(key[0])
        triangles, owners = one.triangles, one.owners
        points = one.points
        check_faces(points, triangles, self.path)
        for group in np.unique(owners).tolist():
            mine = owners == group
            ident = one.groups[group]
            corners, rows = points[triangles[mine]], one.rows[mine]
            table = model.colours.get(ident)
            if table is None and ident in model.places:
                yield self._pictured(model, ident, corners, rows)
                continue
            if table is None or not len(table):
                if ident:
                    self._say(f"colours: group {ident} is of a kind that isn't read (composites, several properties)")
                yield Part(corners)
                continue
            colours = table[np.clip(rows, 0, len(table) - 1)]
            yield Part(corners, Material(cut=GLASS), colours, None, "objects")

    def _pictured(self, model: Model, ident: str, corners: np.ndarray, rows: np.ndarray) -> Part:
        """Returns triangles with a texture; v runs up the picture."""
        texture, places = model.places[ident]
        key = (model.name, texture)
        if key not in self._materials:
            self._materials[key] = self._material(model, texture)
        material, table = self._materials[key], np.array(places, np.float64).reshape(-1, 2)
        if material is None or not len(table):
            return Part(corners)
        return Part(corners, material, None, table[np.clip(rows, 0, len(table) - 1)] * (1, -1) + (0, 1))

    def _material(self, model: Model, ident: str) -> Material | None:
        """Returns the material of a texture; None if its picture can't be had."""
        path, wraps = model.textures.get(ident, ("", ("repeat", "repeat")))
        pixels = self.beside.texture(path or "?", self.archive.read(path))
        return None if pixels is None else Material(ident, texture=Texture(pixels, wraps), cut=GLASS)

    def _say(self, line: str) -> None:
        """Says something once."""
        if line not in self.notes and len(self.notes) < 20:
            self.notes.append(line)
