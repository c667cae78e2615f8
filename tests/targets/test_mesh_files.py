"""Mesh files as programs write them: colours under any name, textures, scenes, compression, and what is said of them."""

import io
import json
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import one_line

from nca3d import targets
from nca3d.targets.readers import threemf_model
from nca3d.targets.readers.meshes import load_mesh
from nca3d.targets.voxelise import Mesh

Image = pytest.importorskip("PIL.Image")
POINTS = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], float)
FACES = np.array([(0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3)])
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


# --- .ply ---


def ply(
    path: Path,
    vertex: dict[str, tuple[str, Sequence[float]]],
    faces: Sequence[Sequence[int]],
    face: dict[str, tuple[str, Sequence[float]]] | None = None,
    how: str = "ascii",
    comment: str = "",
    tail: str = "",
) -> Path:
    """A .ply of columns by name, with their types."""
    face = face or {}
    codes = {"uchar": "B", "ushort": "H", "float": "f", "int": "i"}
    order = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}[how]
    columns = {name: ("float", POINTS[:, i]) for i, name in enumerate("xyz")} | vertex
    head = ["ply", f"format {how} 1.0", *([f"comment {comment}"] * bool(comment)), f"element vertex {len(columns['x'][1])}"]
    head += [f"property {kind} {name}" for name, (kind, _) in columns.items()]
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    head += [f"property {kind} {name}" for name, (kind, _) in face.items()]
    rows: list[list[tuple[str, float]]] = [
        [(kind, values[i]) for kind, values in columns.values()] for i in range(len(columns["x"][1]))
    ]
    for i, corners in enumerate(faces):
        rows.append([("uchar", len(corners)), *(("int", corner) for corner in corners)])
        rows[-1] += [(kind, values[i]) for kind, values in face.values()]
    if how == "ascii":
        body = "".join(" ".join(f"{value:.9g}" for _, value in row) + tail + "\n" for row in rows).encode()
    else:
        body = b"".join(
            struct.pack(order + codes[kind], value if kind == "float" else int(value)) for row in rows for kind, value in row
        )
    path.write_bytes("\n".join([*head, "end_header\n"]).encode() + body)
    return path


@pytest.mark.parametrize("how", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize(
    ("names", "kind", "most"),
    [
        (("red", "green", "blue"), "uchar", 255),
        (("red", "green", "blue", "alpha"), "ushort", 65535),
        (("r", "g", "b"), "uchar", 255),
        (("diffuse_red", "diffuse_green", "diffuse_blue"), "float", 1),
        (("ambient_red", "ambient_green", "ambient_blue"), "float", 255),
    ],
)
def test_colours_of_a_ply_have_many_names_and_types(tmp_path: Path, names: tuple, kind: str, most: int, how: str) -> None:
    shade = (1.0, 0.2, 0.0, 1.0)
    columns = {name: (kind, [most * band] * 4) for name, band in zip(names, shade, strict=False)}
    mesh, notes = load_mesh(ply(tmp_path / "own.ply", columns, FACES.tolist(), how=how))
    np.testing.assert_allclose(shades(mesh), [shade] * 4, atol=0.01)
    assert notes == ["colours of vertices" + ("" if names[0] == "red" else f" ({', '.join(names)})")]


def test_of_two_kinds_of_colours_the_one_that_says_more_is_kept(tmp_path: Path) -> None:
    red = {name: ("uchar", [255 * band] * 4) for name, band in zip(("red", "green", "blue"), RED, strict=True)}
    blue = {name: ("uchar", [255 * band] * 4) for name, band in zip(("red", "green", "blue"), BLUE, strict=True)}
    mesh, notes = load_mesh(ply(tmp_path / "own.ply", red, FACES.tolist(), blue))
    assert (shades(mesh)[:, :3] == RED).all() and "colours of faces left out: those of vertices are there too" in notes
    blue["red"] = ("uchar", [0, 255, 0, 255])
    mesh, notes = load_mesh(ply(tmp_path / "own.ply", red, FACES.tolist(), blue))
    np.testing.assert_array_equal(shades(mesh)[:, 0], [0, 1, 0, 1])
    assert "colours of vertices left out: those of faces are there too" in notes


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 6), min_size=1, max_size=9),
    how=st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]),
    tail=st.sampled_from(["", " 9 1 1"]),
)
def test_polygons_of_any_lengths_keep_their_corners_and_colours(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], how: str, tail: str
) -> None:
    # A tail in text is what MeshLab writes behind the numbers that its header speaks of.
    path = tmp_path_factory.mktemp("ply") / "own.ply"
    turn = [np.linspace(0, 2 * np.pi, n, endpoint=False) for n in lengths]
    points = np.concatenate([np.stack([np.cos(t), np.sin(t), np.full(len(t), i)], 1) for i, t in enumerate(turn)])
    first = np.cumsum([0, *lengths])
    faces = [list(range(first[i], first[i + 1])) for i in range(len(lengths))]
    columns = {name: ("float", points[:, i]) for i, name in enumerate("xyz")}
    shade = np.arange(len(lengths)) * 20.0
    colours = {name: ("uchar", shade) for name in ("red", "green", "blue")}
    mesh, _ = load_mesh(ply(path, columns, faces, colours, how, tail=tail))
    assert len(mesh.corners) == sum(lengths) - 2 * len(lengths)
    # Each polygon lies at its own height: all its triangles have its colour, and together its area.
    np.testing.assert_allclose(shades(mesh)[:, 0], mesh.corners[:, 0, 2] * 20 / 255, atol=1e-6)
    sides = np.cross(mesh.corners[:, 1] - mesh.corners[:, 0], mesh.corners[:, 2] - mesh.corners[:, 0])[:, 2] / 2
    areas = np.bincount(mesh.corners[:, 0, 2].astype(int), sides)
    np.testing.assert_allclose(areas, [n / 2 * np.sin(2 * np.pi / n) for n in lengths], rtol=1e-5)


