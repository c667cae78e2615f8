"""Volumes of VTK, and the real bodies that pyvista carries."""

import sys
from pathlib import Path

import numpy as np
import pytest
from animal import SIZE, little_animal
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets.sculpt import label_pieces


def with_black_eyes() -> np.ndarray:
    """The little animal; black is a colour, and a ghost of a cell stands in front of it."""
    body = little_animal()
    body[9, [3, 7], 15] = (0, 0, 0, 1)
    body[5, 5, 16] = (1, 1, 1, 0.5)
    return body


BAD = {
    "text.vti": (b"<html></html>", ("header", "VTK")),
    "noextent.vti": (b'<VTKFile type="ImageData"><ImageData></ImageData></VTKFile>', ("header",)),
    "huge.vti": (
        b'<VTKFile type="ImageData"><ImageData WholeExtent="0 99999 0 99999 0 99999">',
        ("WholeExtent", "at most"),
    ),
    "reversed.vti": (b'<VTKFile type="ImageData"><ImageData WholeExtent="5 0 0 9 0 9">', ("WholeExtent",)),
    "zero.vti": (b"", ("0 bytes",)),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_volumes_are_refused(tmp_path: Path, name: str) -> None:
    data, words = BAD[name]
    (tmp_path / name).write_bytes(data)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), name, *words)


@pytest.mark.slow
def test_vti_arrays_of_points_and_cells(tmp_path: Path) -> None:
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


def test_a_body_saved_as_vti_comes_back(tmp_path: Path) -> None:
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


def test_labels_of_a_vti_come_first_with_their_names_and_colours(tmp_path: Path) -> None:
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
def test_four_bands_are_rgba_of_bytes_or_floats(tmp_path: Path, where: str) -> None:
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


@pytest.mark.slow
def test_the_frog_has_fifteen_tissues() -> None:
    pytest.importorskip("pyvista")
    target = targets.load("frog", (14, 31, 32))
    check_laws(target, (14, 31, 32), margin=0)
    assert int(target.occupied.sum()) == pytest.approx(1137, rel=0.03)
    assert len(target.names) == 16 and {"skeleton", "liver", "eye retina"} <= set(target.names)
    tissue = target.values[:-1].argmax(0)
    counts = {name: int((tissue == i).sum()) for i, name in enumerate(target.names)}
    assert max(counts, key=lambda name: counts[name] * (name != "empty")) == "skeleton"
    assert len(np.unique(target.palette, axis=0)) == 16
    check_laws(targets.load("frog", (9, 19, 20), margin=1), (9, 19, 20), margin=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ant", "channels"])
def test_carried_bodies(name: str) -> None:
    pytest.importorskip("pyvista")
    for size in ((14, 24, 24), (12, 30, 21)):
        target = targets.load(name, size)
        cells = check_laws(target, size, margin=1)
        assert np.abs(cells.min(0) + cells.max(0) + 1 - np.array(size)).max() <= 3
        if name != "channels":
            assert label_pieces(target.occupied.numpy()).max() == 1


def test_without_the_extra_the_line_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pyvista", None)
    monkeypatch.setitem(sys.modules, "trimesh", None)
    for name in ("frog", "ant", "channels"):
        one_line(lambda name=name: targets.load(name, (9, 9, 9)), name, "not installed", "pip install 'nca3d[viz]'")
    (tmp_path / "own.obj").write_text("v 0 0 0\n")
    one_line(lambda: targets.load(tmp_path / "own.obj", (9, 9, 9)), "trimesh", "pip install 'nca3d[viz]'")
    (tmp_path / "own.vti").write_text('<VTKFile type="ImageData"><ImageData WholeExtent="0 4 0 4 0 4">')
    one_line(lambda: targets.load(tmp_path / "own.vti", (9, 9, 9)), "pyvista", "pip install 'nca3d[viz]'")
