"""Scans: one body, one lattice, however its file holds it; what can't be used is refused by one line."""

import gzip
import itertools
import json
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.errors import InputError
from nca3d.targets.readers import metaimages
from nca3d.targets.readers.scans import read_volume

nibabel = pytest.importorskip("nibabel")
nrrd = pytest.importorskip("nrrd")
sitk = pytest.importorskip("SimpleITK")

# No two of its 48 orientations are alike: (x, y, z) = right, front, up.
BODY = np.zeros((6, 5, 4), np.uint8)
BODY[1:5, 1:4, 1:3], BODY[1:3, 1, 1], BODY[4, 3, 1:3] = 1, 2, 3
# What the lattice must be, and the spacing (dz, dy, dx) of it.
UPRIGHT, SPACING = BODY.transpose(2, 1, 0), (3.0, 2.0, 1.0)
STEPS = np.diag([1.0, 2.0, 3.0])
# Signs of a world that counts to the left and to the back.
LPS = np.diag([-1.0, -1.0, 1.0])
# The axes of an NRRD file of layers or colours, which run first.
FIRST = {"space": "RAS", "space directions": np.vstack([np.full(3, np.nan), STEPS]), "kinds": ["list", *["domain"] * 3]}


def affine(steps: np.ndarray) -> np.ndarray:
    """The 4 × 4 form of three steps."""
    return np.block([[steps, np.array([[-3.0], [5.0], [7.0]])], [0, 0, 0, 1]])


