"""What is in a glTF 2.0 file (.glb, .gltf): its tree, buffers and accessors, each compared with what is really there.

Read here and not by trimesh 5.2. It leaves out skins and sparse accessors, takes normalized integers of places as they are
(32767 for 1), the first set of texture coordinates whichever a material names, and no transforms of them; it forgets how
textures are wrapped and sampled; all that without a word. It makes room for an accessor without a buffer view, whatever its
count. Draco's data are decoded by DracoPy.
"""

import base64
import binascii
import json
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.options import MAX_BYTES
from nca3d.targets.readers.textures import Beside

# Section 3.6.2.2 of the specification: numbers, and how many of them make an element.
NUMBERS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
BANDS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
# Elements of an accessor: three for each of `MAX_FACES` triangles, and some.
MOST = 1 << 24
# Commas and brackets of the tree: Python needs some hundred bytes for what is between two.
MARKS = 1 << 22
DRACO = "KHR_draco_mesh_compression"
# Extensions that a file may require: these are read, and looks other than colour are nothing to a body.
KNOWN = {DRACO, "KHR_mesh_quantization", "KHR_texture_transform", "EXT_texture_webp", "EXT_mesh_gpu_instancing"}
KNOWN |= {"KHR_texture_basisu", "KHR_lights_punctual", "KHR_animation_pointer", "KHR_xmp_json_ld", "KHR_xmp"}
INSTEAD = {
    "EXT_meshopt_compression": "export it without meshopt compression (gltfpack: without -c and -cc)",
    "KHR_meshopt_compression": "export it without meshopt compression (gltfpack: without -c and -cc)",
}


