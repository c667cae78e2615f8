"""Scenes of glTF 2.0 (.glb, .gltf): nodes, skins and primitives become parts in their places."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nca3d.errors import InputError
from nca3d.targets.meshes import MAX_FACES
from nca3d.targets.readers.gltf_data import DRACO, Gltf, decode_draco
from nca3d.targets.readers.gltf_materials import Materials
from nca3d.targets.readers.mesh_colours import Part
from nca3d.targets.readers.textures import Beside

# Nodes and instances of one scene; more would be slower to place than they are to see.
MAX_NODES = 100_000
# Points whose skin is worked on at a time.
CHUNK = 1 << 18
STRIP, FAN, TRIANGLES = 5, 6, 4


def read_gltf(path: Path, beside: Beside) -> tuple[list[Part], list[str]]:
    """Reads the parts of a scene as a viewer shows them at first: no animation, shape keys and skins as the file has them.

    Args:
        path: The .glb or .gltf file.
        beside: The files that it names.

    Returns:
        The parts, y up, and what was decided, one line each.

    Raises:
        InputError: If it needs an extension that isn't read here, or is broken.
    """
    scene = _Scene(Gltf(path, beside))
    parts = list(scene.parts())
    if not any(len(part.corners) for part in parts) and scene.others:
        raise InputError(path, "meshes", "only lines or points", "triangles: a scan of points must be meshed first")
    return parts, scene.notes + scene.materials.notes


@dataclass(frozen=True, eq=False)
class Primitive:
    """Triangles of a mesh, before they are placed.

    Attributes:
        entry: Its entry in the file.
        weights: The weights of its mesh's shape keys.
        part: Its colours, without corners.
        points: The points that its triangles use, (P, 3).
        used: Their indices in the accessors, (P,).
        triangles: The points of the triangles, (N, 3).
    """

    entry: dict[str, Any]
    weights: list[float]
    part: Part
    points: np.ndarray
    used: np.ndarray
    triangles: np.ndarray


class _Scene:
    """Walks through the nodes of the scene that is shown."""

    def __init__(self, gltf: Gltf) -> None:
        self.gltf, self.materials = gltf, Materials(gltf)
        self.notes: list[str] = []
        self.others = self.faces = self.read = 0
        self._meshes: dict[int, list[Primitive]] = {}
        self.places = self._placed()

    def _placed(self) -> dict[int, np.ndarray]:
        """Returns the place of each node of the scene, (4, 4): that of its parent, times its own."""
        nodes, scenes = self.gltf.items("nodes"), self.gltf.items("scenes")
        if scenes:
            chosen = self.gltf.tree.get("scene", 0)
            roots = self.gltf.item("scenes", chosen).get("nodes", [])
            if len(scenes) > 1:
                self.notes.append(f"scenes: number {chosen} of {len(scenes)}, which the file shows first")
        else:
            children = {child for node in nodes for child in node.get("children", [])}
            roots = [index for index in range(len(nodes)) if index not in children]
        places: dict[int, np.ndarray] = {}
        queue = [(root, np.eye(4)) for root in roots]
        while queue:
            index, parent = queue.pop()
            node = self.gltf.item("nodes", index)
            if index in places or len(places) >= MAX_NODES:
                found = f"node {index} in two places" if index in places else f"more than {MAX_NODES:,}"
                raise InputError(self.gltf.path, "nodes", found, f"a tree of at most {MAX_NODES:,} nodes")
            places[index] = parent @ _matrix(node)
            queue += [(child, places[index]) for child in node.get("children", [])]
        return places

    def parts(self) -> Iterator[Part]:
        """Yields the parts of all nodes, in their places.

        Raises:
            InputError: If there are more than `MAX_FACES` triangles.
        """
        seen = 0
        for index, place in self.places.items():
            node = self.gltf.item("nodes", index)
            if "mesh" not in node:
                continue
            for matrix in self._instances(node, place):
                for primitive in self._mesh(node["mesh"]):
                    seen += 1
                    if seen > MAX_NODES:
                        raise InputError(self.gltf.path, "instances", f"more than {MAX_NODES:,}", "fewer: join them first")
                    self.faces = self._counted(self.faces + len(primitive.triangles))
                    yield self._in_place(primitive, self._posed(primitive, node, matrix), matrix)

    def _counted(self, faces: int) -> int:
        """Returns a number of faces, if it isn't too large."""
        if faces > MAX_FACES:
            raise InputError(self.gltf.path, "faces", f"more than {MAX_FACES:,}", f"at most {MAX_FACES:,}: simplify it first")
        return faces

    def _in_place(self, primitive: Primitive, points: np.ndarray, matrix: np.ndarray) -> Part:
        """Returns a part of the points (P, 3); mirrored ones are turned, or they would be inside out next to the others."""
        part, corners = primitive.part, points[primitive.triangles]
        if np.linalg.det(matrix[:3, :3]) >= 0:
            return replace(part, corners=corners)
        colours, uv = (None if one is None else one[:, ::-1] for one in (part.colours, part.uv))
        return replace(part, corners=corners[:, ::-1], colours=colours, uv=uv)

    def _instances(self, node: dict[str, Any], place: np.ndarray) -> list[np.ndarray]:
        """Returns the places (4, 4) where a node's mesh stands: one, or those of EXT_mesh_gpu_instancing."""
        extension = node.get("extensions", {}).get("EXT_mesh_gpu_instancing")
        if extension is None:
            return [place]
        numbers = {name.lower(): self.gltf.accessor(one) for name, one in extension["attributes"].items()}
        count = min((len(array) for array in numbers.values()), default=0)
        if count > MAX_NODES:
            raise InputError(self.gltf.path, "instances", f"{count:,}", f"at most {MAX_NODES:,}")
        keys = [key for key in ("translation", "rotation", "scale") if key in numbers]
        return [place @ _matrix({key: numbers[key][i].tolist() for key in keys}) for i in range(count)]

    def _mesh(self, index: int) -> list[Primitive]:
        """Returns the primitives of a mesh."""
        mesh = self.gltf.item("meshes", index)
        if index not in self._meshes:
            read = [self._primitive(primitive, mesh) for primitive in mesh.get("primitives", [])]
            self._meshes[index] = [one for one in read if one is not None]
        return self._meshes[index]

    def _primitive(self, entry: dict[str, Any], mesh: dict[str, Any]) -> Primitive | None:
        """Reads a primitive, None if it is made of lines or points, or has no positions."""
        mode, attributes = entry.get("mode", TRIANGLES), entry.get("attributes", {})
        if mode not in (TRIANGLES, STRIP, FAN) or "POSITION" not in attributes:
            self.others += 1
            return None
        draco, place = entry.get("extensions", {}).get(DRACO), self.gltf.item("accessors", attributes["POSITION"])
        if "bufferView" not in place and draco is not None:
            triangles, numbers = decode_draco(self.gltf, draco)
            numbers = {name: self.gltf.as_shares(array, attributes.get(name)) for name, array in numbers.items()}
        else:
            if "bufferView" not in place and "sparse" not in place:
                raise InputError(self.gltf.path, "POSITION", "no data", "a bufferView, or Draco's data")
            # What no colour and no place needs (normals, tangents) isn't read.
            wanted = [name for name in attributes if name.partition("_")[0] in ("POSITION", "COLOR", "TEXCOORD")]
            numbers = {name: self.gltf.accessor(attributes[name]) for name in wanted}
            count = len(numbers["POSITION"])
            order = self.gltf.accessor(entry["indices"], scaled=False)[:, 0] if "indices" in entry else np.arange(count)
            triangles = _triangles(order.astype(np.int64), mode)
        points = numbers["POSITION"]
        self._check(points, triangles)
        self.read = self._counted(self.read + len(triangles))
        part = self.materials.part(entry.get("material"), numbers, triangles)
        noted = mesh.get("extras")
        cell = noted.get("cell_size") if isinstance(noted, dict) else None
        if isinstance(cell, int | float) and math.isfinite(cell) and cell > 0:
            part = replace(part, cell=float(cell))
        # Many primitives may share one long list of points: each keeps its own.
        used, index = np.unique(triangles, return_inverse=True)
        return Primitive(entry, mesh.get("weights") or [], part, points[used].astype(np.float64), used, index.reshape(-1, 3))

    def _check(self, points: np.ndarray, triangles: np.ndarray) -> None:
        """Checks that positions are three numbers, and indices those of points."""
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(self.gltf.path, "POSITION", f"{points.shape[-1]} numbers a point", "3")
        if len(triangles) and not 0 <= triangles.min() <= triangles.max() < len(points):
            face = int(np.flatnonzero(((triangles < 0) | (triangles >= len(points))).any(1))[0])
            found = f"index {int(triangles[face].max())} in face {face}"
            raise InputError(self.gltf.path, "faces", found, f"0..{len(points) - 1} ({len(points)} vertices)")

    def _posed(self, primitive: Primitive, node: dict[str, Any], place: np.ndarray) -> np.ndarray:
        """Returns points (P, 3) in their place: by shape keys with the weights of the file, and by its skin, if it has one."""
        points, entry = primitive.points, primitive.entry
        for weight, target in zip(node.get("weights") or primitive.weights, entry.get("targets", []), strict=False):
            if weight and "POSITION" in target:
                points = points + float(weight) * self._of(primitive, target["POSITION"], 3)
                self._note("shape keys: as the file sets them")
        names = ("JOINTS_0", "WEIGHTS_0")
        if "skin" not in node or any(name not in entry["attributes"] for name in names):
            return points @ place[:3, :3].T + place[:3, 3]
        self._note("skin: as the file poses it, no animation")
        joints, shares = (self._of(primitive, entry["attributes"][name], 4, name) for name in names)
        return self._skinned(points, joints.astype(np.int64), shares, self.gltf.item("skins", node["skin"]))

    def _of(self, primitive: Primitive, index: object, bands: int, name: str = "") -> np.ndarray:
        """Returns the numbers (P, bands) that an attribute has for a primitive's points, packed by Draco or not."""
        draco = primitive.entry.get("extensions", {}).get(DRACO)
        if "bufferView" not in self.gltf.item("accessors", index) and draco is not None and name in draco["attributes"]:
            values = self.gltf.as_shares(decode_draco(self.gltf, draco)[1].get(name, np.zeros((0, bands))), index)
        else:
            values = self.gltf.accessor(index)
        if values.shape[1] != bands or (len(primitive.used) and len(values) <= primitive.used[-1]):
            found = f"{len(values)} of {values.shape[1]} numbers"
            raise InputError(self.gltf.path, f"accessor {index}", found, f"{bands} for each point")
        return values[primitive.used]

    def _skinned(self, points: np.ndarray, joints: np.ndarray, shares: np.ndarray, skin: dict[str, Any]) -> np.ndarray:
        """Returns points moved by the joints of a skin (section 3.7.3.1); the place of its own node is left out."""
        bones = skin["joints"]
        bind = np.tile(np.eye(4), (len(bones), 1, 1))
        if "inverseBindMatrices" in skin:
            given = self.gltf.accessor(skin["inverseBindMatrices"])[: len(bones)]
            bind[: len(given)] = given.reshape(-1, 4, 4).transpose(0, 2, 1)
        moved = np.stack([self.places.get(bone, np.eye(4)) for bone in bones]) @ bind
        shape = (len(points), 4)
        if (
            joints.shape != shape
            or shares.shape != shape
            or (joints.size and not 0 <= joints.min() <= joints.max() < len(bones))
        ):
            found = f"{len(joints)} joints, {len(shares)} weights, for {len(points)} points"
            raise InputError(self.gltf.path, "skin", found, f"four of each for a point, joints 0..{len(bones) - 1}")
        total = shares.sum(1, keepdims=True)
        shares = np.where(total > 0, shares / np.where(total > 0, total, 1), [1, 0, 0, 0])
        placed = np.empty_like(points)
        for start in range(0, len(points), CHUNK):
            some = slice(start, start + CHUNK)
            whole = np.concatenate([points[some], np.ones((len(points[some]), 1))], 1)
            placed[some] = sum(
                shares[some, k, None] * np.einsum("vij,vj->vi", moved[joints[some, k], :3], whole) for k in range(4)
            )
        return placed

    def _note(self, line: str) -> None:
        """Says something once."""
        if line not in self.notes:
            self.notes.append(line)


def _matrix(node: dict[str, Any]) -> np.ndarray:
    """Returns the place (4, 4) of a node in its parent: its matrix, or its translation, rotation and scale (section 3.5.3)."""
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), np.float64).reshape(4)
    norm = x * x + y * y + z * z + w * w
    s = 2 / norm if norm > 0 else 0.0
    turn = np.array(
        [
            [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
            [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
            [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(node.get("scale", (1, 1, 1)), np.float64).reshape(3)
    matrix[:3, 3] = np.array(node.get("translation", (0, 0, 0)), np.float64).reshape(3)
    return matrix


def _triangles(order: np.ndarray, mode: int) -> np.ndarray:
    """Returns triangles (N, 3) of indices in the order of a primitive (section 3.7.2.1)."""
    if mode == TRIANGLES:
        return order[: len(order) // 3 * 3].reshape(-1, 3)
    if len(order) < 3:
        return np.zeros((0, 3), np.int64)
    if mode == FAN:
        return np.stack([np.full(len(order) - 2, order[0]), order[1:-1], order[2:]], 1)
    strip = np.stack([order[:-2], order[1:-1], order[2:]], 1)
    strip[1::2] = strip[1::2, [1, 0, 2]]  # every other one is turned
    return strip