def write(path: Path, voxels: np.ndarray, steps: np.ndarray = STEPS, **fields: Any) -> Path:
    """Writes voxels (i, j, k) whose axis n steps along column n of `steps`, right, anterior, superior, by its suffix."""
    kind = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if kind in (".nrrd", ".nhdr"):
        header = {"space": "left-posterior-superior", "space directions": (LPS @ steps).T, "space origin": np.zeros(3)}
        nrrd.write(str(path), voxels, header | fields)
    elif kind in (".mha", ".mhd"):
        image = sitk.GetImageFromArray(voxels.astype(voxels.dtype.newbyteorder("=")).T)
        lengths = np.linalg.norm(steps, axis=0)
        image.SetSpacing(lengths.tolist())
        image.SetDirection((LPS @ steps / lengths).ravel().tolist())
        sitk.WriteImage(image, str(path), fields.get("packed", False))
    else:
        kinds = {".mgz": nibabel.MGHImage, ".mgh": nibabel.MGHImage, ".img": nibabel.Nifti1Pair, ".img.gz": nibabel.Nifti1Pair}
        nibabel.save(fields.get("kind", kinds.get(kind, nibabel.Nifti1Image))(voxels, affine(steps)), path)
    return path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads files that are whole without a child, which takes half a second each."""
    monkeypatch.setattr(metaimages, "in_child", lambda read, where, allowed, path, **how: read(str(path)))


FORMATS = ("own.nii", "own.nii.gz", "own.img", "own.mgz", "own.mgh", "own.nrrd", "own.nhdr", "own.mha", "own.mhd")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["own.nii", "own.mgz", "own.nrrd", "own.mha"])
def test_one_scan_in_48_orientations_is_one_lattice(tmp_path: Path, name: str) -> None:
    seen = set()
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            voxels = np.ascontiguousarray(BODY.transpose(order)[tuple(slice(None, None, sign) for sign in signs)])
            volume = read_volume(write(tmp_path / name, voxels, STEPS[:, order] * signs))
            np.testing.assert_array_equal(volume.voxels, UPRIGHT)
            assert volume.spacing == pytest.approx(SPACING) and volume.notes == ()
            seen.add(voxels.tobytes() + bytes(voxels.shape))
    assert len(seen) == 48


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">f4"])
def test_each_format_holds_the_same_body(tmp_path: Path, name: str, dtype: str) -> None:
    volume = read_volume(write(tmp_path / name, BODY.astype(dtype)))
    np.testing.assert_array_equal(volume.voxels, UPRIGHT)
    assert volume.spacing == SPACING and volume.voxels.dtype == np.dtype(dtype).newbyteorder("=") and volume.labels is None
    if name == "own.img":
        np.testing.assert_array_equal(read_volume(tmp_path / "own.hdr").voxels, UPRIGHT)
    target = targets.load(tmp_path / name, (10, 10, 10))
    check_laws(target, (10, 10, 10), 1)
    assert target.name == "own" and target.names == ("empty", "1", "2", "3")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("own.nii", {"kind": nibabel.Nifti2Image}),
        ("own.nii.gz", {"kind": nibabel.Nifti2Image}),
        ("own.img", {"kind": nibabel.Nifti2Pair}),
        ("own.nrrd", {"encoding": "raw"}),
        ("own.nrrd", {"encoding": "bzip2"}),
        ("own.nrrd", {"encoding": "ascii"}),
        ("own.nhdr", {"encoding": "gzip"}),
        ("own.mha", {"packed": True}),
        ("own.mhd", {"packed": True}),
    ],
)
def test_each_way_to_write_a_format_is_read(tmp_path: Path, name: str, fields: dict[str, Any]) -> None:
    volume = read_volume(write(tmp_path / name, BODY, **fields))
    np.testing.assert_array_equal(volume.voxels, UPRIGHT)
    assert volume.spacing == SPACING and volume.notes == ()


def test_without_an_orientation_axes_are_taken_as_stored_and_a_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "own.nii").write_bytes(nifti(BODY, 2, spacing=(1, 2, 3)))
    nibabel.save(nibabel.AnalyzeImage(BODY, affine(STEPS)), tmp_path / "analyze.img")
    nrrd.write(str(tmp_path / "own.nrrd"), BODY, {"spacings": [1, 2, 3]})
    (tmp_path / "own.mha").write_bytes(META + b"ElementSpacing = 1 2 3\nElementDataFile = LOCAL\n" + BODY.tobytes("F"))
    for name in ("own.nii", "analyze.img", "own.nrrd", "own.mha"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.voxels, UPRIGHT)
        assert volume.spacing == SPACING and len(volume.notes) == 1 and "no orientation" in volume.notes[0]
    assert any("no orientation" in line for line in targets.load(tmp_path / "own.nii", (8, 8, 8)).notes)


@pytest.mark.usefixtures("in_this_process")
def test_an_oblique_scan_is_turned_to_its_nearest_axes_and_not_resampled(tmp_path: Path) -> None:
    c, s = np.cos(np.radians(25)), np.sin(np.radians(25))
    turned = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    for name in ("own.nii", "own.nrrd", "own.mha"):
        volume = read_volume(write(tmp_path / name, BODY[:, ::-1].copy(), turned @ STEPS * (1, -1, 1)))
        np.testing.assert_array_equal(volume.voxels, UPRIGHT)
        assert volume.spacing == pytest.approx(SPACING, rel=1e-5)
        assert len(volume.notes) == 1 and "oblique by 25°" in volume.notes[0]


@pytest.mark.parametrize("row", [[0, 0, 0, 0], [np.nan, 0, 0, 0], [0, 2, 0, 0], [1e-30, 0, 0, 0]])
def test_an_affine_that_can_t_be_used_gives_way(tmp_path: Path, row: list[float]) -> None:
    image = nibabel.Nifti1Image(BODY[::-1].copy(), affine(STEPS * (-1, 1, 1)))
    image.set_qform(affine(STEPS * (-1, 1, 1)), 1)
    nibabel.save(image, tmp_path / "own.nii")
    data = bytearray((tmp_path / "own.nii").read_bytes())
    data[280:296] = struct.pack("<4f", *row)
    (tmp_path / "own.nii").write_bytes(data)
    np.testing.assert_array_equal(read_volume(tmp_path / "own.nii").voxels, UPRIGHT)
    data[252:254] = bytes(2)  # no qform either
    (tmp_path / "own.nii").write_bytes(data)
    volume = read_volume(tmp_path / "own.nii")
    np.testing.assert_array_equal(volume.voxels, UPRIGHT[..., ::-1])
    assert volume.spacing == SPACING and "affine can't be used" in volume.notes[0]


def test_values_are_scaled_only_where_the_file_asks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "own.nii"
    for slope, shift in ((0, 0), (1, 0), (float("nan"), 0), (0, 5)):
        path.write_bytes(nifti(LABELS, 4, slope=slope, shift=shift))
        assert read_volume(path).voxels.dtype == np.int16
    path.write_bytes(nifti(LABELS * 85, 4, slope=1 / 85, shift=2))
    voxels = read_volume(path).voxels
    assert voxels.dtype == np.float64
    np.testing.assert_allclose(voxels, LABELS.transpose(2, 1, 0) + 2, atol=1e-6)


def test_a_file_may_say_that_it_holds_labels(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(BODY, affine(STEPS))
    image.header.set_intent("label")
    nibabel.save(image, tmp_path / "own.nii")
    assert read_volume(tmp_path / "own.nii").labels is True


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", ["own.nii", "own.nii.gz", "own.mgz", "own.nrrd", "own.mha"])
def test_one_of_several_volumes_is_chosen(tmp_path: Path, name: str) -> None:
    film = np.stack([BODY * 0, BODY, BODY * 2], -1)
    if name == "own.nrrd":
        nrrd.write(str(tmp_path / name), np.moveaxis(film, -1, 0), FIRST)
    elif name == "own.mha":
        sitk.WriteImage(sitk.GetImageFromArray(film[::-1, ::-1].T, isVector=False), str(tmp_path / name))
    else:
        write(tmp_path / name, film)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), "frame", "3 volumes", "N = 0..2, or -1")
    for frame, factor in ((0, 0), (1, 1), (-1, 2), (2, 2), (-3, 0)):
        np.testing.assert_array_equal(read_volume(tmp_path / name, frame).voxels, UPRIGHT * factor)
    for frame in (3, -4, True):
        one_line(lambda frame=frame: targets.load(tmp_path / name, (8, 8, 8), frame=frame), "frame", str(frame), "-3..2")
    check_laws(targets.load(tmp_path / name, (8, 8, 8), frame=-1), (8, 8, 8), 1)


def test_itk_writes_one_lattice_in_all_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The body as a camera on its left sees it: i runs to the back, j down, k to the right.
    image = sitk.GetImageFromArray(np.ascontiguousarray(BODY[:, ::-1, ::-1].transpose(1, 2, 0)).T)
    image.SetSpacing((2, 3, 1))
    image.SetDirection((0, 0, -1, 1, 0, 0, 0, -1, 0))  # rows are left, posterior, superior
    monkeypatch.setattr(metaimages, "in_child", lambda read, where, allowed, path, **how: read(str(path)))
    for name in ("own.nii.gz", "own.nrrd", "own.mha", "own.mhd", "own.hdr"):
        sitk.WriteImage(image, str(tmp_path / name))
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.voxels, UPRIGHT)
        assert volume.spacing == pytest.approx(SPACING) and volume.notes == ()


def test_an_axis_of_one_volume_is_no_film(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_volume(write(tmp_path / "own.nii", BODY[..., None])).voxels, UPRIGHT)
    nrrd.write(str(tmp_path / "own.nrrd"), BODY[None], FIRST)
    np.testing.assert_array_equal(read_volume(tmp_path / "own.nrrd").voxels, UPRIGHT)
    np.testing.assert_array_equal(read_volume(tmp_path / "own.nrrd", 0).voxels, UPRIGHT)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("bands", [3, 4])
def test_colours_of_all_formats(tmp_path: Path, bands: int) -> None:
    colours = np.random.default_rng(bands).integers(0, 256, (4, 5, 6, bands)).astype(np.uint8)
    image = sitk.GetImageFromArray(colours[:, ::-1, ::-1], isVector=True)
    image.SetDirection(np.eye(3).ravel().tolist())
    for name in ("own.mha", "own.nrrd", "itk.nii.gz"):
        sitk.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read_volume(tmp_path / name).voxels, colours)
    nrrd.write(str(tmp_path / "bare.nrrd"), np.ascontiguousarray(colours.transpose(3, 2, 1, 0)))
    np.testing.assert_array_equal(read_volume(tmp_path / "bare.nrrd").voxels, colours)
    planes = nibabel.Nifti1Image(colours.transpose(2, 1, 0, 3)[:, :, :, None], np.eye(4))
    planes.header.set_intent("vector")
    nibabel.save(planes, tmp_path / "planes.nii")
    np.testing.assert_array_equal(read_volume(tmp_path / "planes.nii").voxels, colours)


def segments(*rows: tuple[str, int, int]) -> dict[str, str]:
    """The fields of segments (name, label, layer) as 3D Slicer writes them."""
    fields = {}
    for n, (name, label, layer) in enumerate(rows):
        values = {"ID": f"s{n}", "Name": name, "Color": f"0.{n} 0.5 1", "LabelValue": str(label), "Layer": str(layer)}
        fields |= {f"Segment{n}_{key}": value for key, value in values.items()}
    return fields


def test_segments_of_slicer_have_names_and_colours(tmp_path: Path) -> None:
    one = write(tmp_path / "own.seg.nrrd", BODY, **segments(("liver", 1, 0), ("vein", 2, 0), ("bone", 3, 0)))
    volume = read_volume(one)
    np.testing.assert_array_equal(volume.voxels, UPRIGHT)
    assert volume.labels is True and volume.notes == ()
    target = targets.load(one, (10, 10, 10))
    assert target.name == "own" and target.names == ("empty", "liver", "vein", "bone")
    np.testing.assert_allclose(target.palette[1:], [[0, 0.5, 1], [0.1, 0.5, 1], [0.2, 0.5, 1]])


def test_layers_of_slicer_are_merged(tmp_path: Path) -> None:
    path = tmp_path / "own.seg.nrrd"
    fields = segments(("liver", 1, 0), ("vein", 1, 1), ("bone", 3, 0))
    apart = np.stack([np.where(BODY == 2, 0, BODY), BODY == 2]).astype(np.uint8)
    over = np.stack([np.where(BODY == 2, 1, BODY), BODY == 2]).astype(np.uint8)
    for layers, words in ((apart, ()), (over, ("overlap in 2 voxels",))):
        nrrd.write(str(path), layers, FIRST | fields)
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.voxels, UPRIGHT)
        assert volume.names == {1: "liver", 2: "vein", 3: "bone"} and len(volume.notes) == len(words)
        assert all(word in line for word, line in zip(words, volume.notes, strict=True))
    one_line(lambda: targets.load(path, (8, 8, 8), frame=0), "frame", "Slicer")
    # Before version 4.11 each segment was a layer, and no field said so.
    old = {key: value for key, value in fields.items() if not key.endswith(("Layer", "LabelValue"))}
    nrrd.write(str(path), np.stack([n == BODY for n in (1, 2, 3)]).astype(np.uint8), FIRST | old)
    np.testing.assert_array_equal(read_volume(path).voxels, UPRIGHT)


NAMES = ("empty", "liver", "left vein", "bone")
COLOURS = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
SNAP = '# ITK-SNAP\n0 0 0 0 0 0 0 "Clear Label"\n1 255 0 0 1 1 1 "liver"\n2 0 255 0 1 1 1 "left vein"\n3 0 0 255 1 1 0 "bone"\n'
TABLES = {
    "numbers.json": (json.dumps({"1": "liver", "2": "left vein", "3": "bone"}), False),
    "names.json": (json.dumps({"liver": 1, "left vein": 2, "bone": 3}), False),
    "nnunet.json": (json.dumps({"labels": {"background": 0, "liver": 1, "left vein": 2, "bone": 3}, "numTraining": 9}), False),
    "list.json": (json.dumps(["liver", "left vein", "bone"]), False),
    "from_zero.json": (json.dumps(["background", "liver", "left vein", "bone"]), False),
    "rows.json": (
        json.dumps([{"id": n, "name": NAMES[n], "color": COLOURS[n - 1]} for n in (1, 2, 3)] + [{"id": 9, "name": "other"}]),
        True,
    ),
    "titles.json": (json.dumps({"labels": [{"value": n, "label": NAMES[n]} for n in (1, 2, 3)]}), False),
    "bids.tsv": ("index\tname\tcolor\n1\tliver\t#ff0000\n2\tleft vein\t#00ff00\n3\tbone\t#0000ff\n", True),
    "snap.txt": (SNAP, True),
    "snap.label": (SNAP, True),
    "slicer.ctbl": ("# Slicer\n0 Nothing 0 0 0 0\n1 liver 255 0 0 255\n2 left vein 0 255 0 255\n3 bone 0 0 255 255\n", True),
    "freesurfer.txt": ("#No. Label R G B A\n1  liver  255 0 0 0\n2  left vein  0 255 0 0\n3  bone  0 0 255 0\n", True),
    "own.txt": ("1 liver\n2: left vein\n3\tbone\n", False),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_beside_a_scan_names_its_labels(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TABLES[name][0])
    target = targets.load(write(tmp_path / f"{name.partition('.')[0]}.nii.gz", BODY), (12, 12, 12))
    assert target.names == NAMES and f"names of 3 labels from {name}" in target.notes
    if TABLES[name][1]:
        np.testing.assert_allclose(target.palette[1:], COLOURS)


def test_a_table_may_lack_labels_and_colours(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"2": {"name": "vein", "color": "#ff8000"}}')
    target = targets.load(write(tmp_path / "own.nii", BODY), (12, 12, 12))
    assert target.names == ("empty", "1", "vein", "3") and "names of 1 of 3 labels from own.json" in target.notes
    np.testing.assert_allclose(target.palette[2], [1, 128 / 255, 0])
    assert len(np.unique(target.palette, axis=0)) == 4


def test_afni_keeps_names_in_the_header(tmp_path: Path) -> None:
    pairs = "".join(f"&quot;{n}&quot; &quot;{name}&quot;\n" for n, name in enumerate(NAMES))
    head = "&lt;VALUE_LABEL_DTABLE\n ni_type=&quot;2*String&quot;\n ni_dimen=&quot;4&quot; &gt;\n"
    text = f'<AFNI_atr atr_name="VALUE_LABEL_DTABLE" >"{head}{pairs}&lt;/VALUE_LABEL_DTABLE&gt;"</AFNI_atr>'
    image = nibabel.Nifti1Image(BODY, affine(STEPS))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("afni", text.encode()))
    nibabel.save(image, tmp_path / "own.nii.gz")
    target = targets.load(tmp_path / "own.nii.gz", (12, 12, 12))
    assert target.names == NAMES and any("names of 4 labels from its header" in line for line in target.notes)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.json", json.dumps({"Manufacturer": "Acme", "EchoTime": 0.003, "FlipAngle": 9, "SliceTiming": [0, 1]})),
        ("own.json", json.dumps({"RepetitionTime": 2, "FlipAngle": 90, "EchoTrainLength": 8})),
        ("own.json", "[1, 2, 3]"),
        ("own.tsv", "onset\tduration\n1\t2\n"),
        ("own.txt", "Scanned on Monday.\n1 of 3\n"),
        ("own.txt", "0 1000 1000\n"),
    ],
)
def test_a_file_about_something_else_is_left_alone(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    scan = np.arange(120).reshape(6, 5, 4).astype(np.int16)
    for voxels in (scan, scan + np.float32(0.3)):
        volume = read_volume(write(tmp_path / "own.nii", voxels))
        assert (volume.names, volume.labels, volume.notes) == (None, None, ())


@pytest.mark.parametrize(("name", "text"), [("own.json", '{"1": "liver",}'), ("own.ctbl", "7 kidney 1 2 3 4\n")])
def test_a_table_that_can_t_be_used_is_told(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    volume = read_volume(write(tmp_path / "own.nii", BODY))
    assert volume.names is None and len(volume.notes) == 1 and volume.notes[0].startswith(name)


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


def test_rgba_in_nifti_is_straight_and_black_stays(tmp_path: Path) -> None:
    body = np.zeros((7, 8, 9, 4), np.uint8)
    body[1:6, 1:6, 1:8] = (250, 120, 60, 255)
    body[3, 1, [2, 5]] = (0, 0, 0, 255)
    (tmp_path / "body.nii").write_bytes(nifti(body.transpose(2, 1, 0, 3), 2304))
    target = targets.load(tmp_path / "body.nii", (7, 8, 9), fit=False)
    np.testing.assert_allclose(target.rgba(), body / 255, atol=1e-5)
    fitted = targets.load(tmp_path / "body.nii", (16, 16, 16)).occupied.numpy()
    assert fitted.any((1, 2)).sum() == 10, "5 of 7 voxels in 14 cells"
    (tmp_path / "none.nii").write_bytes(nifti(body.transpose(2, 1, 0, 3) * (1, 1, 1, 0), 2304))
    one_line(lambda: targets.load(tmp_path / "none.nii", (8, 8, 8)), "alpha", "at least one cell")


GOOD = nifti(LABELS, 4)
NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 6 5 4\n"
META = b"ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_UCHAR\n"
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
    "film.nii": (nifti(LABELS, 4, dim=(4, 4, 5, 3, 2, 1, 1, 1)), ("frame", "2 volumes", "frame=N")),
    "complex.nii": (nifti(LABELS.astype(np.complex64), 32), ("datatype", "complex64")),
    "offset.nii": (nifti(LABELS, 4, offset=float("nan")), ("unreadable",)),
    "far.nii": (nifti(LABELS, 4, offset=1e9), ("header", "1,000,000,000")),
    ".nii.gz": (b"no", ("unreadable",)),
    "alone.img": (GOOD, ("alone.hdr", "both files")),
    "cut.mgz": (gzip.compress(bytes(100)), ("FreeSurfer",)),
    "text.nrrd": (b"hello", ("NRRD",)),
    "none.nrrd": (b"NRRD0004\ntype: uchar\n\n", ("'sizes'",)),
    "cut.nrrd": (NRRD + b"encoding: raw\n\n1234", ("4 bytes", "120 bytes")),
    "code.nrrd": (NRRD + b"encoding: hex\n\n1234", ("encoding", "gzip")),
    "lines.nrrd": (NRRD + b"encoding: raw\nline skip: 99999999999\n\n", ("skip",)),
    "block.nrrd": (NRRD.replace(b"uchar", b"block") + b"encoding: raw\n\n", ("block",)),
    "claim.nrrd": (NRRD.replace(b"6 5 4", b"9999 9999 9999") + b"encoding: gzip\n\n", ("999,700,029,999 bytes",)),
    "picture.nrrd": (NRRD + b"encoding: raw\nkinds: RGB-color domain domain\n\n" + bytes(120), ("three axes in space",)),
    "list.nhdr": (NRRD + b"encoding: raw\ndata file: LIST\n", ("data file", "LIST")),
    "up.nhdr": (NRRD + b"encoding: raw\ndata file: ../up.raw\n", ("data file", "same folder")),
    "text.mha": (b"hello", ("header",)),
    "cut.mha": (META + b"ElementDataFile = LOCAL\n1234", ("4 bytes", "120 bytes")),
    "list.mhd": (META + b"ElementDataFile = LIST\na.raw\n", ("LIST", "same folder")),
    "up.mhd": (META + b"ElementDataFile = ../up.raw\n", ("ElementDataFile", "same folder")),
    "many.mhd": (META + b"ElementDataFile = s%d.raw 1 4 1\n", ("ElementDataFile", "same folder")),
    "claim.mha": (META.replace(b"6 5 4", b"9999 9999 9999") + b"ElementDataFile = LOCAL\n", ("999,700,029,999 bytes",)),
    "packed.mha": (META + b"CompressedData = True\nElementDataFile = LOCAL\n" + zlib.compress(bytes(119)), ("119 bytes",)),
    "nan.nii": (nifti(WITH_NAN, 16), ()),
    "empty.nii": (nifti(LABELS * 0, 4), ("no occupied",)),
    "same.nii": (nifti(LABELS * 0 - 5, 4), ()),
}


@pytest.mark.parametrize("name", BAD)
def test_broken_scans_are_refused(tmp_path: Path, name: str) -> None:
    data, words = BAD[name]
    (tmp_path / name).write_bytes(data)
    one_line(lambda: targets.load(tmp_path / name, (8, 8, 8)), name, *words)


def test_what_is_packed_is_not_unpacked_beyond_its_promise(tmp_path: Path) -> None:
    more = bytes(1 << 26)
    (tmp_path / "own.nii.gz").write_bytes(gzip.compress(GOOD + more, 1))
    (tmp_path / "own.nrrd").write_bytes(NRRD + b"encoding: gzip\n\n" + gzip.compress(BODY.tobytes("F") + more, 1))
    data = META + b"CompressedData = True\nElementDataFile = LOCAL\n" + zlib.compress(BODY.tobytes("F") + more, 1)
    (tmp_path / "own.mha").write_bytes(data)
    tracemalloc.start()
    try:
        np.testing.assert_array_equal(read_volume(tmp_path / "own.nii.gz").voxels, LABELS.transpose(2, 1, 0))
        np.testing.assert_array_equal(read_volume(tmp_path / "own.nrrd").voxels, UPRIGHT)
        with pytest.raises(InputError, match="120 bytes that its header"):
            read_volume(tmp_path / "own.mha")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_odd_numbers_that_crash_a_reader_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    volume = read_volume(write(tmp_path / "own.mha", BODY, packed=True))
    np.testing.assert_array_equal(volume.voxels, UPRIGHT)
    data = (tmp_path / "own.mha").read_bytes()
    for before, after in ((b"NDims = 3", b"NDims = 99999"), (b"TransformMatrix = -1", b"TransformMatrix = nan")):
        assert before in data
        (tmp_path / "own.mha").write_bytes(data.replace(before, after))
        one_line(lambda: targets.load(tmp_path / "own.mha", (8, 8, 8)), "own.mha")
    assert capfd.readouterr() == ("", "")


@settings(max_examples=examples(100), deadline=None)
@given(name=st.sampled_from(FORMATS), share=st.floats(0, 1, exclude_max=True), data=st.data())
def test_a_truncated_scan_is_refused(
    name: str, share: float, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = write(folder / name, BODY)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    whole = file.read_bytes().rstrip(b"\n") if file.suffix in (".nhdr", ".mhd") else file.read_bytes()
    # What follows the voxels of a .mgh says nothing about them.
    end = 284 + BODY.size if name == "own.mgh" else len(whole) - 4 if file.suffix == ".hdr" else len(whole)
    file.write_bytes(whole[: int(share * end)])
    one_line(lambda: targets.load(path, (8, 8, 8)), str(path))


@pytest.mark.parametrize(("name", "package"), [("own.nii", "nibabel"), ("own.nrrd", "nrrd"), ("own.mha", "SimpleITK")])
def test_without_its_package_the_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, package: str
) -> None:
    path = write(tmp_path / name, BODY)
    monkeypatch.setitem(sys.modules, package, None)
    one_line(lambda: targets.load(path, (8, 8, 8)), package, "not installed", "pip install 'nca3d[scans]'")