def test_a_bent_face_covers_what_is_inside_of_it(tmp_path: Path) -> None:
    star = np.array([(np.cos(i * np.pi / 5), np.sin(i * np.pi / 5), 0) for i in range(10)]) * np.tile([1, 0.3], 5)[:, None]
    letter = np.array([(0, 0, 0), (3, 0, 0), (3, 1, 0), (1, 1, 0), (1, 3, 0), (0, 3, 0)], float)
    dart = np.array([(0, 0, 0), (2, -1, 0), (0.5, 0, 0), (2, 1, 0)])
    for outline in (star, letter, dart):
        for start in range(len(outline)):
            points = np.roll(outline, start, 0)[:, [2, 0, 1]]
            columns = {name: ("float", points[:, i]) for i, name in enumerate("xyz")}
            corners = load_mesh(ply(tmp_path / "own.ply", columns, [range(len(points))]))[0].corners[..., 1:]
            (a, b), (c, d) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
            sides = (a * d - b * c) / 2
            x, y = outline[:, :2].T
            assert sides.min() > 0 and sides.sum() == pytest.approx((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def test_textures_of_a_ply(tmp_path: Path) -> None:
    (tmp_path / "wood 1.png").write_bytes(picture([[(255, 0, 0)], [(0, 0, 255)]]))
    up = {"s": ("float", [0.5] * 4), "t": ("float", [0.9] * 4)}
    path = ply(tmp_path / "own.ply", up, FACES.tolist(), comment="TextureFile wood 1.png")
    mesh, notes = load_mesh(path)
    assert (shades(mesh)[:, :3] == RED).all() and notes == ["colours of the texture of 1 material"], "t runs up"
    (tmp_path / "wood 1.png").unlink()
    mesh, notes = load_mesh(path)
    assert mesh.colours is None and notes == ["texture wood 1.png is not there: drawn without it"]


# --- glTF ---


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


TWO = [[(255, 0, 0, 255)], [(0, 0, 255, 255)]]
SQUARE = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)], float)
HALVES = [(0, 1, 2), (0, 2, 3)]


def seen(tmp_path: Path, uv: object, places: object, pixels: object = TWO, **how: Any) -> tuple[np.ndarray, list[str]]:
    """The colours of places (x, y) on a textured unit square, and the notes."""
    sampler, transform, material = how.pop("sampler", {}), how.pop("transform", None), how.pop("material", {})
    scene = Scene()
    texture: dict[str, Any] = scene.texture(picture(pixels), **sampler)
    if transform is not None:
        texture["extensions"] = {"KHR_texture_transform": transform}
    scene.mesh(SQUARE, HALVES, {**base(baseColorTexture=texture, **how), **material}, TEXCOORD_0=scene.add(uv))
    mesh, notes = load_mesh(scene.save(tmp_path / "own.glb"))
    assert mesh.paint is not None
    x, y = np.array(places, float).T
    upper = (y > x).astype(int)
    shares = np.where(upper[:, None] == 0, np.stack([1 - x, x - y, y], 1), np.stack([1 - y, x, y - x], 1))
    return mesh.paint(upper, shares), notes


