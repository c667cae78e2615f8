"""glTF scenes (.glb .gltf): textures where they lie, materials, nodes, skins, Draco, and what is refused."""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesh_scenes import (
    BLUE,
    FACES,
    GREEN,
    GREY,
    POINTS,
    RED,
    SQUARE,
    Image,
    Scene,
    base,
    picture,
    shades,
    upright,
    upright_back,
)
from target_laws import one_line

from nca3d.targets.readers.meshes import load_mesh

TWO = [[(255, 0, 0, 255)], [(0, 0, 255, 255)]]
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


def test_without_the_extra_the_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(tmp_path)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    monkeypatch.setitem(sys.modules, "DracoPy", None)
    one_line(lambda: load_mesh(path), "DracoPy", "not installed", "pip install 'nca3d[meshes]'")
    (tmp_path / "own.stl").write_text("solid a\nfacet normal 0 0 1\nendsolid a\n")
    one_line(lambda: load_mesh(tmp_path / "own.stl"), "trimesh", "not installed", "pip install 'nca3d[meshes]'")


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
