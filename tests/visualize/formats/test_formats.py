"""Files for other tools, each read back with a library that didn't write it where there is one: cells, colours, axes, time."""

import sys
from pathlib import Path

import numpy as np
import pytest

from visualize.files import atomic_file, atomic_folder
from visualize.formats import save
from visualize.formats.vox import _palette

STEPS = (0, 5, 10, 20, 40, 80)
NAMES = ("empty", "body", "head")
PALETTE = ((0, 0, 0), (200, 100, 0), (0, 0, 255))
SUFFIXES = (".pvd", ".vti", ".glb", ".vox", ".ome.zarr", ".npz", ".nbt", ".schem")
LIBRARIES = {
    ".pvd": "pyvista",
    ".vti": "pyvista",
    ".glb": "trimesh",
    ".ome.zarr": "zarr",
    ".zarr": "zarr",
    ".nbt": "nbtlib",
    ".schem": "nbtlib",
}


def need(suffix: str) -> None:
    if suffix in LIBRARIES:
        pytest.importorskip(LIBRARIES[suffix])


@pytest.fixture(scope="session")
def film(growing: np.ndarray) -> np.ndarray:
    """(6,13,11,17,4): the growing animal with one half transparent cell."""
    frames = growing.copy()
    frames[-1][tuple(np.argwhere(frames[-1, ..., 3] > 0)[20])] = (0.2, 0.6, 1.0, 0.5)
    return frames


@pytest.fixture(scope="session")
def classes(film: np.ndarray) -> np.ndarray:
    return (film[..., 3] > 0).astype(np.int64) * (1 + (np.arange(17) > 11))


def as_bytes(frames: np.ndarray) -> np.ndarray:
    return np.rint(frames * 255).astype(np.uint8)


def cells_of(grid, name: str) -> np.ndarray:
    """A cell array of a pyvista grid as (D,H,W,...)."""
    values = np.asarray(grid.cell_data[name])
    width, height, depth = (n - 1 for n in grid.dimensions)
    return values.reshape(depth, height, width, *values.shape[1:])


def test_pvd_is_a_film_in_paraview(film: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    path = save(film, tmp_path / "a.film.pvd", steps=STEPS, labels=classes, names=NAMES, palette=PALETTE, cell_size=0.5)
    reader = pyvista.get_reader(path)
    assert tuple(reader.time_values) == STEPS
    for index, step in enumerate(STEPS):
        reader.set_active_time_point(index)
        grid = reader.read()[0]
        assert (cells_of(grid, "rgba") == as_bytes(film[index])).all()
        assert (cells_of(grid, "alpha") == film[index, ..., 3]).all()
        assert (cells_of(grid, "labels") == classes[index]).all()
        assert grid.field_data["TimeValue"][0] == step
    assert grid.spacing == (0.5, 0.5, 0.5) and grid.origin == (0, 0, 0)
    assert tuple(grid.field_data["label_names"]) == NAMES
    assert tuple(map(tuple, grid.field_data["label_colours"])) == PALETTE
    # A cell's place in space, asked of VTK: the long ear is at x=12, y=7, z=12.
    ear = grid.find_containing_cell((12.5 * 0.5, 7.5 * 0.5, 12.5 * 0.5))
    assert grid.cell_data["body"][ear] == 1 and film[-1, 12, 7, 12, 3] == 1 and film[-1, 12, 3, 12, 3] == 0
    assert save(film[:2], path) == path and len(list((tmp_path / "a.film_frames").iterdir())) == 2  # none of the old ones


def test_vti_holds_the_last_frame_and_our_targets_read_it(film: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    pyvista = pytest.importorskip("pyvista")
    from nca3d import targets

    path = save(film, tmp_path / "last.vti", labels=classes, names=NAMES)
    grid = pyvista.read(path)
    assert grid.active_scalars_name == "rgba" and (cells_of(grid, "rgba") == as_bytes(film[-1])).all()
    target = targets.load(path, size=classes.shape[1:], key="labels", fit=False)
    assert (target.values[:3].argmax(0).numpy() == classes[-1]).all()


def expected_faces(body: np.ndarray) -> set[tuple[int, ...]]:
    """(x,y,z, nx,ny,nz) of every face between an occupied and a free cell of a body (D,H,W), cell by cell."""
    faces = set()
    padded = np.pad(body, 1)
    for z, y, x in np.argwhere(body):
        for nx, ny, nz in ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)):
            if not padded[z + 1 + nz, y + 1 + ny, x + 1 + nx]:
                faces.add((x, y, z, nx, ny, nz))
    return faces


