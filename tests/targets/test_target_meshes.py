"""Meshes: volumes that geometry predicts, colours in their places, and every broken file refused by one line."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from animal import SIZE, little_animal
from odd_files import at_once
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets.meshes import from_mesh
from nca3d.targets.sculpt import label_pieces
from nca3d.targets.voxelise import Mesh

CORNERS = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
FACES = np.array(
    [
        (0, 1, 3),
        (0, 3, 2),
        (4, 6, 7),
        (4, 7, 5),
        (0, 4, 5),
        (0, 5, 1),
        (2, 3, 7),
        (2, 7, 6),
        (0, 2, 6),
        (0, 6, 4),
        (1, 5, 7),
        (1, 7, 3),
    ]
)
CUBE = CORNERS[FACES]


def moved(corners: np.ndarray, scale: tuple[float, float, float], shift: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    return corners * np.array(scale) + np.array(shift)


def test_thin_parts_stay_joined_to_the_body() -> None:
    stick = moved(CUBE, (10, 0.02, 0.02), (1, 0.5, 0.5))
    target = from_mesh(Mesh(np.concatenate([moved(CUBE, (4, 4, 4)), stick])), (8, 8, 16), "pin", "pin")
    assert any("cells added where it is thinner" in note for note in target.notes)
    assert label_pieces(target.occupied.numpy()).max() == 1
    assert np.ptp(np.argwhere(target.occupied.numpy())[:, 2]) + 1 == 14


def test_fill_margin_colour_and_surface_only() -> None:
    box = Mesh(moved(CUBE, (2, 4, 1)))
    target = from_mesh(box, (9, 14, 11), "box", "box", margin=2, color="#3366cc")
    cells = check_laws(target, (9, 14, 11), margin=2)
    assert (np.ptp(cells, axis=0) + 1).tolist() == [3, 10, 5] or (np.ptp(cells, axis=0) + 1).tolist() == [2, 10, 5]
    np.testing.assert_allclose(target.rgba()[target.occupied.numpy()][:, :3], [[0.2, 0.4, 0.8]] * len(cells), atol=1e-6)
    shell = from_mesh(Mesh(CUBE), (8, 8, 8), "box", "box", fill=False)
    assert int(shell.occupied.sum()) == 6**3 - 4**3
    low, high = (from_mesh(Mesh(CUBE), (8, 8, 8), "box", "box").rgba()[z, 4, 4, :3] for z in (1, 6))
    assert np.abs(low - high).max() > 0.3, "colours run along height"


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj", ".glb"])
def test_files_of_every_kind_give_the_same_body(tmp_path: Path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / f"ball{suffix}"
    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.apply_scale([1, 2, 3])
    if suffix == ".glb":
        ball.vertices = ball.vertices[:, [0, 2, 1]] * (1, 1, -1)  # glTF has y up
    ball.export(path)
    target = targets.load(path, (20, 16, 12))
    cells = check_laws(target, (20, 16, 12), margin=1)
    assert len(cells) == pytest.approx(4 / 3 * np.pi * 9 * 6 * 3, rel=0.12), "a cell counts from 30 % of its volume"
    assert (np.ptp(cells, axis=0) + 1)[0] == 18 and target.name == "ball"
    turned = targets.load(path, (16, 20, 12), orientation="x-zy")
    np.testing.assert_array_equal(turned.occupied.numpy(), np.flip(target.occupied.numpy().transpose(1, 0, 2), 1))
    stricter = targets.load(path, (20, 16, 12), threshold=0.9)
    assert int(stricter.occupied.sum()) < len(cells)


@pytest.mark.parametrize("kind", ["vertex", "face", "texture"])
def test_a_mesh_keeps_its_own_colours(tmp_path: Path, kind: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box(extents=(2, 1, 1)).subdivide().subdivide()
    red, blue = [230, 20, 20, 255], [20, 20, 230, 255]
    path = tmp_path / "box.ply"
    if kind == "vertex":
        box.visual.vertex_colors = [red if x < 0 else blue for x in box.vertices[:, 0]]
    elif kind == "face":
        box.visual.face_colors = [red if x < 0 else blue for x in box.triangles_center[:, 0]]
    else:
        image = pytest.importorskip("PIL.Image").fromarray(np.array([[red, red, blue, blue]], np.uint8))
        uv = np.stack([(box.vertices[:, 0] + 1) / 2, np.full(len(box.vertices), 0.5)], -1)
        box.visual = trimesh.visual.TextureVisuals(uv=uv, image=image)
        path = tmp_path / "box.glb"
    box.export(path)
    picture = targets.load(path, (8, 8, 14)).rgba()
    np.testing.assert_allclose(picture[4, 4, 2], np.array(red) / 255, atol=0.02)
    np.testing.assert_allclose(picture[4, 4, 11], np.array(blue) / 255, atol=0.02)


def skin_of(body: np.ndarray) -> np.ndarray:
    """Cells of a body (D, H, W) that have a free one next to them."""
    free = np.pad(~body, 1, constant_values=True)
    return body & np.logical_or.reduce([np.roll(free, step, axis) for axis in range(3) for step in (-1, 1)])[1:-1, 1:-1, 1:-1]


def is_same(target: targets.Target, body: np.ndarray, tolerance: float = 0.03) -> bool:
    """Same cells, and the same colours where one can see them (a mesh has no inside)."""
    cells = body[..., 3] > 0.1
    skin = skin_of(cells)
    same = bool((target.occupied.numpy() == cells).all())
    return same and bool(np.abs(target.rgba()[skin] - body[skin]).max() < tolerance)


@pytest.mark.parametrize("cell_size", [1.0, 0.013])
def test_a_body_saved_as_glb_comes_back_cell_by_cell(tmp_path: Path, cell_size: float) -> None:
    pytest.importorskip("trimesh")
    import visualize

    body = little_animal()
    path = visualize.save(body, tmp_path / "body.glb", cell_size=cell_size)
    target = targets.load(path, SIZE, margin=0)
    assert target.notes == ("body.glb: colours of vertices",), "cells that share an edge alone are no holes"
    assert is_same(target, body)
    for axis in range(3):
        assert not is_same(target, np.flip(body, axis)), f"mirrored along axis {axis}"
    high, wide, long = SIZE
    own = targets.load(path, "auto")
    assert own.source_size == tuple(n - 2 for n in own.size) and int(own.occupied.sum()) == int((body[..., 3] > 0.1).sum())
    assert is_same(targets.load(path, (high + 2, wide + 2, long + 2)), np.pad(body, [(1, 1)] * 3 + [(0, 0)]))
    double = np.roll(body.repeat(2, 0).repeat(2, 1).repeat(2, 2), 1, axis=2)  # centred: two cells are free, one at each end
    assert is_same(targets.load(path, double.shape[:3], margin=0), double)
    turned = targets.load(path, (wide, high, long), margin=0, orientation="xzy")
    assert is_same(turned, body.transpose(1, 0, 2, 3))


def test_a_body_of_cells_stands_on_cells_whichever_way_its_faces_look() -> None:
    bricks = np.concatenate([moved(CUBE, (3, 2, 4)), moved(CUBE, (1, 1, 1), (3, 1, 0))])
    colours = np.concatenate([np.full((12, 3, 3), 0.2), np.full((12, 3, 3), 0.8)])
    for corners in (bricks, bricks[:, ::-1]):
        target = from_mesh(Mesh(corners * 0.3, colours), (4, 5, 7), "bricks", "bricks", margin=0)
        expected = np.zeros((4, 5, 7))
        expected[:, 1:3, 1:4], expected[0, 2, 4] = 0.2, 0.8
        np.testing.assert_array_equal(target.occupied.numpy(), expected > 0)
        assert target.rgba()[0, 2, 4, 0] == pytest.approx(0.8) and target.rgba()[3, 1, 1, 0] == pytest.approx(0.2)


def glb(tree: dict, data: bytes) -> bytes:
    """A glTF binary file of its two parts."""
    text = json.dumps({"asset": {"version": "2.0"}, **tree, "buffers": [{"byteLength": len(data)}]}).encode()
    text += b" " * (-len(text) % 4)
    parts = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(parts)) + parts


def painted_glb(kind: str, colour: tuple[float, ...], material: dict | None, matrix: list[int] | None = None) -> bytes:
    """A brick of 1 x 3 x 2 along glTF's axes x, y, z, all of one vertex colour (none if `kind` is "")."""
    points = moved(CORNERS, (1, 3, 2))[FACES].reshape(-1, 3).astype("<f4")
    code, most = {"u1": (5121, 255), "<u2": (5123, 65535), "<f4": (5126, 1), "": (0, 0)}[kind]
    data, views = points.tobytes(), [{"buffer": 0, "byteLength": points.nbytes}]
    accessors: list[dict] = [{"bufferView": 0, "componentType": 5126, "count": 36, "type": "VEC3"}]
    primitive: dict = {"attributes": {"POSITION": 0}}
    if kind:
        shades = np.tile(np.rint(np.array(colour) * most) if most > 1 else colour, (36, 1)).astype(kind)
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": shades.nbytes})
        accessors.append({"bufferView": 1, "componentType": code, "count": 36, "type": f"VEC{len(colour)}"})
        accessors[1]["normalized"] = most > 1
        primitive["attributes"]["COLOR_0"] = 1
        data += shades.tobytes()
    tree: dict = {"bufferViews": views, "accessors": accessors, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
    if matrix:
        tree["nodes"][0]["matrix"] = matrix
    if material is not None:
        primitive["material"], tree["materials"] = 0, [{"pbrMetallicRoughness": material}]
    return glb({**tree, "meshes": [{"primitives": [primitive]}]}, data)


def test_gltf_has_y_up_and_its_scene_is_turned_as_a_whole(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    path = tmp_path / "brick.glb"
    path.write_bytes(painted_glb("", (), None))
    cells = np.argwhere(targets.load(path, (8, 8, 8)).occupied.numpy())
    assert (np.ptp(cells, axis=0) + 1).tolist() == [6, 4, 2], "3 up (y), 2 towards us (z)"
    raw = np.argwhere(targets.load(path, (8, 8, 8), orientation="xz-y").occupied.numpy())
    assert (np.ptp(raw, axis=0) + 1).tolist() == [4, 6, 2], "as its numbers are"
    path.write_bytes(painted_glb("", (), None, [0, 1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1]))  # x to y, y to z, z to x
    cells = np.argwhere(targets.load(path, (8, 8, 8)).occupied.numpy())
    assert (np.ptp(cells, axis=0) + 1).tolist() == [2, 6, 4]


GREY = {"baseColorFactor": [0.5, 0.5, 0.5, 1]}


@pytest.mark.parametrize(
    ("kind", "colour", "material", "linear"),
    [
        ("u1", (1.0, 0.2, 0.0, 1.0), None, (1, 0.2, 0)),
        ("u1", (1.0, 0.2, 0.0, 1.0), {}, (1, 0.2, 0)),
        ("<u2", (0.02, 0.2, 1.0, 1.0), {}, (0.02, 0.2, 1)),
        ("<f4", (0.02, 0.2, 1.0), {}, (0.02, 0.2, 1)),
        ("<f4", (0.4, 0.2, 1.0), GREY, (0.2, 0.1, 0.5)),
        ("", (), GREY, (0.5, 0.5, 0.5)),
    ],
)
def test_gltf_colours_are_linear_and_multiply(tmp_path: Path, kind: str, colour: tuple, material: dict, linear: tuple) -> None:
    color = pytest.importorskip("trimesh").visual.color
    path = tmp_path / "brick.glb"
    path.write_bytes(painted_glb(kind, colour, material))
    shown = targets.load(path, (5, 4, 3)).rgba()[1, 1, 1, :3]
    np.testing.assert_allclose(shown, color.linear_to_srgb(np.array(linear, float)), atol=0.005)


def ply(vertices: object, faces: object, claim: tuple[int, int] | None = None) -> bytes:
    points, triangles = np.asarray(vertices, float), np.asarray(faces, int).reshape(-1, 3)
    counts = claim or (len(points), len(triangles))
    lines = ["ply", "format ascii 1.0", f"element vertex {counts[0]}", *(f"property float {c}" for c in "xyz")]
    lines += [f"element face {counts[1]}", "property list uchar int vertex_indices", "end_header"]
    lines += [" ".join(map(str, row)) for row in points] + [f"3 {a} {b} {c}" for a, b, c in triangles]
    return ("\n".join(lines) + "\n").encode()


with_nan = CORNERS.copy()
with_nan[[3, 5]] = np.nan
with_inf = CORNERS.copy()
with_inf[4, 1] = np.inf
BAD = {
    "nan.ply": (ply(with_nan, FACES), ("vertices", "2 not finite", "index 3")),
    "inf.ply": (ply(with_inf, FACES), ("vertices", "1 not finite", "index 4")),
    "flat.ply": (ply(CORNERS * [1, 1, 0], FACES), ("extent", "1 x 1 x 0", "flat")),
    "line.ply": (ply(np.arange(24.0).reshape(8, 3), FACES), ("faces", "without area")),
    "point.ply": (ply(CORNERS * 0, FACES), ("extent", "flat")),
    "noface.ply": (ply(CORNERS, []), ("faces",)),
    "empty.ply": (ply(np.zeros((0, 3)), []), ("faces",)),
    "index.ply": (ply(CORNERS, FACES + 4), ("index 8 in face 2", "0..7 (8 vertices)")),
    "many.ply": (ply(CORNERS, FACES, (10**12, 12)), ("1,000,000,000,000 vertex",)),
    "many_faces.ply": (ply(CORNERS, FACES, (8, 10**12)), ("1,000,000,000,000 face",)),
    "text.ply": (b"not a mesh at all", ("header",)),
    "short.ply": (ply(CORNERS, FACES)[:-60], ("short.ply", "the 12 that")),
    "huge.stl": (bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(500), ("4,294,967,295 faces", "584 bytes")),
    "short.stl": (bytes(50), ("50 bytes",)),
    "none.stl": (bytes(84), ("faces",)),
    "words.obj": (b"hello\nthere\n", ("words.obj",)),
    "index.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 1\nf 1 2 9\n", ("index.obj",)),
    "nan.obj": (b"v 0 0 nan\nv 1 0 0\nv 0 1 1\nf 1 2 3\n", ("not finite",)),
    "html.glb": (b"<html></html>", ("glTF",)),
    "claim.glb": (b"glTF" + struct.pack("<II", 2, 10**9), ("1,000,000,000 bytes promised",)),
    "cut.glb": (b"glTF" + struct.pack("<II", 2, 20) + bytes(8), ("cut.glb", "unreadable")),
    "zero.obj": (b"", ("0 bytes",)),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_meshes_are_refused(tmp_path: Path, name: str) -> None:
    import trimesh  # noqa: F401  (its first import is not what the two seconds are about)

    data, words = BAD[name]
    (tmp_path / name).write_bytes(data)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), name, *words)


