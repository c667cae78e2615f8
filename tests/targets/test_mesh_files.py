"""Files of polygons (.ply .obj .off .stl .3mf): colours under any name and from any place, and what is said of them."""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mesh_scenes import BLUE, FACES, GREEN, GREY, POINTS, RED, SQUARE, Scene, picture, shades, upright
from target_laws import one_line

from nca3d import targets
from nca3d.targets.readers import threemf_model
from nca3d.targets.readers.meshes import load_mesh


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
        (("red", "green", "blue"), "ushort", 255),
        (("Red", "Green", "Blue"), "uchar", 255),
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
            rows = "".join("v {:.9g} {:.9g} {:.9g}\n".format(*point) for point in points)
            (tmp_path / "own.obj").write_text(f"{rows}f {' '.join(str(1 + i) for i in range(len(points)))}\n")
            x, y = outline[:, :2].T
            for path in (ply(tmp_path / "own.ply", columns, [range(len(points))]), tmp_path / "own.obj"):
                corners = load_mesh(path)[0].corners[..., 1:]
                (a, b), (c, d) = (corners[:, 1] - corners[:, 0]).T, (corners[:, 2] - corners[:, 0]).T
                sides = (a * d - b * c) / 2
                expected = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
                assert sides.min() > 0 and sides.sum() == pytest.approx(expected)


def test_textures_of_a_ply(tmp_path: Path) -> None:
    (tmp_path / "wood 1.png").write_bytes(picture([[(255, 0, 0)], [(0, 0, 255)]]))
    up = {"s": ("float", [0.5] * 4), "t": ("float", [0.9] * 4)}
    path = ply(tmp_path / "own.ply", up, FACES.tolist(), comment="TextureFile wood 1.png")
    mesh, notes = load_mesh(path)
    assert (shades(mesh)[:, :3] == RED).all() and notes == ["colours of the texture of 1 material"], "t runs up"
    (tmp_path / "wood 1.png").unlink()
    mesh, notes = load_mesh(path)
    assert mesh.colours is None and notes == ["texture wood 1.png is not there: drawn without it"]


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


def test_colours_of_faces_in_an_off(tmp_path: Path) -> None:
    points = "\n".join(" ".join(map(str, point)) for point in SQUARE)
    path = tmp_path / "own.off"
    path.write_text(f"OFF # a comment\n4 2 0\n{points}\n4 0 1 2 3 255 0 0\n3 0 2 1 0 0 255\n")
    mesh, notes = load_mesh(path)
    np.testing.assert_array_equal(shades(mesh)[:, :3], [RED, RED, BLUE])
    assert notes == ["colours of faces"]
    whole = mesh.corners
    path.write_text(path.read_text().replace("OFF # a comment\n", " OFF"))
    np.testing.assert_array_equal(load_mesh(path)[0].corners, whole)
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


@pytest.mark.parametrize(("found", "put"), [("vertex 0 0 2", "vertex x 0 2"), ("endsolid b", "")])
def test_text_of_an_stl_is_read_to_its_end(tmp_path: Path, found: str, put: str) -> None:
    loops = ["".join("vertex {:g} {:g} {:g}\n".format(*corner) for corner in corners) for corners in POINTS[FACES] * 2]
    facets = [f"facet normal 0 0 0\nouter loop\n{loop}endloop\nendfacet\n" for loop in loops]
    text = "".join(f"solid {name}\n{''.join(facets)}endsolid {name}\n" for name in "ab")
    path = tmp_path / "own.stl"
    path.write_text(text)
    np.testing.assert_array_equal(load_mesh(path)[0].corners, np.tile(POINTS[FACES] * 2, (2, 1, 1)))
    assert text.count(found)
    path.write_text(put.join(text.rsplit(found, 1)))
    one_line(lambda: load_mesh(path), "own.stl", "readable")


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


def test_what_was_decided_is_told_with_the_target(tmp_path: Path) -> None:
    (tmp_path / "own.obj").write_text(
        "".join(f"v {x} {y} {z} 1 0 0\n" for x, y, z in POINTS) + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    notes = targets.load(tmp_path / "own.obj", (8, 8, 8)).notes
    assert "own.obj: colours of vertices" in notes
    assert "own.obj: colours of vertices" not in targets.load(tmp_path / "own.obj", (8, 8, 8), color="#00ff00").notes