def test_a_texture_is_seen_where_it_lies_and_not_at_corners_alone(tmp_path: Path) -> None:
    uv = [(0, 1), (1, 1), (1, 0), (0, 0)]
    places = [(0.3, 0.05), (0.3, 0.45), (0.3, 0.55), (0.3, 0.95)]
    colours, notes = seen(tmp_path, uv, places, sampler={"magFilter": 9728})
    np.testing.assert_allclose(colours[:, :3], [BLUE, BLUE, RED, RED], atol=1e-6)
    assert notes == ["colours of the texture of 1 material"]
    smooth, _ = seen(tmp_path, uv, [(0.5, 0.01), (0.5, 0.5), (0.5, 0.99)])
    np.testing.assert_allclose(smooth[:, :3], [BLUE, (0.5, 0, 0.5), RED], atol=0.01)


@pytest.mark.parametrize(("code", "expected"), [(10497, "rbrb"), (33648, "rbbr"), (33071, "rbbb")])
def test_beyond_its_edge_a_texture_repeats_or_not(tmp_path: Path, code: int, expected: str) -> None:
    places = [(0.1, (i + 0.5) / 4) for i in range(4)]
    colours, _ = seen(tmp_path, SQUARE[:, :2] * 2, places, sampler={"wrapT": code, "magFilter": 9728})
    assert "".join("rb"[round(float(blue))] for blue in colours[:, 2]) == expected


def test_a_texture_is_scaled_turned_and_moved(tmp_path: Path) -> None:
    four = [[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 255)]]
    uv = SQUARE[:, :2]  # v runs down the picture, so that this one stands on its head
    place = [(0.25, 0.25)]
    for transform, expected in (
        ({}, RED),
        ({"offset": [0.5, 0]}, GREEN),
        ({"scale": [1, 3]}, BLUE),
        ({"rotation": np.pi / 2, "offset": [0, 1]}, BLUE),  # (u, v) becomes (v, -u)
        ({"rotation": -np.pi / 2, "offset": [1, 0]}, GREEN),
    ):
        colours, _ = seen(tmp_path, uv, place, four, transform=transform, sampler={"magFilter": 9728})
        np.testing.assert_allclose(colours[0, :3], expected, atol=1e-6)


def test_alpha_is_a_hole_where_the_material_says_so(tmp_path: Path) -> None:
    uv, places = SQUARE[:, :2], [(0.5, 0.25), (0.5, 0.75)]
    thin = [[(255, 0, 0, 255)], [(0, 0, 255, 60)]]
    for material, alpha in (({}, 1), ({"alphaMode": "MASK"}, 0), ({"alphaMode": "MASK", "alphaCutoff": 0.2}, 1)):
        colours, notes = seen(tmp_path, uv, places, thin, material=material, sampler={"magFilter": 9728})
        assert colours[:, 3].tolist() == [1, alpha] and any(line.startswith("alpha") for line in notes) == (alpha == 0)
    for opacity, alpha in ((60, 1), (10, 0)):  # glass is there, a shadow is not
        thin[1][0] = (0, 0, 255, opacity)
        colours, _ = seen(tmp_path, uv, places, thin, material={"alphaMode": "BLEND"}, sampler={"magFilter": 9728})
        assert colours[1, 3] == alpha
    nothing = [[(255, 0, 0, 0)], [(0, 0, 255, 0)]]
    colours, notes = seen(tmp_path, uv, places, nothing, material={"alphaMode": "BLEND"})
    assert colours[:, 3].tolist() == [1, 1] and notes[-1] == "alpha: transparent everywhere, left out of account"


def test_factor_texture_and_vertices_multiply_as_light(tmp_path: Path) -> None:
    color = pytest.importorskip("trimesh").visual.color
    scene = Scene()
    texture = scene.texture(picture([[(128, 255, 255)]]))
    uv, half = scene.add(np.zeros((4, 2))), scene.add(np.full((4, 3), 0.5))
    scene.mesh(material=base(baseColorTexture=texture, baseColorFactor=[1, 0.4, 1, 1]), TEXCOORD_0=uv, COLOR_0=half)
    mesh, _ = load_mesh(scene.save(tmp_path / "own.glb"))
    light = np.array([color.srgb_to_linear(np.array([128 / 255]))[0] * 0.5, 0.2, 0.5])
    np.testing.assert_allclose(shades(mesh)[0, :3], color.linear_to_srgb(light), atol=0.005)