def test_options_of_meshes_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "cube.ply"
    path.write_bytes(ply(CORNERS, FACES))
    pytest.importorskip("trimesh")
    assert int(targets.load(path, (8, 8, 8)).occupied.sum()) == 6**3
    one_line(lambda: targets.load(path, (8, 8, 8), fil=True), "did you mean 'fill'")
    one_line(lambda: targets.load(path, (8, 8, 8), fill=1), "fill", "1")
    one_line(lambda: targets.load(path, (8, 8, 8), threshold=2), "threshold", "2")
    one_line(lambda: targets.load(path, (8, 8, 8), colormap="virdis"), "colormap", "viridis")
    one_line(lambda: targets.load(path, (8, 8, 8), color="red"), "color", "'red'")
    one_line(lambda: targets.load(path, (8, 8, 8), margin=4), "margin", "4")


TETRAHEDRON = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nusemtl x\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"
PLY = """ply
format ascii 1.0
comment TextureFile pipe
element vertex 3
property float x
property float y
property float z
property float s
property float t
element face 1
property list uchar int vertex_indices
end_header
0 0 0 0 0
1 0 0 0 0
0 1 0 0 0
3 0 1 2
"""


@pytest.mark.parametrize("named", ["pipe", "/dev/zero", "folder/../pipe"])
@pytest.mark.parametrize("kind", ["material", "picture", "ply"])
def test_what_a_mesh_names_is_a_file_too(tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, named: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "x.mtl").write_text(f"newmtl x\nKd 1 0 0\nmap_Kd {named}\n")
    path = tmp_path / ("body.ply" if kind == "ply" else "body.obj")
    path.write_text(
        PLY.replace("pipe", named) if kind == "ply" else f"mtllib {named if kind == 'material' else 'x.mtl'}\n{TETRAHEDRON}"
    )
    with at_once():
        one_line(lambda: targets.load(path, (9, 9, 9)), path.name, repr(named), "a device or pipe, named in it")
    assert capfd.readouterr().err == ""
