"""Materials of glTF 2.0: base colour × texture × colours of vertices, and what extensions make of them (section 3.9)."""

import math
from typing import Any

import numpy as np

from nca3d.targets.readers.gltf_data import Gltf
from nca3d.targets.readers.mesh_colours import GLASS, Material, Part
from nca3d.targets.readers.textures import Texture

# Sections 3.8.4: codes of OpenGL.
WRAPS = {10497: "repeat", 33071: "clamp", 33648: "mirror"}
NEAREST = 9728
# What trimesh writes as base colour beside a texture that nobody asked it to darken.
TRIMESH_GREY = [0.4, 0.4, 0.4, 1.0]
# That of primitives without a material.
BARE = Material(linear=True)


class Materials:
    """The materials of a file, each made once.

    Attributes:
        notes: What was left out, one line each.
    """

    def __init__(self, gltf: Gltf) -> None:
        self.gltf = gltf
        self.notes: list[str] = []
        self._made: dict[int, tuple[Material, dict[str, Any] | None]] = {}
        self._pictures: dict[tuple[object, bool], np.ndarray | None] = {}

    def part(self, index: int | None, numbers: dict[str, np.ndarray], triangles: np.ndarray) -> Part:
        """Returns the colours of a primitive as a part without corners.

        Args:
            index: Its material, or None.
            numbers: Its attributes by name.
            triangles: The indices of its corners, (N, 3).
        """
        if index is not None and index not in self._made:
            self._made[index] = self._make(self.gltf.item("materials", index))
        material, picture = self._made[index] if index is not None else (BARE, None)
        colours, uv = numbers.get("COLOR_0"), None
        if colours is not None:
            colours = _rgba(colours, len(numbers["POSITION"]))[triangles]
        elif picture is None:
            return Part(np.zeros((0, 3, 3)))
        if material.texture is not None:
            picture = picture or {}
            moved = picture.get("extensions", {}).get("KHR_texture_transform", {})
            uv = numbers.get(f"TEXCOORD_{moved.get('texCoord', picture.get('texCoord', 0))}")
            if uv is None:
                self._say(f"material {material.name or index}: its texture has no coordinates here: drawn without it")
                material = Material(material.name, material.factor, None, True, material.cut)
            else:
                uv = _moved(uv[:, :2].astype(np.float64), moved)[triangles]
        return Part(np.zeros((0, 3, 3)), material, colours, uv)

    def _make(self, entry: dict[str, Any]) -> tuple[Material, dict[str, Any] | None]:
        """Returns a material and its texture's entry: {} for one without, None for one that names no colour at all."""
        extensions = entry.get("extensions", {})
        shiny = extensions.get("KHR_materials_pbrSpecularGlossiness", {})
        base = entry.get("pbrMetallicRoughness", {})
        factor, picture = base.get("baseColorFactor"), base.get("baseColorTexture")
        if factor is None and picture is None:
            factor, picture = shiny.get("diffuseFactor"), shiny.get("diffuseTexture")
        glow = entry.get("emissiveFactor", [0, 0, 0])
        if factor is not None and not any(factor[:3]) and any(glow):
            # Black that glows: an unlit model of the time before KHR_materials_unlit.
            factor, picture = [*glow[:3], factor[3]], entry.get("emissiveTexture")
        if factor is not None and picture is not None and self.gltf.from_trimesh and np.allclose(factor, TRIMESH_GREY):
            factor = None
        mode = entry.get("alphaMode", "OPAQUE")
        cut = {"MASK": float(entry.get("alphaCutoff", 0.5)), "BLEND": GLASS}.get(str(mode), 0.0)
        name = str(entry.get("name", ""))
        texture = self._texture(picture, cut > 0) if picture is not None else None
        given = [float(band) for band in (factor or ())][:4]
        whole = tuple(min(max(band, 0.0), 1.0) if math.isfinite(band) else 1.0 for band in [*given, *[1.0] * (4 - len(given))])
        named = factor is not None or picture is not None
        return Material(name, whole, texture, True, cut), (picture or {}) if named else None

    def _texture(self, picture: dict[str, Any], alpha: bool) -> Texture | None:
        """Returns a texture with its picture and sampler; None, and a note, if it can't be had."""
        entry = self.gltf.item("textures", picture.get("index"))
        sources = [extension for extension in entry.get("extensions", {}).items() if "source" in extension[1]]
        webp = [extension["source"] for name, extension in sources if name == "EXT_texture_webp"]
        source = webp[0] if webp else entry.get("source")
        if not isinstance(source, int):
            name = sources[0][0] if sources else "no extension"
            self._say(f"textures: stored by {name}, which is not read: drawn without them; export them as PNG or JPEG")
            return None
        key = (source, alpha)
        if key not in self._pictures:
            self._pictures[key] = self._picture(source, alpha)
        pixels = self._pictures[key]
        if pixels is None:
            return None
        sampler = self.gltf.item("samplers", entry["sampler"]) if "sampler" in entry else {}
        along_u, along_v = (WRAPS.get(sampler.get(key, 10497), "repeat") for key in ("wrapS", "wrapT"))
        return Texture(pixels, (along_u, along_v), sampler.get("magFilter") != NEAREST)

    def _picture(self, source: int, alpha: bool) -> np.ndarray | None:
        """Returns the pixels of an image, see `Beside.texture`."""
        image = self.gltf.item("images", source)
        name = str(image.get("name") or f"number {source}")
        if "bufferView" in image:
            return self.gltf.beside.texture(name, self.gltf.bytes_of(image["bufferView"]), alpha)
        uri = str(image.get("uri", ""))
        if uri.startswith("data:"):
            return self.gltf.beside.texture(name, self.gltf.resource(uri, "image"), alpha)
        return self.gltf.beside.texture(uri, None, alpha)

    def _say(self, line: str) -> None:
        """Says something once."""
        if line not in self.notes and len(self.notes) < 20:
            self.notes.append(line)


def _rgba(colours: np.ndarray, count: int) -> np.ndarray:
    """Returns linear RGBA (count, 4), 0..1, of COLOR_0 with three or four numbers a vertex."""
    whole = colours.dtype.kind != "f"
    if whole:
        colours = colours / np.float32(np.iinfo(colours.dtype).max)
    elif len(colours) and np.nanmax(colours) > 1.5:  # bytes or words that aren't declared as shares
        colours = colours / np.float32(255 if np.nanmax(colours) <= 255 else 65535)
    rgba = np.ones((count, 4), np.float32)
    usable = min(len(colours), count), min(colours.shape[1], 4)
    rgba[: usable[0], : usable[1]] = np.clip(np.nan_to_num(colours[: usable[0], :4], nan=1.0), 0, 1)
    return rgba


def _moved(uv: np.ndarray, transform: dict[str, Any]) -> np.ndarray:
    """Returns texture coordinates (P, 2) after KHR_texture_transform: scaled, turned counter-clockwise, shifted."""
    angle = float(transform.get("rotation", 0))
    u, v = (uv * np.array(transform.get("scale", (1, 1)), np.float64)).T
    turned = np.stack([u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)], 1)
    return turned + np.array(transform.get("offset", (0, 0)), np.float64)