def test_older_ways_to_name_a_colour(tmp_path: Path) -> None:
    shiny = {"extensions": {"KHR_materials_pbrSpecularGlossiness": {"diffuseFactor": [1, 0, 0, 1]}}}
    glowing = {**base(baseColorFactor=[0, 0, 0, 1]), "emissiveFactor": [0, 0, 1]}
    scene = Scene()
    for material in (shiny, glowing, {}):
        scene.mesh(material=material)
    mesh, notes = load_mesh(scene.save(tmp_path / "own.glb"))
    np.testing.assert_allclose(shades(mesh)[::4, :3], [RED, BLUE, GREY], atol=1e-6)
    assert notes == ["colours of 2 materials; parts without any are grey"]


def test_one_mesh_looks_alike_from_every_format(tmp_path: Path) -> None:
    color = pytest.importorskip("trimesh").visual.color
    shown = np.array([(200, 100, 50, 255), (10, 20, 30, 255), (0, 255, 0, 255), (90, 90, 200, 255)])
    scene = Scene()
    linear = color.srgb_to_linear(shown[:, :3] / 255)
    scene.mesh(COLOR_0=scene.add(np.rint(linear * 65535), "u2", normalized=True))
    rows = [" ".join(map(str, [*point, *shade[:3] / 255])) for point, shade in zip(POINTS, shown, strict=True)]
    (tmp_path / "own.obj").write_text(
        "".join(f"v {row}\n" for row in rows) + "".join(f"f {a} {b} {c}\n" for a, b, c in FACES + 1)
    )
    lines = [" ".join(map(str, [*point, *shade])) for point, shade in zip(POINTS, shown, strict=True)]
    (tmp_path / "own.off").write_text("\n".join(["COFF", "4 4 0", *lines, *(f"3 {a} {b} {c}" for a, b, c in FACES)]))
    named = {name: ("uchar", shown[:, i]) for i, name in enumerate(("red", "green", "blue", "alpha"))}
    first, _ = load_mesh(ply(tmp_path / "own.ply", named, FACES.tolist()))
    assert first.colours is not None
    np.testing.assert_allclose(first.colours, shown[FACES][..., :3] / 255, atol=1e-6)
    for path in (scene.save(tmp_path / "own.glb"), tmp_path / "own.obj", tmp_path / "own.off"):
        mesh, _ = load_mesh(path)
        assert mesh.colours is not None
        np.testing.assert_allclose(mesh.colours, first.colours, atol=0.005)
        expected = upright(first.corners) if path.suffix == ".glb" else first.corners
        np.testing.assert_allclose(mesh.corners, expected)


def test_scenes_are_put_together(tmp_path: Path) -> None:
    scene = Scene(nodes=[{"children": [1, 2], "translation": [5, 0, 0]}, {"mesh": 0, "scale": [-2, 2, 2]}, {"mesh": 0}])
    scene.mesh()
    for suffix in (".glb", ".gltf"):
        mesh, _ = load_mesh(scene.save(tmp_path / f"own{suffix}"))
        sets = {tuple(map(tuple, np.unique(upright_back(part).reshape(-1, 3), axis=0))) for part in np.split(mesh.corners, 2)}
        moved = [POINTS + np.array([5, 0, 0]), POINTS * (-2, 2, 2) + (5, 0, 0)]
        assert sets == {tuple(map(tuple, np.unique(points, axis=0))) for points in moved}
        volumes = np.einsum("nd,nd->n", mesh.corners[:, 0], np.cross(mesh.corners[:, 1], mesh.corners[:, 2])) / 6
        assert sorted(np.round(np.add.reduceat(volumes, [0, 4]), 5)) == sorted([round(1 / 6, 5), round(8 / 6, 5)]), (
            "none inside out"
        )
    scene.tree["nodes"][2]["extensions"] = {
        "EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": scene.add(np.eye(3) * 9)}}
    }
    mesh, _ = load_mesh(scene.save(tmp_path / "own.glb"))
    assert len(mesh.corners) == 4 * (1 + 3)


def upright_back(corners: np.ndarray) -> np.ndarray:
    return corners[..., [0, 2, 1]] * (1, 1, -1)