def test_glb_has_the_visible_faces_with_y_up(film: np.ndarray, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.load_scene(save(film, tmp_path / "body.glb", steps=STEPS, cell_size=2.0), process=False)
    assert list(scene.geometry) == ["body"] and (scene.graph["body"][0] == np.eye(4)).all()
    mesh = scene.geometry["body"]
    assert mesh.metadata["step"] == STEPS[-1]
    points = np.asarray(mesh.vertices) / 2.0
    corners = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)[mesh.faces]  # glTF's up is y
    normals = np.rint(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])).astype(int)
    centres = corners.reshape(-1, 6, 3).mean(axis=1)  # two triangles make a square
    squares = (corners.reshape(-1, 6, 3).min(axis=1) + corners.reshape(-1, 6, 3).max(axis=1)) / 2
    assert (normals[::2] == normals[1::2]).all() and np.abs(centres - squares).max() < 0.2
    cells = np.floor(squares - 0.5 * normals[::2]).astype(int)
    faces = list(map(tuple, np.concatenate([cells, normals[::2]], axis=1).tolist()))
    body = film[-1, ..., 3] > 0.1
    assert len(set(faces)) == len(faces) and set(faces) == expected_faces(body)
    assert mesh.visual.material.metallicFactor == 0  # polished metal would be black
    linear = np.asarray(mesh.visual.vertex_attributes["color"])[mesh.faces[::2, 0]] / 255
    shown = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)[:, :3]
    straight = film[-1][cells[:, 2], cells[:, 1], cells[:, 0]]
    assert np.abs(shown - straight[:, :3]).max() < 0.02 and np.abs(linear[:, 3] - straight[:, 3]).max() < 0.01
    merged = trimesh.Trimesh(mesh.vertices, mesh.faces)  # points of one place joined
    assert merged.volume == pytest.approx(8 * body.sum())


@pytest.mark.parametrize("frames", [1, 5])
def test_vox_is_an_animation(film: np.ndarray, tmp_path: Path, frames: int) -> None:
    parser = pytest.importorskip("midvoxio.parser")
    shown = film[-frames:]
    vox = parser.Parser(str(save(shown, tmp_path / "film.vox"))).parse()
    for index, frame in enumerate(shown):
        read = np.rint(vox.to_list(index) * 255).astype(np.uint8)  # x,y,z
        body = frame[..., 3] > 0.1
        assert read.shape == (17, 11, 13, 4)
        assert ((read[..., 3] > 0) == body.transpose(2, 1, 0)).all()
        assert (read[..., :3] == (as_bytes(frame)[..., :3] * body[..., None]).transpose(2, 1, 0, 3)).all()
    if frames > 1:
        assert [model.id for model in vox.nshps[0].models] == list(range(frames))
        assert [int(model.attr_dic["_f"]) for model in vox.nshps[0].models] == list(range(frames))


def test_many_colours_become_255_near_ones() -> None:
    ramp = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3), axis=-1).reshape(-1, 3).astype(np.uint8)
    palette, index = _palette(np.concatenate([ramp, ramp[:9]]))
    error = np.abs(palette[index].astype(int) - np.concatenate([ramp, ramp[:9]]))
    assert len(palette) <= 255 and error.mean() < 16 and error.max() < 90


