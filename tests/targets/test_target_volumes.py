"""Volumes from files, and the real bodies that pyvista carries."""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from animal import SIZE, little_animal
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets.sculpt import label_pieces


def nifti(
    voxels: np.ndarray, code: int, spacing: tuple[float, float, float] = (1, 1, 1), order: str = "<", **field: float
) -> bytes:
    """A NIfTI-1 file of an array (x, y, z) or (x, y, z, bands)."""
    head = bytearray(352)
    struct.pack_into(order + "i", head, 0, 348)
    struct.pack_into(order + "8h", head, 40, *field.get("dim", (3, *voxels.shape[:3], 1, 1, 1, 1)))  # type: ignore[misc]
    struct.pack_into(order + "2h", head, 70, code, voxels.dtype.itemsize * 8)
    struct.pack_into(order + "8f", head, 76, 1, *spacing, 0, 0, 0, 0)
    struct.pack_into(order + "3f", head, 108, field.get("offset", 352), field.get("slope", 0), field.get("shift", 0))
    head[344:348] = b"n+1\0"
    bands = voxels.reshape(*voxels.shape[:3], -1)
    return bytes(head) + bands.transpose(2, 1, 0, 3).astype(voxels.dtype.newbyteorder(order)).tobytes()


LABELS = np.random.default_rng(3).integers(0, 4, (4, 5, 6)).astype(np.int16)
LABELS[0, 0, 0] = LABELS[-1, -1, -1] = 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["own.nii", "own.nii.gz"])
def test_nifti_labels_become_classes(tmp_path: Path, name: str, order: str) -> None:
    data = nifti(LABELS, 4, order=order)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    for size, how in (((6, 5, 4), {"margin": 0}), ((8, 7, 6), {"fit": False})):
        target = targets.load(tmp_path / name, size, **how)
        check_laws(target, size, margin=0 if "margin" in how else 1)
        inner = target.values[:-1].argmax(0).numpy()
        inner = inner if "margin" in how else inner[1:-1, 1:-1, 1:-1]
        np.testing.assert_array_equal(inner, LABELS.transpose(2, 1, 0))
    assert target.name == "own" and target.names == ("empty", "1", "2", "3")


def test_spacing_is_part_of_the_shape(tmp_path: Path) -> None:
    (tmp_path / "own.nii").write_bytes(nifti(np.ones((4, 4, 4), np.uint8), 2, spacing=(1, 2, 3)))
    cells = np.argwhere(targets.load(tmp_path / "own.nii", (14, 14, 14)).occupied.numpy())
    assert (np.ptp(cells, axis=0) + 1).tolist() == [12, 8, 4]


def test_coverage_keeps_what_is_thinner_than_a_cell(tmp_path: Path) -> None:
    voxels = np.zeros((12, 12, 12), np.uint8)
    voxels[0], voxels[:, 0, 0] = 1, 1  # a wall and an edge one voxel thick, where a cell is two
    (tmp_path / "own.nii").write_bytes(nifti(voxels, 2))
    size = (6, 6, 6)
    assert int(targets.load(tmp_path / "own.nii", size, margin=0).occupied.sum()) == 36
    assert int(targets.load(tmp_path / "own.nii", size, margin=0, coverage=0.2).occupied.sum()) == 36 + 5, "and the edge"
    one_line(lambda: targets.load(tmp_path / "own.nii", size, margin=0, coverage=0.7), "no occupied cell")
    one_line(lambda: targets.load(tmp_path / "own.nii", size, coverage=0), "coverage", "0", "share")


def test_scalars_are_cut_at_the_threshold_and_coloured(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 20)
    ball = (1 - np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)).astype(np.float32)
    path = tmp_path / "ball.nii"
    path.write_bytes(nifti(ball, 16, slope=2.0, shift=1.0))  # values become 2 v + 1
    target = targets.load(path, (12, 12, 12), threshold=1.0)
    cells = check_laws(target, (12, 12, 12), margin=1)
    assert target.kind == "rgb" and len(cells) == pytest.approx(4 / 3 * np.pi * (9.5 / 1.8) ** 3, rel=0.05), (
        "18 voxels in 10 cells"
    )
    assert int(targets.load(path, (12, 12, 12), threshold=1.0, fit=True, margin=3).occupied.sum()) < len(cells)
    brightness = target.rgba()[..., :3].sum(-1)
    assert brightness[6, 6, 6] > brightness[1, 6, 6] + 0.5
    one_line(lambda: targets.load(path, (12, 12, 12), threshold=9), "threshold", "9")
    one_line(lambda: targets.load(path, (12, 12, 12), threshold="high"), "threshold", "'high'")
    one_line(lambda: targets.load(path, (12, 12, 12), threshold=1.0, fit=False), "(20, 20, 20)", "(12, 12, 12)")


