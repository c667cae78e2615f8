"""Stacks of images and tables of cells: the same body as the array that they were made of."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from target_laws import one_line

from nca3d.targets import from_array, load

LABELS = np.zeros((12, 6, 7), np.uint8)
LABELS[1:11, 2:5, 1:6], LABELS[4, 2, 3:] = 1, 2
RGBA = np.zeros((12, 6, 7, 4), np.uint8)
RGBA[LABELS == 1], RGBA[LABELS == 2] = (200, 60, 20, 255), (20, 90, 220, 255)


def slices(folder: Path, voxels: np.ndarray, suffix: str = "png") -> Path:
    folder.mkdir()
    for number, picture in enumerate(voxels):  # 10 comes after 9, not after 1
        Image.fromarray(picture).save(folder / f"slice {number}.{suffix}")
    (folder / "notes.md").write_text("ignored")
    return folder


def pages(path: Path, voxels: np.ndarray, **how: object) -> Path:
    first, *rest = map(Image.fromarray, voxels)
    first.save(path, save_all=True, append_images=rest, **how)
    return path


@pytest.mark.parametrize("kind", ["folder", "tiff", "deep", "packed"])
def test_a_stack_of_labels_is_its_array(kind: str, tmp_path: Path) -> None:
    deep = LABELS.astype(np.uint16) * 300
    path = {
        "folder": lambda: slices(tmp_path / "own", LABELS),
        "tiff": lambda: pages(tmp_path / "own.tif", LABELS),
        "deep": lambda: pages(tmp_path / "own.tiff", deep),
        "packed": lambda: pages(tmp_path / "own.tif", LABELS, compression="tiff_deflate"),
    }[kind]()
    target, wanted = load(path, "auto"), from_array(LABELS)
    assert target.values.equal(wanted.values) and target.name == "own"
    assert target.names == (("empty", "300", "600") if kind == "deep" else ("empty", "1", "2"))


@pytest.mark.parametrize("bands", [4, 3])
def test_a_stack_of_colours_is_its_array(bands: int, tmp_path: Path) -> None:
    wanted = from_array(RGBA, (14, 8, 9))
    for path in (slices(tmp_path / "own", RGBA[..., :bands]), pages(tmp_path / "own.tif", RGBA[..., :bands])):
        target = load(path, (14, 8, 9))
        assert target.values.equal(wanted.values)
        assert any("corners is empty" in note for note in target.notes) == (bands == 3)


def test_slices_may_be_far_apart(tmp_path: Path) -> None:
    block = np.ones((10, 20, 20), np.uint8)
    path = pages(tmp_path / "own.tif", block, description="ImageJ=1.53t\nimages=10\nslices=10\nspacing=2.0\nunit=pixel\n")
    target = load(path, (22, 22, 22), fit=True)
    assert target.occupied.all(1).sum(0).max() == 0 or int(target.occupied.any((1, 2)).sum()) == 20
    assert any("2 pixels apart" in note for note in target.notes)


def test_what_is_no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "none").mkdir()
    one_line(lambda: load(tmp_path / "none", "auto"), "none an image")
    monkeypatch.chdir(tmp_path)
    one_line(lambda: load("none", "auto"), "'none', a folder", "'none/'")
    (tmp_path / "none" / "a.dcm").write_bytes(b"x")
    one_line(lambda: load(tmp_path / "none", "auto"), "dcm2niix")
    mixed = slices(tmp_path / "mixed", LABELS)
    Image.fromarray(LABELS[0]).save(mixed / "a.bmp")
    one_line(lambda: load(mixed, "auto"), "several kinds: .bmp, .png")
    uneven = slices(tmp_path / "uneven", LABELS)
    Image.fromarray(LABELS[0, :3]).save(uneven / "slice 3.png")
    one_line(lambda: load(uneven, "auto"), "(3, 7)", "(6, 7)", "one size")
    huge = pages(tmp_path / "huge.tif", np.zeros((20, 4096, 4096), bool), compression="group4")
    one_line(lambda: load(huge, "auto"), "20 pictures of 4096 × 4096", "268,435,456")
    cut = pages(tmp_path / "cut.tif", LABELS)
    cut.write_bytes(cut.read_bytes()[:300])
    one_line(lambda: load(cut, "auto"), "cut.tif")


TABLES = {
    "labels.csv": "x,y,z,label\n" + "\n".join(f"{x},{y},{z},{LABELS[z, y, x]}" for z, y, x in np.argwhere(LABELS)),
    "numbers.csv": "\n".join(f"{x};{y};{z};{LABELS[z, y, x]}" for z, y, x in np.argwhere(LABELS)),
    "words.tsv": "Z\tY\tX\tblock\n"
    + "\n".join(f"{z}\t{y}\t{x}\t{'ab'[LABELS[z, y, x] - 1]}" for z, y, x in np.argwhere(LABELS)),
    "moved.csv": "x,y,z,id\n"
    + "\n".join(f"{x / 2 - 3},{y / 2},{z / 2 + 9},{LABELS[z, y, x]}" for z, y, x in np.argwhere(LABELS)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_labels_is_its_array(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(TABLES[name])
    target = load(tmp_path / name, "auto")
    assert target.values.equal(from_array(LABELS).values)
    assert target.names[1:] == (("a", "b") if "words" in name else ("1", "2"))


def test_a_table_of_colours_is_its_array(tmp_path: Path) -> None:
    rows = [(x, y, z, *RGBA[z, y, x]) for z, y, x in np.argwhere(LABELS)]
    (tmp_path / "goxel.txt").write_text(
        "# Goxel\n" + "\n".join(f"{x} {y} {z} {r:02x}{g:02x}{b:02x}" for x, y, z, r, g, b, _ in rows)
    )
    (tmp_path / "bytes.csv").write_text("\n".join(",".join(map(str, row)) for row in rows))
    floats = "\n".join(f"{x},{y},{z},{r / 255},{g / 255},{b / 255}" for x, y, z, r, g, b, _ in rows)
    (tmp_path / "floats.csv").write_text(f"x,y,z,r,g,b\n{floats}")
    for name in ("goxel.txt", "bytes.csv", "floats.csv"):
        np.testing.assert_allclose(load(tmp_path / name, "auto").values, from_array(RGBA).values, atol=1e-5)
    (tmp_path / "bare.csv").write_text("\n".join(f"{x},{y},{z}" for x, y, z, *_ in rows))
    assert load(tmp_path / "bare.csv", "auto").names == ("empty", "body")


def test_columns_say_what_they_are(tmp_path: Path) -> None:
    """The number of a line is no label beside colours; what is left out is said; labels keep the file's colours."""
    table = tmp_path / "own.csv"
    table.write_text("id,x,y,z,r,g,b\n1,0,0,0,255,0,0\n2,1,0,0,0,255,0\n")
    target = load(table, "auto")
    assert target.kind == "rgb" and any("columns left out: id" in note for note in target.notes)
    table.write_text("x,y,z,value,label,r,g,b\n0,0,0,7,oak,255,0,0\n1,0,0,8,minecraft:air,0,0,0\n2,0,0,9,moss,0,255,0\n")
    target = load(table, "auto")
    assert target.names == ("empty", "moss", "oak") and target.palette[1].tolist() == [0, 1, 0]
    assert any("columns left out: value" in note for note in target.notes)
    table.write_text("x,y,z,density\n0,0,0,0.5\n")
    assert any("columns left out: density" in note for note in load(table, "auto").notes)
    table.write_text("x,y,z,id\n0,0,0,3\n1,0,0,4\n")
    assert load(table, "auto").names == ("empty", "3", "4")