@pytest.mark.slow
def test_ome_zarr_is_an_image_with_labels(film: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    path = save(film, tmp_path / "a.ome.zarr", steps=STEPS, labels=classes, names=NAMES, palette=PALETTE, cell_size=0.5)
    group = zarr.open_group(path, mode="r")
    light = np.rint(np.concatenate([film[..., :3] * film[..., 3:], film[..., 3:]], axis=-1) * 255)
    assert np.abs(group["0"][:] - np.moveaxis(light, -1, 1)).max() <= 1  # t,c,z,y,x
    assert (group["labels/classes/0"][:] == classes).all()
    assert group.attrs["nca3d"]["steps"] == list(STEPS)
    assert group["0"].metadata.dimension_names == tuple("tczyx")
    yaozarrs = pytest.importorskip("yaozarrs")
    for store in (path, path / "labels" / "classes"):
        yaozarrs.validate_zarr_store(store)
    image = yaozarrs.open_group(path).ome_metadata()
    scale, shift = image.multiscales[0].datasets[0].coordinateTransformations
    assert [axis.name for axis in image.multiscales[0].axes] == list("tczyx")
    assert scale.scale == [16.0, 1.0, 0.5, 0.5, 0.5] and shift.translation == [0.0] * 5
    assert [channel.color for channel in image.omero.channels] == ["FF0000", "00FF00", "0000FF", "FFFFFF"]
    label = yaozarrs.open_group(path / "labels" / "classes").ome_metadata().image_label
    assert [tuple(colour.rgba[:3]) for colour in label.colors] == list(PALETTE)
    assert group["labels/classes"].attrs["ome"]["image-label"]["properties"][2] == {"label-value": 2, "name": "head"}


def test_npz_holds_everything(film: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    from nca3d import targets

    with np.load(save(film, tmp_path / "a.npz", steps=STEPS, labels=classes, names=NAMES, palette=PALETTE)) as read:
        assert (read["frames"] == film).all() and read["frames"].dtype == np.float32
        assert (read["labels"] == classes).all() and read["steps"].tolist() == list(STEPS)
        assert tuple(read["names"]) == NAMES and read["palette"].tolist() == [list(one) for one in PALETTE]
        assert read["cell_size"] == 1.0
    path = save(as_bytes(film[-1]), tmp_path / "one.npz")
    with np.load(path) as read:
        assert read["frames"].dtype == np.uint8 and (read["frames"] == as_bytes(film[-1])).all()
    target = targets.load(path, size=film.shape[1:4], key="frames")
    assert (target.occupied.numpy() == (film[-1, ..., 3] > 0.1)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_odd_films_are_files_or_clear_errors(suffix: str, tmp_path: Path) -> None:
    need(suffix)
    path = tmp_path / f"odd{suffix}"
    dead, broken = np.zeros((2, 3, 4, 5, 4)), np.full((1, 1, 1, 4), np.nan)
    if suffix in (".glb", ".vox", ".nbt", ".schem"):
        with pytest.raises(ValueError, match=r"found no cell .*, allowed one or more"):
            save(dead, path)
        assert not list(tmp_path.iterdir())
    else:
        assert save(dead, path).exists()
    assert save(broken, path).exists()  # one cell, magenta
    if suffix == ".vox":
        later = np.concatenate([dead[:1], np.ones((1, 3, 4, 5, 4))])
        assert save(later, path).read_bytes().count(b"XYZI") == 2  # an empty frame keeps its place
    if suffix == ".npz":
        assert np.load(path)["frames"].ravel().tolist() == [1, 0, 1, 1]
    assert not [left for left in tmp_path.iterdir() if left.name.startswith(".")]


def test_bad_input_is_one_line_and_writes_nothing(film: np.ndarray, classes: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("pyvista")
    long = np.ones((1, 1, 257, 4))
    bad = [
        ({"path": tmp_path / "a.stl"}, ".pvd, .vti, .glb, .vox, .ome.zarr, .zarr, .npz, .nbt, .schem"),
        ({"path": tmp_path / ".npz"}, "suffix"),
        ({"path": tmp_path / "no" / "a.npz"}, "missing folder"),
        ({"path": tmp_path / "a.vox", "frames": long}, "256 a side"),
        ({"frames": film[0, 0]}, "(D,H,W,4)"),
        ({"frames": [film[0], film[1, 1:]]}, "different shapes"),
        ({"frames": film[:0]}, "at least one cell"),
        ({"frames": film[..., :3]}, "at least one cell"),
        ({"steps": (0, 1)}, "one for each of 6 frames"),
        ({"steps": (0, 1, 2, 3, 3, 4)}, "each above the one before"),
        ({"labels": classes[0]}, "labels"),
        ({"labels": classes - 1}, "0 (empty)"),
        ({"labels": classes / 2}, "integers"),
        ({"names": NAMES}, "only together with labels"),
        ({"labels": classes, "names": NAMES[:2]}, "each label 0..2"),
        ({"labels": classes, "palette": PALETTE[:2]}, "each label 0..2"),
        ({"labels": classes, "palette": [[0.0, 0.0, 2.0]] * 3}, "0..1"),
        ({"cell_size": 0}, "above 0"),
        ({"cell_size": float("nan")}, "above 0"),
    ]
    for change, names in bad:
        with pytest.raises(ValueError, match=r"save: \S.*found .*, allowed") as error:
            save(**{"frames": film, "path": tmp_path / "a.vti", **change})
        assert names in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", LIBRARIES)
def test_a_missing_library_names_its_extra(
    film: np.ndarray, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, LIBRARIES[suffix], None)
    with pytest.raises(ValueError, match=r"allowed \.vox, \.npz here, or after: pip install 'nca3d\[(viz|zarr|games)\]'"):
        save(film, tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "folder"), [(".zarr", "a.zarr"), (".pvd", "a_frames"), (".npz", "a.npz")])
def test_what_others_wrote_is_not_replaced(film: np.ndarray, suffix: str, folder: str, tmp_path: Path) -> None:
    need(suffix)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"save: path: found .*, allowed"):
        save(film, tmp_path / f"a{suffix}")
    assert [path.name for path in tmp_path.rglob("*")] == [folder, "thesis.txt"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    for whole, name in ((atomic_file, "file"), (atomic_folder, "folder")):
        with pytest.raises(OSError, match="full"), whole(tmp_path / name) as beside:
            (beside if name == "file" else beside / "b").write_text("half")
            raise OSError("disk full")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_large_letters_in_a_suffix_mean_the_same(animal: np.ndarray, tmp_path: Path) -> None:
    save(animal, tmp_path / "BODY.NPZ")
    assert [path.name for path in tmp_path.iterdir()] == ["BODY.NPZ"]
    assert np.load(tmp_path / "BODY.NPZ")["frames"].shape == animal.shape