def test_nifti_colours_don_t_crash(tmp_path: Path) -> None:
    colours = np.zeros((6, 6, 6, 3), np.uint8)
    colours[1:5, 1:5, 1:5] = (250, 200, 30)
    path = tmp_path / "rgb.nii.gz"
    path.write_bytes(gzip.compress(nifti(colours, 128)))
    target = targets.load(path, (6, 6, 6))
    assert int(target.occupied.sum()) == 4**3
    np.testing.assert_allclose(target.rgba()[2, 2, 2], [250 / 255, 200 / 255, 30 / 255, 1], atol=1e-5)


def with_black_eyes() -> np.ndarray:
    """The little animal; black is a colour, and a ghost of a cell stands in front of it."""
    body = little_animal()
    body[9, [3, 7], 15] = (0, 0, 0, 1)
    body[5, 5, 16] = (1, 1, 1, 0.5)
    return body


def test_rgba_in_nifti_is_straight_and_black_stays(tmp_path: Path) -> None:
    body = np.rint(with_black_eyes() * 255).astype(np.uint8)
    (tmp_path / "body.nii").write_bytes(nifti(body.transpose(2, 1, 0, 3), 2304))
    target = targets.load(tmp_path / "body.nii", SIZE, fit=False)
    np.testing.assert_allclose(target.rgba(), body / 255, atol=1e-5)
    fitted = targets.load(tmp_path / "body.nii", (30, 30, 30)).occupied.numpy()
    assert fitted.any((1, 2)).sum() == 22, "17 by 13 voxels in 28 cells"
    (tmp_path / "none.nii").write_bytes(nifti(body.transpose(2, 1, 0, 3) * (1, 1, 1, 0), 2304))
    one_line(lambda: targets.load(tmp_path / "none.nii", SIZE), "alpha", "at least one cell")


GOOD = nifti(LABELS, 4)
WITH_NAN = np.where(LABELS == 3, np.nan, LABELS).astype(np.float32)
BAD = {
    "text.nii": (b"hello" * 100, ("header",)),
    "short.nii": (GOOD[:200], ("header",)),
    "cut.nii": (GOOD[:-1], ("239 bytes", "240 bytes")),
    "cut.nii.gz": (gzip.compress(GOOD)[:-30], ("unreadable",)),
    "plain.nii.gz": (GOOD, ("unreadable",)),
    "claim.nii": (nifti(LABELS, 4, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1)), ("54,000,000,000,000 bytes",)),
    "claim.nii.gz": (gzip.compress(nifti(LABELS, 4, dim=(3, 500, 500, 500, 1, 1, 1, 1))), ("240 bytes", "250,000,000")),
    "flat.nii": (nifti(LABELS, 4, dim=(2, 4, 5, 1, 1, 1, 1, 1)), ("dim",)),
    "minus.nii": (nifti(LABELS, 4, dim=(3, -4, 5, 6, 1, 1, 1, 1)), ("dim",)),
    "film.nii": (nifti(LABELS, 4, dim=(4, 4, 5, 3, 2, 1, 1, 1)), ("dim",)),
    "complex.nii": (nifti(LABELS, 32), ("datatype", "32")),
    "offset.nii": (nifti(LABELS, 4, offset=float("nan")), ("header",)),
    "nan.nii": (nifti(WITH_NAN, 16), ("not finite",)),
    "empty.nii": (nifti(LABELS * 0, 4), ("no occupied",)),
    "same.nii": (nifti(LABELS * 0 - 5, 4), ("threshold",)),
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
    for name in ("frog", "ant", "channels"):
        one_line(lambda name=name: targets.load(name, (9, 9, 9)), name, "not installed", "pip install 'nca3d[viz]'")
    (tmp_path / "own.vti").write_text('<VTKFile type="ImageData"><ImageData WholeExtent="0 4 0 4 0 4">')
    one_line(lambda: targets.load(tmp_path / "own.vti", (9, 9, 9)), "pyvista", "pip install 'nca3d[viz]'")
