"""What tests of mesh files share: a tetrahedron, pictures, scenes in the making, and the colours that are seen."""

import io
import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nca3d.targets.voxelise import Mesh

Image = pytest.importorskip("PIL.Image")
POINTS = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], float)
FACES = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)
RED, GREEN, BLUE, GREY = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.7, 0.7, 0.7)


def shades(mesh: Mesh, share: Sequence[float] = (1 / 3, 1 / 3, 1 / 3)) -> np.ndarray:
    """The RGBA of one point of each triangle."""
    faces = np.arange(len(mesh.corners))
    if mesh.paint is not None:
        return mesh.paint(faces, np.tile(share, (len(faces), 1)))
    assert mesh.colours is not None
    return np.concatenate([np.einsum("k,nkd->nd", np.array(share), mesh.colours), np.ones((len(faces), 1))], 1)


def picture(pixels: object, mode: str | None = None, format: str = "PNG") -> bytes:
    """A picture file of pixels (rows, columns, bands) in 0..255."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels, np.uint8))
    (image.convert(mode) if mode else image).save(file, format, **({"quality": 100} if format == "JPEG" else {}))
    return file.getvalue()


CODES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Scene:
    """A glTF scene in the making: arrays become accessors."""

    def __init__(self, **tree: Any) -> None:
        self.data = b""
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
        self.tree |= {"accessors": [], "bufferViews": [], "meshes": [{"primitives": []}], **tree}

    def view(self, data: bytes) -> int:
        self.data += bytes(-len(self.data) % 4)
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        self.data += data
        return len(self.tree["bufferViews"]) - 1

    def add(self, values: object, kind: str = "f4", **more: Any) -> int:
        array = np.asarray(values, "<" + kind)
        array = array.reshape(len(array), -1)
        entry = {"bufferView": self.view(array.tobytes()), "componentType": CODES[kind], "count": len(array)}
        self.tree["accessors"].append({**entry, "type": KINDS[array.shape[1]], **more})
        return len(self.tree["accessors"]) - 1

    def mesh(self, points: object = POINTS, faces: object = FACES, material: dict | None = None, **attributes: int) -> dict:
        primitive: dict[str, Any] = {"attributes": {"POSITION": self.add(points), **attributes}}
        if faces is not None:
            primitive["indices"] = self.add(np.ravel(np.asarray(faces)), "u2")
        if material is not None:
            primitive["material"] = len(self.tree.setdefault("materials", []))
            self.tree["materials"].append(material)
        self.tree["meshes"][0]["primitives"].append(primitive)
        return primitive

    def texture(self, data: bytes, **sampler: int) -> dict[str, int]:
        self.tree.setdefault("images", []).append({"bufferView": self.view(data)})
        self.tree.setdefault("samplers", []).append(sampler)
        textures = self.tree.setdefault("textures", [])
        textures.append({"source": len(self.tree["images"]) - 1, "sampler": len(textures)})
        return {"index": len(textures) - 1}

    def save(self, path: Path) -> Path:
        if path.suffix == ".gltf":
            (path.parent / "all data.bin").write_bytes(self.data)
            self.tree["buffers"] = [{"byteLength": len(self.data), "uri": "all%20data.bin"}]
            path.write_text(json.dumps(self.tree))
            return path
        self.tree["buffers"] = [{"byteLength": len(self.data)}]
        text = json.dumps(self.tree).encode()
        text, data = text + b" " * (-len(text) % 4), self.data + bytes(-len(self.data) % 4)
        parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts)
        return path


def base(**pbr: Any) -> dict[str, Any]:
    return {"pbrMetallicRoughness": pbr}


def upright(points: object) -> np.ndarray:
    return np.asarray(points, float)[..., [0, 2, 1]] * (1, -1, 1)


def upright_back(corners: np.ndarray) -> np.ndarray:
    return corners[..., [0, 2, 1]] * (1, 1, -1)
