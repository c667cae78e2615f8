"""The files in a .3mf: an archive whose sizes are added up before any is unpacked, and models read element by element."""

import re
import xml.etree.ElementTree as ET
import zipfile
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError

# What the parts of a file may have together, unpacked: XML of some two million triangles.
MAX_UNPACKED = 1 << 27
# The list of a zip's files, in bytes: some ten thousand names.
MAX_NAMES = 1 << 20
Key = tuple[str, str]
TILES = {"wrap": "repeat", "mirror": "mirror", "clamp": "clamp", "none": "clamp"}


@dataclass
class Object:
    """An object: triangles, or other objects in their places.

    Attributes:
        kind: Its type, as in "model" or "support".
        default: The group and the row in it of triangles that name none.
        components: Other objects and their places, (4, 4).
        groups: The groups of colours that triangles name, "" for none.
    """

    kind: str
    default: tuple[str, int]
    components: list[tuple[Key, np.ndarray]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    _points: "array[float]" = field(default_factory=lambda: array("d"))
    _triangles: "array[int]" = field(default_factory=lambda: array("q"))
    _rows: "array[int]" = field(default_factory=lambda: array("q"))
    _owners: "array[int]" = field(default_factory=lambda: array("q"))

    def add_point(self, attributes: dict[str, str]) -> None:
        """Reads a <vertex>."""
        self._points.extend(float(attributes[axis]) for axis in "xyz")

    def add_triangle(self, attributes: dict[str, str]) -> None:
        """Reads a <triangle> with the rows of its corners in their group (p2 and p3 are p1 where they are left out)."""
        self._triangles.extend(int(attributes[key]) for key in ("v1", "v2", "v3"))
        group, row = self.default
        first = int(attributes.get("p1", row))
        group = attributes.get("pid", group) if "p1" in attributes or "pid" not in attributes else attributes["pid"]
        if not self.groups or self.groups[-1] != group:
            self.groups.append(group)
        self._owners.append(len(self.groups) - 1)
        self._rows.extend((first, int(attributes.get("p2", first)), int(attributes.get("p3", first))))

    @property
    def points(self) -> np.ndarray:
        """The vertices, (P, 3)."""
        return np.array(self._points, np.float64).reshape(-1, 3)

    @property
    def triangles(self) -> np.ndarray:
        """The vertices of triangles, (N, 3)."""
        return np.array(self._triangles, np.int64).reshape(-1, 3)

    @property
    def rows(self) -> np.ndarray:
        """The rows of corners in their group, (N, 3)."""
        return np.array(self._rows, np.int64).reshape(-1, 3)

    @property
    def owners(self) -> np.ndarray:
        """The index in `groups` of each triangle, (N,): the first of that name."""
        first = np.array([self.groups.index(group) for group in self.groups], np.int64)
        return first[np.array(self._owners, np.int64)] if len(first) else np.zeros(0, np.int64)


class Model:
    """A model file, as the target of an XML parser: no tree is built.

    Attributes:
        name: Its path in the archive.
        objects: Its objects by id.
        build: The objects that are printed, and their places.
        colours: The RGBA of base materials and colour groups, by id.
        textures: The path and the wrapping of pictures, by id.
        places: The texture and the places in it of texture groups, by id.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: dict[str, Object] = {}
        self.build: list[tuple[Key, np.ndarray]] = []
        self.colours: dict[str, np.ndarray] = {}
        self.textures: dict[str, tuple[str, tuple[str, str]]] = {}
        self.places: dict[str, tuple[str, list[float]]] = {}
        self._object = Object("model", ("", 0))
        self._rows: list[tuple[float, ...]] = []
        self._group = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Reads an element's attributes."""
        kind = tag.rpartition("}")[2]
        if kind == "vertex":
            self._object.add_point(attributes)
        elif kind == "triangle":
            self._object.add_triangle(attributes)
        elif kind == "object":
            default = (attributes.get("pid", ""), int(attributes.get("pindex", 0)))
            self._object = self.objects.setdefault(attributes["id"], Object(attributes.get("type", "model"), default))
        elif kind == "component":
            self._object.components.append(self._placed(attributes))
        elif kind == "item":
            self.build.append(self._placed(attributes))
        elif kind in ("basematerials", "colorgroup"):
            self._rows = []
        elif kind in ("base", "color"):
            self._rows.append(_colour(attributes.get("displaycolor", attributes.get("color", ""))))
        elif kind == "texture2d":
            along_u, along_v = (TILES.get(attributes.get(key, ""), "repeat") for key in ("tilestyleu", "tilestylev"))
            self.textures[attributes["id"]] = (attributes.get("path", ""), (along_u, along_v))
        elif kind == "texture2dgroup":
            self._group = attributes["id"]
            self.places[self._group] = (attributes.get("texid", ""), [])
        elif kind == "tex2coord":
            self.places[self._group][1].extend((float(attributes["u"]), float(attributes["v"])))
        if kind in ("basematerials", "colorgroup"):
            self._group = attributes["id"]

    def end(self, tag: str) -> None:
        """Keeps a group of colours."""
        if tag.rpartition("}")[2] in ("basematerials", "colorgroup"):
            self.colours[self._group] = np.array(self._rows, np.float32).reshape(-1, 4)

    def data(self, text: str) -> None:
        """Skips the text between elements."""

    def _placed(self, attributes: dict[str, str]) -> tuple[Key, np.ndarray]:
        """Returns the key and the place of an item or a component: a 4 × 3 matrix that rows are multiplied by."""
        path = next((value.lstrip("/") for name, value in attributes.items() if name.rpartition("}")[2] == "path"), self.name)
        matrix = np.eye(4)
        if "transform" in attributes:
            matrix[:3] = np.array(attributes["transform"].split(), np.float64).reshape(4, 3).T
        return (path, attributes["objectid"]), matrix


class Archive:
    """The zip that a .3mf is.

    Attributes:
        root: The path of the model that is built.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._check_list()
        self.zip = zipfile.ZipFile(path)
        self.left = MAX_UNPACKED
        self.names = {name.lstrip("/").lower(): name for name in self.zip.namelist()}
        links = self._parsed("_rels/.rels", ET.TreeBuilder()) if "_rels/.rels" in self.names else ()
        named = [link.get("Target", "").lstrip("/") for link in links if link.get("Type", "").endswith("/3dmodel")]
        models = [name for name in self.names if name.endswith("3dmodel.model")]
        self.root = next((name for name in named if name.lower() in self.names), (models or ["3D/3dmodel.model"])[0])

    def _check_list(self) -> None:
        """Checks that the list of files at the zip's end is of a size that one can read."""
        with self.path.open("rb") as file:
            file.seek(max(0, self.path.stat().st_size - (1 << 16) - 22))
            tail = file.read()
        end = tail.rfind(b"PK\5\6")
        if end < 0 or len(tail) < end + 22:
            raise InputError(self.path, "header", repr(tail[:4]), "a zip, which a whole .3mf file is: copy it again")
        size = int.from_bytes(tail[end + 12 : end + 16], "little")
        if size > MAX_NAMES:
            raise InputError(self.path, "files", f"a list of {size:,} bytes", f"at most {MAX_NAMES:,}")

    def read(self, name: str) -> bytes | None:
        """Returns what is in a file of the archive; None if there is none of that name.

        Raises:
            InputError: If all that was read has more than `MAX_UNPACKED` bytes.
        """
        there = self.names.get(name.lstrip("/").lower())
        if there is None:
            return None
        promised = self.zip.getinfo(there).file_size
        self.left -= promised
        if self.left < 0:
            found = f"{promised:,} bytes, unpacked"
            raise InputError(self.path, "files", found, f"at most {MAX_UNPACKED:,} in all: simplify it")
        with self.zip.open(there) as file:
            return file.read(promised)

    def model(self, name: str) -> Model:
        """Returns a model file, read.

        Raises:
            InputError: If there is none of that name, or it is no model.
        """
        model = Model(name)
        self._parsed(name, model)
        return model

    def _parsed(self, name: str, target: object) -> Any:
        """Lets a target see the elements of a file, and returns what it makes of them.

        Raises:
            InputError: If there is none of that name, or it is no XML.
        """
        text = self.read(name)
        if text is None:
            raise InputError(self.path, "model", f"no {name} in it", "a whole .3mf file")
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise InputError(self.path, "model", "definitions of entities", "XML without them")
        parser = ET.XMLParser(target=target)
        parser.feed(text)
        return parser.close()


def _colour(text: str) -> tuple[float, ...]:
    """Returns RGBA 0..1 of "#rrggbb" or "#rrggbbaa"; grey where it can't be read."""
    if not re.fullmatch(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{8})", text):
        return (0.7, 0.7, 0.7, 1.0)
    bands = [int(text[i : i + 2], 16) / 255 for i in range(1, len(text), 2)]
    return (*bands, *[1.0] * (4 - len(bands)))