class Gltf:
    """The tree of a file and the numbers that it speaks of.

    Attributes:
        path: The file.
        tree: Its JSON.
        beside: The files that it names.
    """

    def __init__(self, path: Path, beside: Beside) -> None:
        self.path, self.beside = path, beside
        self._buffers: dict[int, bytes | memoryview] = {}
        self._recent: dict[object, np.ndarray] = {}
        self.tree, self._chunk = self._open()
        version = str(self.tree.get("asset", {}).get("version", "2.0"))
        if not version.startswith("2"):
            raise InputError(path, "version", version, "glTF 2.0: export it anew")
        for name in self.tree.get("extensionsRequired", []):
            if name not in KNOWN and not str(name).startswith("KHR_materials_"):
                allowed = INSTEAD.get(name, f"export it without {name}, or as .obj, .ply or .stl")
                raise InputError(path, "extensionsRequired", f"{name}, which is not read here", allowed)

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Returns all things of a kind, as in "nodes".

        Raises:
            InputError: If they are no list.
        """
        found = self.tree.get(kind, [])
        if not isinstance(found, list):
            raise InputError(self.path, kind, type(found).__name__, "a list")
        return found

    def item(self, kind: str, index: object) -> dict[str, Any]:
        """Returns one thing of a kind.

        Raises:
            InputError: If there is no such index.
        """
        items = self.items(kind)
        if not isinstance(index, int) or not 0 <= index < len(items) or not isinstance(items[index], dict):
            raise InputError(self.path, kind, f"index {index!r}", f"0..{len(items) - 1}, of {len(items)} {kind}")
        return items[index]

    def _open(self) -> tuple[dict[str, Any], bytes | memoryview]:
        """Returns the tree and the binary chunk ("" in a .gltf), once the header is that of glTF and its lengths are there."""
        data = self.path.read_bytes()
        text: bytes = data
        chunk: bytes | memoryview = b""
        if self.path.suffix.lower() == ".glb":
            version, claimed = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8))
            if data[:4] == b"glTF" and version != 2:
                raise InputError(self.path, "version", version, "glTF 2.0: export it anew")
            if data[:4] != b"glTF" or claimed > len(data):
                found = f"{claimed:,} bytes promised, {len(data):,} there" if data[:4] == b"glTF" else repr(data[:4])
                raise InputError(self.path, "header", found, "'glTF' and the length of the file")
            chunks: dict[bytes, memoryview] = {}
            at = 12
            while at + 8 <= claimed:
                length = int.from_bytes(data[at : at + 4], "little")
                if at + 8 + length > claimed:
                    found = f"{length:,} bytes at byte {at}, {claimed - at - 8:,} there"
                    raise InputError(self.path, "chunk", found, "no more than the file has: it may be cut off, copy it again")
                chunks.setdefault(data[at + 4 : at + 8], memoryview(data)[at + 8 : at + 8 + length])
                at += 8 + length
            text, chunk = bytes(chunks.get(b"JSON", b"")), chunks.get(b"BIN\0", b"")
        if sum(text.count(mark) for mark in (b",", b"[", b"{")) > MARKS:
            raise InputError(self.path, "tree", f"more than {MARKS:,} values", "a smaller scene: join its objects first")
        try:
            tree = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(self.path, "file", f"unreadable ({error})", "a whole glTF file, which is JSON") from error
        if not isinstance(tree, dict):
            raise InputError(self.path, "tree", type(tree).__name__, "an object with 'asset', 'meshes', ...")
        return tree, chunk

    def buffer(self, index: object) -> bytes | memoryview:
        """Returns a buffer, which has the length that it promises at least.

        Raises:
            InputError: If it is shorter, or there are too many bytes in all.
        """
        entry = self.item("buffers", index)
        assert isinstance(index, int)
        if index not in self._buffers:
            uri, promised = entry.get("uri"), entry.get("byteLength", 0)
            data = self._chunk if uri is None and index == 0 else self.resource(str(uri), "buffer") if uri else b""
            if not isinstance(promised, int) or not 0 <= promised <= len(data):
                found = f"{promised} bytes promised, {len(data):,} there"
                raise InputError(self.path, f"buffer {index}", found, "no more than there is: it may be cut off, copy it again")
            held = sum(map(len, self._buffers.values())) + promised
            if held > MAX_BYTES:
                raise InputError(self.path, "buffers", f"{held:,} bytes", f"at most {MAX_BYTES:,} in all")
            self._buffers[index] = data
        return self._buffers[index]

    def resource(self, uri: str, what: str) -> bytes:
        """Returns what a URI names: data in it, or a file beside this one.

        Raises:
            InputError: If there is no such file, or its data can't be decoded.
        """
        if uri.startswith("data:"):
            kind, _, data = uri.partition(",")
            try:
                return base64.b64decode(data) if kind.endswith("base64") else unquote_to_bytes(data)
            except (binascii.Error, ValueError) as error:
                raise InputError(self.path, what, f"data that aren't base64 ({error})", "a whole file") from error
        found = self.beside.read(uri)
        if found is None:
            raise InputError(self.path, what, f"no file {uri[:80]!r} beside it", "the files that it came with, or one .glb")
        return found

    def view(self, index: object) -> tuple[bytes | memoryview, int, int, int]:
        """Returns a buffer, where a view of it begins and ends, and the view's stride (0 = none).

        Raises:
            InputError: If it lies outside of its buffer, or is packed in a way that isn't read here.
        """
        entry = self.item("bufferViews", index)
        for name in entry.get("extensions", {}):
            # Packed, and what it was packed from isn't there.
            if name in INSTEAD and entry.get("buffer") != 0 and "uri" not in self.item("buffers", entry.get("buffer")):
                raise InputError(self.path, f"bufferView {index}", f"data packed by {name}", INSTEAD[name])
        data = self.buffer(entry.get("buffer"))
        start, length, stride = (entry.get(key, 0) for key in ("byteOffset", "byteLength", "byteStride"))
        if not all(isinstance(n, int) and n >= 0 for n in (start, length, stride)) or start + length > len(data):
            found = f"bytes {start} to {start}+{length} of {len(data):,}"
            raise InputError(self.path, f"bufferView {index}", found, "a range within its buffer")
        return data, start, start + length, stride

    def bytes_of(self, index: object) -> bytes:
        """Returns the bytes of a view."""
        data, start, end, _ = self.view(index)
        return bytes(data[start:end])

    def accessor(self, index: object, scaled: bool = True) -> np.ndarray:
        """Returns the numbers (count, bands) of an accessor, as floats (`as_shares`) or, not `scaled`, as they are.

        Raises:
            InputError: If its view hasn't as many.
        """
        if not scaled or index not in self._recent:
            values = self._accessor(index)
            if not scaled:
                return values
            # Primitives of one mesh often share their points.
            self._recent = {**dict(list(self._recent.items())[-7:]), index: self.as_shares(values, index)}
        return self._recent[index]

    def _accessor(self, index: object) -> np.ndarray:
        """Returns the numbers (count, bands) of an accessor as they are."""
        entry = self.item("accessors", index)
        count, dtype = entry.get("count"), self._dtype(entry, index)
        bands = BANDS.get(str(entry.get("type")), 0)
        if not isinstance(count, int) or not 0 <= count <= MOST or not bands:
            found = f"{count} elements of type {entry.get('type')!r}"
            raise InputError(self.path, f"accessor {index}", found, f"0..{MOST:,} of {', '.join(BANDS)}")
        if "bufferView" in entry:
            values = self._strided(entry, count, bands, dtype, f"accessor {index}")
        else:
            values = np.zeros((count, bands), dtype)
        if "sparse" in entry:
            values = self._patched(values, entry["sparse"], f"accessor {index}")
        return values

    def as_shares(self, values: np.ndarray, index: object) -> np.ndarray:
        """Returns numbers (N, k) as floats: shares 0..1 (or -1..1) where their accessor says that they are normalised."""
        if values.dtype.kind == "f":
            return values
        if self.item("accessors", index).get("normalized") is True:
            return np.maximum(values / np.float32(np.iinfo(values.dtype).max), -1).astype(np.float32)
        return values.astype(np.float32)

    def _dtype(self, entry: dict[str, Any], index: object) -> np.dtype:
        """Returns the type of an accessor's numbers."""
        code = entry.get("componentType")
        if code not in NUMBERS:
            raise InputError(self.path, f"accessor {index}", f"componentType {code}", ", ".join(map(str, NUMBERS)))
        return np.dtype(NUMBERS[code])

    def _strided(self, entry: dict[str, Any], count: int, bands: int, dtype: np.dtype, name: str) -> np.ndarray:
        """Returns count × bands numbers from a view, a copy."""
        data, start, end, stride = self.view(entry["bufferView"])
        offset, size = entry.get("byteOffset", 0), bands * dtype.itemsize
        stride = stride or size
        if not isinstance(offset, int) or offset < 0 or stride < size:
            raise InputError(self.path, name, f"byteOffset {offset}, byteStride {stride}", f"0 or more, and {size} or more")
        if count and offset + stride * (count - 1) + size > end - start:
            found = f"{count:,} elements of {size} bytes from byte {offset}, {end - start:,} there"
            raise InputError(self.path, name, found, "no more than its bufferView has")
        strides = (stride, dtype.itemsize)
        if not count:
            return np.zeros((0, bands), dtype)
        return np.array(np.ndarray((count, bands), dtype, data, start + offset, strides))

    def _patched(self, values: np.ndarray, sparse: dict[str, Any], name: str) -> np.ndarray:
        """Returns the numbers of an accessor with the sparse ones in their places (section 3.6.2.3)."""
        count, where, what = sparse["count"], sparse["indices"], sparse["values"]
        if not isinstance(count, int) or not 0 <= count <= len(values):
            raise InputError(self.path, name, f"{count} sparse elements", f"0..{len(values)}")
        places = self._strided(where, count, 1, self._dtype(where, name), name)[:, 0]
        if count and int(places.max()) >= len(values):
            raise InputError(self.path, name, f"sparse index {int(places.max())}", f"0..{len(values) - 1}")
        values[places] = self._strided(what, count, values.shape[1], values.dtype, name)
        return values

    @cached_property
    def from_trimesh(self) -> bool:
        """Whether trimesh wrote the file."""
        return "trimesh" in str(self.tree.get("asset", {}).get("generator", ""))


def decode_draco(gltf: Gltf, extension: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns faces (N, 3) and attributes by their glTF names, from Draco's data (KHR_draco_mesh_compression).

    Raises:
        InputError: If they can't be decoded, or DracoPy isn't installed.
    """
    try:
        import DracoPy
    except ImportError as error:
        raise InputError(gltf.path, "DracoPy", "not installed", "the extra: pip install 'nca3d[meshes]'") from error
    allowed = "whole data, or the same model exported without Draco compression, or as .obj, .ply or .stl"
    data = gltf.bytes_of(extension.get("bufferView"))
    try:
        mesh = DracoPy.decode(data)
        faces = np.asarray(mesh.faces, np.int64).reshape(-1, 3)
        numbers = {one["unique_id"]: np.asarray(one["data"]) for one in mesh.attributes}
    except Exception as error:  # whatever the decoder raises of broken data
        raise InputError(gltf.path, DRACO, "data that can't be decoded", allowed) from error
    found = {name: numbers[ident] for name, ident in extension.get("attributes", {}).items() if ident in numbers}
    if "POSITION" not in found:
        raise InputError(gltf.path, DRACO, "data without positions", allowed)
    return faces, found