def test_lossy_slices_are_measurements_and_gaps_are_said(tmp_path: Path) -> None:
    mask = np.pad(np.full((10, 10), 255, np.uint8), 5)
    target = load(slices(tmp_path / "own", np.stack([mask] * 4), "jpg"), "auto")
    assert int(target.occupied.sum()) == 400 and any("JPEG" in note for note in target.notes)
    gappy = slices(tmp_path / "gappy", LABELS)
    (gappy / "slice 5.png").unlink()
    assert any("1 numbers between 0 and 11 have no picture" in note for note in load(gappy, "auto").notes)
    Image.fromarray(LABELS[0]).save(gappy / "other 5.png")
    assert any("pictures of 2 names ('other ', 'slice ')" in note for note in load(gappy, "auto").notes)


BAD = {
    "a,b,c\n1,2,3": ("columns", "a, b, c"),
    "x,y,z\n1,2,three": ("z", "'three'", "numbers"),
    "x,y,z\n": ("no line with cells",),
    "1,2\n": ("columns", "2 without names"),
    "1,2,3\n1,2\n": ("2 words in line 2",),
    "0,0,0\n0.3,0.1,7.77\n1,1,1": ("places between cells", "round them"),
    "0,0,0\n1e9,0,0": ("x y z",),
    "x,y,z\nnan,0,0": ("finite",),
    "x,y,z,color\n0,0,0,redish": ("colour", "redish"),
    "x,y,z,r,g,b\n0,0,0,-1,0,900": ("colours", "-1 to 900"),
    "\x00\x01\n": ("own.csv",),
}


@pytest.mark.parametrize("text", BAD)
def test_broken_tables_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(text)
    one_line(lambda: load(tmp_path / "own.csv", "auto"), "own.csv", *BAD[text])


def test_what_people_bring_that_is_not_read_has_a_way_on(tmp_path: Path) -> None:
    for name, words in {"a.pt": "from_array", "a.blend": ".glb", "a.h5": "numpy.save", "a.dcm": "dcm2niix"}.items():
        (tmp_path / name).write_bytes(b"x")
        one_line(lambda name=name: load(tmp_path / name, "auto"), name, words)