def test_strips_fans_sparse_and_whole_numbers(tmp_path: Path) -> None:
    expected = {tuple(sorted(map(tuple, tri))) for tri in SQUARE[np.array(HALVES)]}
    for mode, order in ((6, [0, 1, 2, 3]), (5, [1, 2, 0, 3]), (4, [0, 1, 2, 0, 2, 3])):
        scene = Scene()
        scene.mesh(SQUARE, order)["mode"] = mode
        corners = upright_back(load_mesh(scene.save(tmp_path / "own.glb"))[0].corners)
        assert {tuple(sorted(map(tuple, tri))) for tri in corners} == expected
        assert (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()
    scene = Scene()
    scene.mesh()
    sparse = {"count": 1, "indices": {"bufferView": scene.view(struct.pack("<H", 3)), "componentType": 5123}}
    sparse["values"] = {"bufferView": scene.view(np.array([0, 0, 7], "<f4").tobytes())}
    scene.tree["accessors"][0]["sparse"] = sparse
    assert upright_back(load_mesh(scene.save(tmp_path / "own.glb"))[0].corners).max() == 7
    scene = Scene(extensionsRequired=["KHR_mesh_quantization"])
    scene.mesh()["attributes"]["POSITION"] = scene.add(POINTS * 32767, "i2", normalized=True)
    np.testing.assert_allclose(load_mesh(scene.save(tmp_path / "own.glb"))[0].corners, upright(POINTS[FACES]))


def test_a_skin_is_where_its_joints_are(tmp_path: Path) -> None:
    scene = Scene(nodes=[{"mesh": 0, "skin": 0, "children": [1]}, {"translation": [0, 0, 4]}], skins=[{"joints": [0, 1]}])
    bind = np.tile(np.eye(4), (2, 1, 1)).transpose(0, 2, 1)
    scene.tree["skins"][0]["inverseBindMatrices"] = scene.add(bind.reshape(2, 16))
    joints, shares = np.tile([0, 1, 0, 0], (4, 1)), np.tile([0.5, 0.5, 0, 0], (4, 1))
    primitive = scene.mesh(JOINTS_0=scene.add(joints, "u1"), WEIGHTS_0=scene.add(shares))
    primitive["targets"] = [{"POSITION": scene.add(np.ones((4, 3)))}]
    scene.tree["meshes"][0]["weights"] = [0.5]
    mesh, notes = load_mesh(scene.save(tmp_path / "own.glb"))
    np.testing.assert_allclose(upright_back(mesh.corners), (POINTS + 0.5 + (0, 0, 2))[FACES], atol=1e-6)
    assert notes == ["shape keys: as the file sets them", "skin: as the file poses it, no animation"]


def packed(tmp_path: Path) -> Path:
    """A tetrahedron packed by Draco, red."""
    draco = pytest.importorskip("DracoPy")
    data = draco.encode(POINTS, FACES.astype(np.uint32), colors=np.tile(np.uint8([255, 0, 0]), (4, 1)))
    ids = {one["attribute_type"]: one["unique_id"] for one in draco.decode(data).attributes}
    scene = Scene(extensionsRequired=["KHR_draco_mesh_compression"])
    entry = {"bufferView": scene.view(data), "attributes": {"POSITION": ids[0], "COLOR_0": ids[2]}}
    scene.tree["accessors"] = [
        {"componentType": code, "count": 4, "type": "VEC3", "normalized": code == 5121} for code in (5126, 5121)
    ]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, "extensions": {"KHR_draco_mesh_compression": entry}}
    scene.tree["meshes"][0]["primitives"] = [primitive]
    return scene.save(tmp_path / "packed.glb")


def test_draco_is_unpacked(tmp_path: Path) -> None:
    path = packed(tmp_path)
    mesh, _ = load_mesh(path)
    centres = np.sort(upright_back(mesh.corners).mean(1).round(3), axis=0)
    np.testing.assert_allclose(centres, np.sort(POINTS[FACES].mean(1).round(3), axis=0), atol=0.01)
    np.testing.assert_allclose(shades(mesh)[:, :3], [RED] * 4, atol=1e-6)
    path.write_bytes(path.read_bytes().replace(b"DRACO", b"OCARD"))
    one_line(lambda: load_mesh(path), "KHR_draco_mesh_compression", "exported without Draco")


