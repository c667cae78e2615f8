"""VTK images, with their directions, names and colours, and what their headers promise."""

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from animal import SIZE, little_animal
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets.readers import vtk as vtk_reader
from nca3d.targets.readers.vtk import image_volume
from nca3d.targets.readers.vtk_headers import promised_bytes

pytest.importorskip("vtkmodules")
# Three blocks of unlike lengths along x, y, z, and no symmetry: (d, h, w) = (4, 3, 2).
CORNER = np.zeros((4, 3, 2), np.uint8)
CORNER[:, 0, 0], CORNER[0, :, 0], CORNER[0, 0, :] = 1, 2, 3


def with_black_eyes() -> np.ndarray:
    """The little animal; black is a colour, and a ghost of a cell stands in front of it."""
    body = little_animal()
    body[9, [3, 7], 15] = (0, 0, 0, 1)
    body[5, 5, 16] = (1, 1, 1, 0.5)
    return body


def vti(voxels: np.ndarray, direction: str = "1 0 0 0 1 0 0 0 1", spacing: str = "1 1 1", **attributes: str) -> str:
    """A .vti in plain text, of points: the direction is the matrix whose columns are the image's axes, row by row."""
    extent = " ".join(f"0 {n - 1}" for n in reversed(voxels.shape))
    extra = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return (
        f'<VTKFile type="ImageData" version="1.0"><ImageData WholeExtent="{extent}" Origin="7 -8 9" Spacing="{spacing}" '
        f'Direction="{direction}"><Piece Extent="{extent}"><PointData Scalars="labels"><DataArray type="UInt8" Name="labels" '
        f'format="ascii"{extra}>{" ".join(map(str, voxels.ravel()))}</DataArray></PointData></Piece></ImageData></VTKFile>'
    )