def test_what_a_file_requires_and_nobody_reads_is_named(tmp_path: Path) -> None:
    scene = Scene(extensionsRequired=["EXT_meshopt_compression"])
    scene.mesh()
    path = scene.save(tmp_path / "own.glb")
    one_line(lambda: load_mesh(path), "EXT_meshopt_compression", "export it without meshopt")
    scene.tree["extensionsRequired"] = ["ACME_secret"]
    one_line(lambda: load_mesh(scene.save(path)), "ACME_secret", "as .obj, .ply or .stl")
    scene.tree["extensionsRequired"] = ["KHR_texture_basisu", "KHR_materials_unlit"]
    scene.tree["materials"] = [base(baseColorTexture={"index": 0})]
    scene.tree["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    scene.tree["meshes"][0]["primitives"][0]["material"] = 0
    assert "KHR_texture_basisu, which is not read" in " ".join(load_mesh(scene.save(path))[1])


def break_accessor(scene: Scene) -> None:
    scene.tree["accessors"][0]["count"] = 10**7


def break_view(scene: Scene) -> None:
    scene.tree["bufferViews"][0]["byteLength"] = 10**9


def break_nodes(scene: Scene) -> None:
    scene.tree["nodes"][0]["children"] = [0]


def break_mode(scene: Scene) -> None:
    scene.tree["meshes"][0]["primitives"][0]["mode"] = 1


def break_version(scene: Scene) -> None:
    scene.tree["asset"]["version"] = "1.0"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_accessor, ("accessor 0", "10,000,000 elements", "48 there")),
        (break_view, ("bufferView 0", "a range within")),
        (break_nodes, ("node 0 in two places",)),
        (break_mode, ("only lines or points",)),
        (break_version, ("1.0", "export it anew")),
    ],
)
def test_scenes_that_promise_too_much_are_refused(tmp_path: Path, spoil: Callable[[Scene], None], words: tuple) -> None:
    scene = Scene()
    scene.mesh()
    spoil(scene)
    one_line(lambda: load_mesh(scene.save(tmp_path / "own.glb")), "own.glb", *words)


@pytest.mark.parametrize("uri", ["https://example.org/x.bin", "../x.bin", "/etc/hostname", "x.bin"])
def test_a_scene_reads_only_what_lies_beside_it(tmp_path: Path, uri: str) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(1000))
    (tmp_path / "in").mkdir()
    scene = Scene()
    scene.mesh()
    path = scene.save(tmp_path / "in" / "own.gltf")
    path.write_text(path.read_text().replace("all%20data.bin", uri))
    one_line(lambda: load_mesh(path), "no file", uri, "beside it")


# --- .obj ---


def test_an_obj_has_its_materials_and_counts_backwards(tmp_path: Path) -> None:
    (tmp_path / "wood.png").write_bytes(picture([[(0, 255, 0)]]))
    (tmp_path / "a.mtl").write_text("newmtl red one\nKd 1 0 0\nnewmtl green\nKd 0.8 0.8 0.8\nmap_Kd -s 1 1 1 -o 0 wood.png\n")
    (tmp_path / "b.mtl").write_text("newmtl blue\nKd 0 0 1\nTr 1.0\n")
    text = "mtllib a.mtl b.mtl\n"
    for i, material in enumerate(("red one", "green", "blue", "gone")):
        text += f"o part{i}\nusemtl {material}\n" + "".join(f"v {x + 2 * i} {y} {z}\n" for x, y, z in POINTS)
        text += "vt 0.5 0.5\nf -4/-1 -2/-1 -3/-1\nf -4/-1 -3/-1 \\\n-1/-1\nf -4/-1 -1/-1 -2/-1\nf -3/-1 -2/-1 -1/-1\n"
    (tmp_path / "own.obj").write_text(text)
    mesh, notes = load_mesh(tmp_path / "own.obj")
    np.testing.assert_array_equal(mesh.corners, np.concatenate([POINTS[FACES] + (2 * i, 0, 0) for i in range(4)]))
    np.testing.assert_allclose(shades(mesh)[::4, :3], [RED, GREEN, BLUE, GREY], atol=1e-6)
    assert notes[0] == "colours of the texture of 1 material, 2 materials; parts without any are grey"
    assert "materials without an entry: gone" in notes and any("orientation = 'x-zy'" in line for line in notes)
    (tmp_path / "wood.png").unlink()
    assert "texture wood.png is not there: drawn without it" in load_mesh(tmp_path / "own.obj")[1]
    for name in ("a.mtl", "b.mtl"):
        (tmp_path / name).unlink()
    assert "material file a.mtl is not there: drawn without it" in load_mesh(tmp_path / "own.obj")[1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v 0 0 0\nv 1 x 0\n", ("line 2", "'v 1 x 0'")),
        ("v 0 0 0\nv 1 0 0\nl 1 2\n", ("2 vertices and 1 lines or points",)),
        ("v 0 0 0\nv 1 0 0\nv 0 1 1\nf 1 2 -9\n", ("index -6 in face 0",)),
        ("v 0 0 0\nv 1 0 0\nv 0 1 1\nf 0 1 2\n", ("index -1 in face 0",)),
    ],
)
def test_a_broken_obj_names_its_line(tmp_path: Path, text: str, words: tuple) -> None:
    (tmp_path / "own.obj").write_text(text)
    one_line(lambda: load_mesh(tmp_path / "own.obj"), "own.obj", *words)


# --- .off, .stl, .3mf ---


def test_colours_of_faces_in_an_off(tmp_path: Path) -> None:
    points = "\n".join(" ".join(map(str, point)) for point in SQUARE)
    path = tmp_path / "own.off"
    path.write_text(f"OFF # a comment\n4 2 0\n{points}\n4 0 1 2 3 255 0 0\n3 0 2 1 0 0 255\n")
    mesh, notes = load_mesh(path)
    np.testing.assert_array_equal(shades(mesh)[:, :3], [RED, RED, BLUE])
    assert notes == ["colours of faces"]
    path.write_text(path.read_text().replace("4 2 0", "4 3 0"))
    one_line(lambda: load_mesh(path), "4 vertices and 3 faces in 6 lines")


@pytest.mark.parametrize(
    ("head", "spare", "expected"),
    [
        (b"COLOR=\x00\x00\xff\xff", [31, 1 << 15, 31 << 5, 31 << 10], [RED, BLUE, GREEN, BLUE]),
        (b"", [1 << 15 | 31 << 10, 1 << 15 | 31, 0, 1 << 15 | 31 << 5], [RED, BLUE, GREY, GREEN]),
        (b"", [5, 7, 1 << 15, 0], None),
        (b"", [0xFFFF] * 4, None),
    ],
)
def test_spare_bits_of_an_stl_are_colours_for_those_who_say_so(
    tmp_path: Path, head: bytes, spare: list, expected: object
) -> None:
    rows = [struct.pack("<12fH", *[0] * 3, *corners.ravel(), bits) for corners, bits in zip(POINTS[FACES], spare, strict=True)]
    (tmp_path / "own.stl").write_bytes(b"solid ".ljust(20) + head.ljust(60) + struct.pack("<I", 4) + b"".join(rows) + b"more")
    mesh, _ = load_mesh(tmp_path / "own.stl")
    np.testing.assert_array_equal(mesh.corners, POINTS[FACES])
    if expected is None:
        assert mesh.colours is None
    else:
        np.testing.assert_allclose(shades(mesh)[:, :3], np.array(expected), atol=1e-6)


MODEL = """<?xml version="1.0"?><model xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02" xmlns:m="m"><resources>
<basematerials id="1"><base name="a" displaycolor="#FF0000"/><base name="b" displaycolor="#0000FFFF"/></basematerials>
<m:texture2d id="4" path="/3D/wood.png" contenttype="image/png"/>
<m:texture2dgroup id="5" texid="4"><m:tex2coord u="0.5" v="0.9"/></m:texture2dgroup>
<object id="2" pid="1" pindex="0"><mesh><vertices>{vertices}</vertices><triangles>{triangles}</triangles></mesh></object>
<object id="3"><components><component objectid="2" transform="2 0 0 0 1 0 0 0 1 9 0 0"/></components></object>
<object id="7" type="support"><mesh><vertices/><triangles/></mesh></object></resources>
<build><item objectid="2"/><item objectid="3" transform="0 1 0 -1 0 0 0 0 1 0 0 5"/><item objectid="7"/></build></model>"""


def print_file(path: Path, text: str = MODEL) -> Path:
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in POINTS)
    shown = ["", 'pid="1" p1="1"', 'pid="5" p1="0"', 'p1="1" p2="0" p3="0"']
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}" {s}/>' for (a, b, c), s in zip(FACES, shown, strict=True))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", text.format(vertices=vertices, triangles=triangles))
        archive.writestr("3D/wood.png", picture([[(0, 255, 0)], [(0, 0, 0)]]))
    return path