def vtk(voxels: np.ndarray, grid: str = "", kind: str = "STRUCTURED_POINTS") -> str:
    """A .vtk in plain text, of points."""
    sides = " ".join(map(str, reversed(voxels.shape)))
    grid = grid or "ORIGIN 7 -8 9\nSPACING 1 1 1"
    return (
        f"# vtk DataFile Version 3.0\nDATASET POLYDATA is but a title\nASCII\nDATASET {kind}\nDIMENSIONS {sides}\n{grid}\n"
        f"POINT_DATA {voxels.size}\nSCALARS labels unsigned_char 1\nLOOKUP_TABLE default\n"
        f"{' '.join(map(str, voxels.ravel()))}\n"
    )


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reads in this process what a child would read: it takes a third of a second to start."""
    from vtkmodules.vtkCommonCore import vtkOutputWindow

    before = vtkOutputWindow.GetInstance()

    def in_child(read: Callable[..., dict], where: object, allowed: str, *arguments: object, promised: int) -> dict:
        return read(*map(lambda argument: str(argument) if isinstance(argument, Path) else argument, arguments))

    monkeypatch.setattr(vtk_reader, "in_child", in_child)
    yield
    vtkOutputWindow.SetInstance(before)


def labels_of(target: targets.Target) -> np.ndarray:
    return target.values[:-1].argmax(0).numpy()


@pytest.mark.slow
def test_vti_arrays_of_points_and_cells(here: None, tmp_path: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    image = pyvista.ImageData(dimensions=(5, 6, 7), spacing=(1, 1, 1))
    image.point_data["points"] = np.arange(210) % 3
    image.cell_data["cells"] = np.arange(120) % 4 + 1
    path = tmp_path / "own.vti"
    image.save(path)
    cells = targets.load(path, (6, 5, 4), key="cells", margin=0)
    np.testing.assert_array_equal(cells.values[:-1].argmax(0).numpy().ravel(), np.arange(120) % 4 + 1)
    points = targets.load(path, (7, 6, 5), key="points", fit=False)
    np.testing.assert_array_equal(points.values[:-1].argmax(0).numpy().ravel(), np.arange(210) % 3)
    one_line(lambda: targets.load(path, (8, 8, 8), key="pionts"), "key", "did you mean 'points'")
    path.write_bytes(path.read_bytes()[:-300])
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.vti")
    path.write_bytes(b'<?xml version="1.0"?><VTKFile type="ImageData"><ImageData WholeExtent="0 4 0 4 0 4">')
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.vti", "unreadable")


def test_a_body_saved_as_vti_comes_back(here: None, tmp_path: Path) -> None:
    pytest.importorskip("pyvista")
    import visualize

    body = with_black_eyes()
    path = visualize.save(np.stack([body * 0, body]), tmp_path / "body.vti", cell_size=0.02)
    for options in ({}, {"key": "rgba"}, {"key": "rgba", "fit": False}):
        target = targets.load(path, SIZE, **options)
        assert target.kind == "rgb"
        np.testing.assert_array_equal(target.occupied.numpy(), body[..., 3] > 0.1)
        np.testing.assert_allclose(target.rgba(), body, atol=0.0021)
    more = np.pad(body, [(1, 1), (2, 2), (3, 3), (0, 0)])
    np.testing.assert_allclose(targets.load(path, more.shape[:3]).rgba(), more, atol=0.0021)
    check_laws(targets.load(path, (11, 11, 12)), (11, 11, 12), margin=1)  # no room: fitted
    wide = targets.load(path, (28, 24, 36), fit=True).occupied.numpy()
    assert wide.any((0, 1)).sum() == 34
    solid = targets.load(path, SIZE, threshold=0.6)
    np.testing.assert_array_equal(solid.occupied.numpy(), body[..., 3] == 1)
    one_line(lambda: targets.load(path, SIZE, threshold=1.5), "threshold", "1.5", "alpha")
    assert targets.load(path, SIZE, key="body").kind == "classes"
    one_line(lambda: targets.load(path, SIZE, key="TimeValue"), "key", "TimeValue", "rgba")


def test_labels_of_a_vti_come_first_with_their_names_and_colours(here: None, tmp_path: Path) -> None:
    pytest.importorskip("pyvista")
    import visualize

    body = with_black_eyes()
    labels = (body[..., 3] > 0.1) * (1 + 2 * (np.arange(17) > 11))
    names, palette = ["empty", "trunk", "gill", "head"], [(0, 0, 0), (200, 100, 0), (9, 9, 9), (0, 0, 0)]
    path = visualize.save(body, tmp_path / "body.vti", labels=labels, names=names, palette=np.array(palette, np.uint8))
    target = targets.load(path, SIZE)
    check_laws(target, SIZE, margin=0)
    assert target.names == ("empty", "trunk", "head")
    np.testing.assert_allclose(target.palette, np.array([palette[0], palette[1], palette[3]]) / 255)
    np.testing.assert_array_equal(target.values[:-1].argmax(0).numpy(), np.searchsorted([0, 1, 3], labels))
    own = targets.load(path, SIZE, names=["empty", "a", "b"], palette=["#ff0000", "#00ff00"])
    assert own.names[1:] == ("a", "b") and own.palette[1].tolist() == [1, 0, 0]
    assert targets.load(path, SIZE, key="rgba").kind == "rgb"
    plain = targets.load(visualize.save(body, tmp_path / "plain.vti", labels=labels), SIZE)
    assert plain.names == ("empty", "1", "3") and len(plain.palette) == 3


@pytest.mark.parametrize("where", ["point_data", "cell_data"])
def test_four_bands_are_rgba_of_bytes_or_floats(here: None, tmp_path: Path, where: str) -> None:
    pyvista = pytest.importorskip("pyvista")
    more = where == "cell_data"
    image = pyvista.ImageData(dimensions=(6 + more, 5 + more, 4 + more), spacing=(1, 2, 1))
    rgba = np.random.default_rng(1).random((4, 5, 6, 4)).astype(np.float32)
    rgba[..., 3] = rgba[..., 3].round()
    rgba[1:3, 1:3, 1:3] = (0, 0, 0, 1)
    getattr(image, where)["mine"] = rgba.reshape(-1, 4)
    image.save(tmp_path / "own.vti")
    target = targets.load(tmp_path / "own.vti", (4, 5, 6), fit=False)
    np.testing.assert_allclose(target.rgba(), rgba * rgba[..., 3:], atol=1e-6)
    wide = targets.load(tmp_path / "own.vti", (4, 10, 6), margin=0)  # voxels twice as long along y
    np.testing.assert_allclose(wide.rgba(), (rgba * rgba[..., 3:]).repeat(2, 1), atol=1e-5)
    getattr(image, where)["mine"] = rgba.reshape(-1, 4) * 2
    image.save(tmp_path / "own.vti")
    one_line(lambda: targets.load(tmp_path / "own.vti", (4, 5, 6)), "values", "0..1")


def test_points_of_older_files_are_read_as_they_are(here: None, tmp_path: Path) -> None:
    (tmp_path / "own.vtk").write_text(vtk(CORNER))
    target = targets.load(tmp_path / "own.vtk", CORNER.shape, fit=False)
    np.testing.assert_array_equal(labels_of(target), CORNER)


def test_rectilinear_grids_with_even_steps_are_images(here: None, tmp_path: Path) -> None:
    axes = "X_COORDINATES 2 float\n0 2\nY_COORDINATES 3 float\n9 8 7\nZ_COORDINATES 4 float\n0 0.5 1 1.5"
    (tmp_path / "own.vtk").write_text(vtk(CORNER, axes, "RECTILINEAR_GRID"))
    target = targets.load(tmp_path / "own.vtk", CORNER.shape, fit=False)
    np.testing.assert_array_equal(labels_of(target), CORNER[:, ::-1])  # y runs down
    long = targets.load(tmp_path / "own.vtk", (4, 6, 8), margin=0).occupied.any((0, 1))
    assert long.sum() == 8, "two voxels of 2 are as long as eight of 0.5"
    (tmp_path / "own.vtk").write_text(vtk(CORNER, axes.replace("0.5 1 1.5", "0.5 1 9"), "RECTILINEAR_GRID"))
    one_line(lambda: targets.load(tmp_path / "own.vtk", (8, 8, 8)), "Z_COORDINATES", "from 0.5 to 8", "Resample To Image")


def image(voxels: np.ndarray, matrix: np.ndarray, spacing: tuple[float, float, float]) -> Any:
    """An ImageData of points, without a file and the process that reads it."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData

    made = vtkImageData()
    made.SetDimensions(voxels.shape[::-1])
    made.SetSpacing(spacing)
    made.SetDirectionMatrix(matrix.astype(float).ravel())
    array = numpy_to_vtk(voxels.ravel())
    array.SetName("labels")
    made.GetPointData().AddArray(array)
    return made