def test_a_print_has_its_parts_and_colours(tmp_path: Path) -> None:
    mesh, notes = load_mesh(print_file(tmp_path / "own.3mf"))
    assert len(mesh.corners) == 8 and "objects: supports left out" in notes
    assert notes[0] == "colours of the texture of 1 material, objects"
    colours = {tuple(round(float(band), 2) for band in colour[:3]) for colour in shades(mesh)}
    assert colours == {RED, BLUE, GREEN, (0.67, 0.0, 0.33)}
    # Rows times matrices: twice as long along x and 9 on, then a quarter turn, then 5 up.
    points = np.unique(mesh.corners.reshape(-1, 3), axis=0)
    inner = POINTS * (2, 1, 1) + (9, 0, 0)
    np.testing.assert_allclose(
        points, np.unique(np.concatenate([POINTS, inner[:, [1, 0, 2]] * (-1, 1, 1) + (0, 0, 5)]), axis=0)
    )


@pytest.mark.parametrize(
    ("found", "put", "words"),
    [
        ('objectid="3"', 'objectid="8"', ("objectid", "'8'")),
        ('objectid="2" transform', 'objectid="3" transform', ("within one another",)),
        ("<model", "<!DOCTYPE x [<!ENTITY a 'b'>]><model", ("entities",)),
        ("</model>", "", ("unreadable",)),
    ],
)
def test_broken_prints_are_refused(tmp_path: Path, found: str, put: str, words: tuple) -> None:
    path = print_file(tmp_path / "own.3mf", MODEL.replace(found, put, 1))
    one_line(lambda: load_mesh(path), "own.3mf", *words)


def test_a_print_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = print_file(tmp_path / "own.3mf")
    monkeypatch.setattr(threemf_model, "MAX_UNPACKED", 1000)
    one_line(lambda: load_mesh(path), "bytes, unpacked", "at most 1,000 in all")
    path.write_bytes(b"PK\3\4 no more")
    one_line(lambda: load_mesh(path), "a zip")


def test_without_the_extra_the_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    one_line(lambda: load_mesh(path), "DracoPy", "not installed", "pip install 'nca3d[meshes]'")
    (tmp_path / "own.stl").write_text("solid a\nfacet normal 0 0 1\nendsolid a\n")
    one_line(lambda: load_mesh(tmp_path / "own.stl"), "trimesh", "not installed", "pip install 'nca3d[meshes]'")


# --- pictures ---


def deep_grey(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 2), value, np.uint16)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (picture([[(204, 102, 0)]], "P"), (204, 102, 0)),
        (picture(np.full((1, 1), 77)), (77, 77, 77)),
        (deep_grey(77 * 257), (77, 77, 77)),
        (picture(np.full((16, 16, 3), (200, 100, 0)), "CMYK", "JPEG"), (200, 100, 0)),
        (picture(np.full((4, 4, 3), 90), None, "WEBP"), (90, 90, 90)),
        (picture(np.full((3000, 4, 3), 90)), (90, 90, 90)),
    ],
)
def test_pictures_of_every_kind_are_read(tmp_path: Path, data: bytes, expected: tuple) -> None:
    scene = Scene()
    scene.mesh(material=base(baseColorTexture=scene.texture(data)), TEXCOORD_0=scene.add(np.full((4, 2), 0.5)))
    mesh, _ = load_mesh(scene.save(tmp_path / "own.glb"))
    np.testing.assert_allclose(shades(mesh)[0, :3] * 255, expected, atol=3)


def test_a_picture_too_large_or_broken_is_left_out_and_said(tmp_path: Path) -> None:
    data = picture([[(255, 0, 0)]])
    head = b"IHDR" + struct.pack(">II", 9000, 9000) + data[24:29]
    wide = data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    for spoilt, why in ((wide, "pixels"), (data[:40], "can't be read")):
        scene = Scene()
        scene.mesh(material=base(baseColorTexture=scene.texture(spoilt)), TEXCOORD_0=scene.add(np.full((4, 2), 0.5)))
        _, notes = load_mesh(scene.save(tmp_path / "own.glb"))
        assert why in notes[-1] and notes[-1].endswith("drawn without it")


def test_what_was_decided_is_told_with_the_target(tmp_path: Path) -> None:
    (tmp_path / "own.obj").write_text(
        "".join(f"v {x} {y} {z} 1 0 0\n" for x, y, z in POINTS) + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    notes = targets.load(tmp_path / "own.obj", (8, 8, 8)).notes
    assert "own.obj: colours of vertices" in notes
    assert "own.obj: colours of vertices" not in targets.load(tmp_path / "own.obj", (8, 8, 8), color="#00ff00").notes