TURNS = [(order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)]


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_the_direction_turns_an_image_as_it_lies_in_space(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    matrix = np.zeros((3, 3), int)
    matrix[order, range(3)] = signs  # axis i of the image runs along axis order[i] of space
    # The voxel at index (i, j, k) belongs at matrix @ (i, j, k), wherever the origin is.
    place = matrix @ np.indices(CORNER.shape)[::-1].reshape(3, -1)
    place -= place.min(1, keepdims=True)
    expected = np.zeros(place.max(1)[::-1] + 1, int)
    expected[tuple(place[::-1])] = CORNER.ravel()
    volume = image_volume(image(CORNER, matrix, (2, 3, 4)), "test")
    np.testing.assert_array_equal(volume.voxels, expected)
    assert volume.spacing == tuple(np.abs(matrix @ (2, 3, 4))[::-1]), "it goes with its axis"
    assert not volume.notes


def test_the_direction_of_a_file_counts(tmp_path: Path) -> None:
    (tmp_path / "own.vti").write_text(vti(CORNER, "0 0 1 0 1 0 -1 0 0"))
    target = targets.load(tmp_path / "own.vti", (2, 3, 4), fit=False)
    # The image's x runs down, its z along x.
    np.testing.assert_array_equal(labels_of(target), CORNER.transpose(2, 1, 0)[::-1])


def test_steps_that_are_no_lengths_are_told() -> None:
    volume = image_volume(image(CORNER, np.eye(3), (-2, 0, 3)), "test")
    np.testing.assert_array_equal(volume.voxels, CORNER[:, :, ::-1])  # a negative step runs the other way
    assert volume.spacing == (3, 1, 2)
    assert volume.notes == ("test: spacing -2 0 3, taken as 1 where it is no length",)


def test_an_oblique_image_is_taken_along_the_nearest_axes_and_says_so(here: None, tmp_path: Path) -> None:
    (tmp_path / "own.vti").write_text(vti(CORNER, "0.9063 -0.4226 0 0.4226 0.9063 0 0 0 1"))
    target = targets.load(tmp_path / "own.vti", CORNER.shape, fit=False)
    np.testing.assert_array_equal(labels_of(target), CORNER)
    assert target.notes == ("own.vti: oblique, by 25 degrees: taken along the nearest axes",)
    for bad in ("1 0 0 1 0 0 0 0 1", "0 0 0 0 0 0 0 0 0"):
        (tmp_path / "own.vti").write_text(vti(CORNER, bad))
        one_line(lambda: targets.load(tmp_path / "own.vti", (8, 8, 8)), "Direction", "three directions")


def test_which_of_several_arrays_was_taken_is_said(here: None, tmp_path: Path) -> None:
    text = vti(CORNER).replace('Name="labels"', 'Name="tissue"').replace('Scalars="labels"', "")
    array = text[text.index("<DataArray") : text.index("</PointData>")]
    (tmp_path / "own.vti").write_text(text.replace("</PointData>", array.replace("tissue", "more") + "</PointData>"))
    assert targets.load(tmp_path / "own.vti", (8, 8, 8)).notes == ("own.vti: key = 'tissue', one of tissue, more",)
    assert not targets.load(tmp_path / "own.vti", (8, 8, 8), key="more").notes


def test_names_and_colours_come_out_of_the_child(tmp_path: Path) -> None:
    pytest.importorskip("pyvista")
    import visualize

    labels, colours = little_animal()[..., 3].astype(int), np.array([(0, 0, 0), (200, 100, 0)], np.uint8)
    path = visualize.save(little_animal(), tmp_path / "body.vti", labels=labels, names=["empty", "early"], palette=colours)
    target = targets.load(path, SIZE)
    assert target.names == ("empty", "early") and not target.notes
    np.testing.assert_allclose(target.palette, colours / 255)
    np.testing.assert_array_equal(labels_of(target), labels)


GOOD = vti(CORNER)
PACKED = GOOD.replace("<VTKFile", '<VTKFile compressor="vtkZLibDataCompressor"')
BAD = {
    "text.vti": ("<html></html>", ("header", "VTK")),
    "noextent.vti": ('<VTKFile type="ImageData"><ImageData></ImageData></VTKFile>', ("header",)),
    "noimage.vti": ('<VTKFile type="ImageData"></VTKFile>', ("header", "no ImageData")),
    "huge.vti": ('<VTKFile type="ImageData"><ImageData WholeExtent="0 99999 0 99999 0 99999">', ("WholeExtent", "at most")),
    "reversed.vti": ('<VTKFile type="ImageData"><ImageData WholeExtent="5 0 0 9 0 9">', ("WholeExtent",)),
    "zero.vti": ("", ("0 bytes",)),
    "mesh.vti": ('<VTKFile type="PolyData"><PolyData></PolyData></VTKFile>', ("PolyData", ".ply")),
    "grid.vti": ('<VTKFile type="StructuredGrid"></VTKFile>', ("StructuredGrid", "Resample To Image")),
    "bomb.vti": ('<!DOCTYPE a [<!ENTITY b "c">]>' + GOOD, ("DOCTYPE",)),
    "cut.vti": (GOOD[:-40], ("unreadable",)),
    "bands.vti": (GOOD.replace("format=", 'NumberOfComponents="99999999" format='), ("bytes by its header",)),
    "minus.vti": (GOOD.replace("format=", 'NumberOfComponents="-3" format='), ("NumberOfComponents", "'-3'")),
    # Large, but not more than there is room for: the file is too short for it.
    "claim.vti": (GOOD.replace("0 3", "0 9999"), ("bytes in the file", "119,999 bytes or more")),
    "packed.vti": (PACKED.replace("0 3", "0 9999999").replace("ascii", "appended"), ("bytes in the file", "or more")),
    "piece.vti": (GOOD.replace('Piece Extent="0 1', 'Piece Extent="0 2'), ("Extent", "WholeExtent")),
    "text.vtk": ("hello\n" * 9, ("header",)),
    "short.vtk": ("# vtk DataFile Version 3.0\n", ("header",)),
    "mesh.vtk": (vtk(CORNER, kind="POLYDATA"), ("POLYDATA", ".ply")),
    "curved.vtk": (vtk(CORNER, kind="STRUCTURED_GRID"), ("STRUCTURED_GRID", "Resample To Image")),
    "sides.vtk": (vtk(CORNER).replace("DIMENSIONS 2", "DIMENSIONS 0"), ("DIMENSIONS",)),
    "huge.vtk": (vtk(CORNER).replace("DIMENSIONS 2", "DIMENSIONS 999999999"), ("DIMENSIONS", "at most")),
    "claim.vtk": (vtk(CORNER).replace("DIMENSIONS 2", "DIMENSIONS 9999"), ("bytes in the file", "or more")),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_headers_are_refused_before_vtk_sees_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vtkmodules", None)
    text, words = BAD[name]
    (tmp_path / name).write_text(text)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), name, *words)


def test_what_a_header_promises_is_counted(tmp_path: Path) -> None:
    (tmp_path / "own.vti").write_text(GOOD)
    assert promised_bytes(tmp_path / "own.vti") == 24
    (tmp_path / "own.vti").write_text(GOOD.replace("UInt8", "Float64"))
    assert promised_bytes(tmp_path / "own.vti") == 8 * 24


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.vti", GOOD.replace("DataArray", "Other"), ("arrays", "none")),
        ("few.vti", GOOD.replace(" 1 ", " "), ("own", "few")),
        ("none.vtk", vtk(CORNER).partition("POINT_DATA")[0], ("arrays", "none")),
        ("few.vtk", vtk(CORNER)[:-20], ("few.vtk", "unreadable")),
    ],
)
def test_what_vtk_itself_refuses_is_one_line(name: str, text: str, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), name, *words[1:])


def test_without_vtk_the_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vtkmodules", None)
    (tmp_path / "own.vti").write_text(GOOD)
    one_line(lambda: targets.load(tmp_path / "own.vti", (9, 9, 9)), "vtk", "not installed", "pip install 'nca3d[viz]'")
