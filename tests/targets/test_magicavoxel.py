"""MagicaVoxel's files as targets: one model, or a scene of several; the files are written here byte by byte."""

import random
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from target_laws import check_laws, one_line

import visualize
from nca3d import targets
from nca3d.errors import InputError
from nca3d.targets.readers import vox_scene

# A body that is its own in no mirror and no turn: (x, y, z, colour), along x, one step along y, one up.
HOOK = ((0, 0, 0, 1), (1, 0, 0, 2), (2, 0, 0, 2), (2, 1, 0, 37), (2, 1, 1, 255))


def chunk(name: bytes, content: bytes, children: bytes = b"") -> bytes:
    return name + struct.pack("<2i", len(content), len(children)) + content + children


def words(**pairs: str) -> bytes:
    texts = [word.encode() for pair in pairs.items() for word in pair]
    return struct.pack("<i", len(pairs)) + b"".join(struct.pack("<i", len(text)) + text for text in texts)


def model(size: tuple[int, int, int], voxels: Sequence[tuple[int, int, int, int]]) -> bytes:
    body = np.array(voxels, np.uint8).reshape(-1, 4)
    return chunk(b"SIZE", struct.pack("<3i", *size)) + chunk(b"XYZI", struct.pack("<i", len(body)) + body.tobytes())


def transform(node: int, child: int, layer: int = -1, hidden: bool = False, **place: str) -> bytes:
    attributes = words(_hidden="1") if hidden else words()
    return chunk(b"nTRN", struct.pack("<i", node) + attributes + struct.pack("<4i", child, -1, layer, 1) + words(**place))


def group(node: int, *children: int) -> bytes:
    return chunk(b"nGRP", struct.pack("<i", node) + words() + struct.pack(f"<{len(children) + 1}i", len(children), *children))


def shape(node: int, *models: int) -> bytes:
    frames = b"".join(struct.pack("<i", one) + words(_f=str(frame)) for frame, one in enumerate(models))
    return chunk(b"nSHP", struct.pack("<i", node) + words() + struct.pack("<i", len(models)) + frames)


def vox(path: Path, *chunks: bytes) -> Path:
    path.write_bytes(b"VOX " + struct.pack("<i", 150) + chunk(b"MAIN", b"", b"".join(chunks)))
    return path


def cells(target: targets.Target) -> set[tuple[int, ...]]:
    """The occupied cells (x, y, z) of a target."""
    return {tuple(place) for place in np.argwhere(target.occupied.numpy())[:, ::-1].tolist()}


def classes(target: targets.Target) -> dict[tuple[int, ...], str]:
    """The names of the occupied cells (x, y, z)."""
    labels = target.values[:-1].argmax(0).numpy()
    return {(x, y, z): target.names[labels[z, y, x]] for z, y, x in np.argwhere(labels).tolist()}


def test_a_model_keeps_its_cells_its_axes_and_the_default_palette(tmp_path: Path) -> None:
    path = vox(tmp_path / "hook.vox", model((3, 2, 4), HOOK))
    target = targets.load(path, "auto")
    check_laws(target, (4, 4, 5), 1)
    assert cells(target) == {(x + 1, y + 1, z + 1) for x, y, z, _ in HOOK}
    colours = np.rint(255 * target.rgba()[1, 1, 1:4, :3]).tolist()
    assert colours == [[255, 255, 255], [255, 255, 204], [255, 255, 204]]
    assert np.rint(255 * target.rgba()[1, 2, 3, :3]).tolist() == [204, 255, 255]  # the 37th: red has gone one step down
    assert np.rint(255 * target.rgba()[2, 2, 3, :3]).tolist() == [17, 17, 17]  # the last, of the greys
    # On a lattice of the model's own size it stands where it was drawn.
    assert cells(targets.load(path, (4, 2, 3))) == {voxel[:3] for voxel in HOOK}


def test_a_palette_of_its_own_and_classes_of_colours(tmp_path: Path) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (256, 4), np.uint8)
    palette[:, 3] = 255
    palette[36, 3] = 90
    glass = chunk(b"MATL", struct.pack("<i", 2) + words(_type="_glass", _trans="0.5"))
    imap = chunk(b"IMAP", bytes(range(255, -1, -1)))
    path = vox(tmp_path / "own.vox", model((3, 2, 2), HOOK), chunk(b"RGBA", palette.tobytes()), glass, imap)
    target = targets.load(path, (2, 2, 3))
    for x, y, z, index in HOOK:
        assert np.rint(255 * target.rgba()[z, y, x]).tolist() == [*palette[index - 1, :3].tolist(), 255]
    assert "3 voxels of glass or of a transparent colour" in " ".join(target.notes)
    named = targets.load(path, (2, 2, 3), kind="classes")
    assert named.names == ("empty", "1", "2", "37", "255")
    np.testing.assert_allclose(255 * named.palette[1:], palette[[0, 1, 36, 254], :3])
    assert classes(named) == {voxel[:3]: str(voxel[3]) for voxel in HOOK}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Model 1, the hook, lies turned; model 2, one voxel, stands three times: shown, in a hidden node, in a hidden layer."""
    turn = 1 | 0 << 2 | 1 << 4  # rows (0,-1,0), (1,0,0), (0,0,1): a quarter turn from x to y
    return vox(
        tmp_path / "scene.vox",
        model((3, 2, 2), HOOK),
        model((1, 1, 1), [(0, 0, 0, 9)]),
        transform(0, 1, _t="100 -7 3"),
        group(1, 2, 4, 6, 8),
        transform(2, 3, _r=str(turn), _t="10 20 30"),
        shape(3, 0),
        transform(4, 5, _t="10 20 33"),
        shape(5, 1),
        transform(6, 7, hidden=True, _t="0 0 500"),
        shape(7, 1),
        transform(8, 9, layer=3, _t="0 0 600"),
        shape(9, 1),
        chunk(b"LAYR", struct.pack("<i", 3) + words(_hidden="1") + struct.pack("<i", -1)),
    )


def test_a_scene_stands_as_it_was_placed(scene: Path) -> None:
    target = targets.load(scene, "auto", model="scene", margin=0)
    # The hook's corner of voxels (1, 1, 1) is its pivot; a quarter turn takes the voxel (x, y) to (1 - y, x), less that pivot.
    placed = {(1 - y - 1 + 10, x - 1 + 20, z - 1 + 30) for x, y, z, _ in HOOK} | {(10, 20, 33)}
    low = np.min(list(placed), axis=0)
    assert cells(target) == {tuple((np.array(place) - low).tolist()) for place in placed}
    assert "a scene of 2 placed models; hidden and left out: 2" in " ".join(target.notes)


def test_several_models_are_said_and_chosen(scene: Path, tmp_path: Path) -> None:
    first = targets.load(scene, "auto")
    line = (
        "scene.vox: 2 models: the first, 5 cells of 2 × 3 × 2 (D × H × W); turned as in its scene; "
        'model = 2, or model = "scene" for all as they stand'
    )
    assert first.notes[-1] == line and cells(first) == {(2 - y, x + 1, z + 1) for x, y, z, _ in HOOK}
    for last in (2, -1):
        assert len(cells(targets.load(scene, "auto", model=last))) == 1
    for wrong in (0, 3, -3, True, "secne", 1.0):
        one_line(lambda wrong=wrong: targets.load(scene, "auto", model=wrong), "scene.vox", "model", "1 to 2", "'scene'")
    one_line(lambda: targets.load(scene, "auto", kind="labels"), "kind", "'classes'")


def test_what_is_said_of_other_frames_is_true(tmp_path: Path) -> None:
    empty, hook, dot = model((2, 2, 2), ()), model((3, 2, 2), HOOK), model((1, 1, 1), [(0, 0, 0, 5)])
    animation = "models (frames of an animation): "
    said = {
        (
            empty,
            hook,
        ): f"2 {animation}number 2, the first with a voxel, 5 cells of 2 × 2 × 3 (D × H × W); the other frames are empty",
        (dot, hook): f"2 {animation}the first, 1 cell of 1 × 1 × 1 (D × H × W); model = 2 shows another frame",
        (empty, dot, hook): "; model = 3 shows another frame",
        (dot, empty, dot, hook): "; model = 3 shows another frame, model = -1 the last",
    }
    for number, (models, line) in enumerate(said.items()):
        assert targets.load(vox(tmp_path / f"{number}.vox", *models), "auto").notes[-1].endswith(line)


TURNS = [a | b << 2 | signs << 4 for a in range(3) for b in range(3) if a != b for signs in range(8)]


@pytest.mark.parametrize("turn", TURNS)
def test_one_model_is_the_body_that_its_scene_shows(tmp_path: Path, turn: int) -> None:
    path = vox(
        tmp_path / "a.vox", model((4, 3, 5), HOOK), transform(0, 1), group(1, 2), transform(2, 3, _r=str(turn)), shape(3, 0)
    )
    shown, whole = targets.load(path, "auto"), targets.load(path, "auto", model="scene")
    assert classes(targets.load(path, "auto", kind="classes")) == classes(
        targets.load(path, "auto", model="scene", kind="classes")
    )
    assert cells(shown) == cells(whole) and cells(targets.load(path, "auto", model=1)) == cells(shown)
    assert ("turned as in its scene" in shown.notes[-1]) == (turn != 4)


def test_models_that_stand_often_or_are_hidden_are_said(tmp_path: Path) -> None:
    hook, dot, turn = model((3, 2, 2), HOOK), model((1, 1, 1), [(0, 0, 0, 5)]), str(1 | 0 << 2 | 1 << 4)
    top = (transform(0, 1), group(1, 2, 4))
    files = {
        "twice": (hook, *top, transform(2, 3, _r=turn), shape(3, 0), transform(4, 5, _r=turn, _t="9 0 0"), shape(5, 0)),
        "ways": (hook, *top, transform(2, 3, _r=turn), shape(3, 0), transform(4, 5), shape(5, 0)),
        "copy": (hook, *top, transform(2, 3, hidden=True), shape(3, 0), transform(4, 5, _r=turn), shape(5, 0)),
        "gone": (hook, transform(0, 1, hidden=True), shape(1, 0)),
        "second": (dot, hook, *top, transform(2, 3, hidden=True), shape(3, 0), transform(4, 5, _r=turn), shape(5, 1)),
        "loose": (dot, hook, transform(0, 1), shape(1, 1)),
        "beside": (hook, dot, dot, *top, transform(2, 3), shape(3, 0), transform(4, 5), shape(5, 1, 2)),
        "broken": (hook, transform(0, 9)),
    }
    said, quarter = {}, {(2 - y, x + 1, z + 1) for x, y, z, _ in HOOK}
    for name, chunks in files.items():
        target = targets.load(vox(tmp_path / f"{name}.vox", *chunks), "auto")
        said[name] = target.notes[-1]
        as_drawn = {(x + 1, y + 1, z + 1) for x, y, z, _ in HOOK}
        assert cells(target) == (quarter if name in ("twice", "copy", "second") else as_drawn), name
    assert 'turned as in its scene; it is placed 2 times; model = "scene" shows all as they stand' in said["twice"]
    assert "placed 2 times, turned in different ways: here as it was drawn; model" in said["ways"]
    assert said["gone"] == "gone.vox: model 1 of 1, 5 cells of 2 × 2 × 3 (D × H × W); it is hidden in the file"
    assert "2 models: number 2, the first that is shown (model 1 is hidden in the file), 5 cells" in said["second"]
    assert "number 2, the first that is shown (model 1 is hidden or nowhere in the file's scene), 5 cells" in said["loose"]
    assert said["beside"].startswith("beside.vox: 3 models: the first, 5") and 'or model = "scene" for all' in said["beside"]
    assert "its scene can't be read (node 9 missing), so that it stands as it was drawn" in said["broken"]
    hidden = targets.load(tmp_path / "second.vox", "auto", model=1)
    assert "model 1 of 2, 1 cell of 1 × 1 × 1 (D × H × W); it is hidden in the file" in hidden.notes[-1]


def test_scenes_that_never_end_or_are_too_large_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot = model((1, 1, 1), [(0, 0, 0, 1)])
    # Each group holds the next one four times: 4^40 dots.
    unfolds = [group(node, *[node + 1] * 4) for node in range(40)]
    bad = {
        "circle": ((transform(0, 1), group(1, 0)), "inside itself"),
        "unfolds": ((*unfolds, shape(40, 0)), "scene"),
        "missing": ((transform(0, 5),), "node 5 missing"),
        "model": ((transform(0, 1), shape(1, 7)), "model 7 of 1"),
        "far": (
            (group(0, 1, 3), transform(1, 2), shape(2, 0), transform(3, 2, _t="9999 9999 9999")),
            "10000",
        ),
        "turn": ((transform(0, 1, _r="5"), shape(1, 0)), "_r"),
        "shift": ((transform(0, 1, _t="1 2"), shape(1, 0)), "_t"),
        "hidden": ((transform(0, 1, hidden=True), shape(1, 0)), "1 hidden"),
    }
    monkeypatch.setattr(vox_scene, "MAX_NODES", 1 << 10)
    for name, (chunks, word) in bad.items():
        path = vox(tmp_path / f"{name}.vox", dot, *chunks)
        one_line(lambda path=path: targets.load(path, "auto", model="scene"), name, word)
    lies = {
        "size": chunk(b"SIZE", struct.pack("<3i", 1 << 20, 1 << 20, 1)),
        "outside": model((1, 1, 1), [(1, 0, 0, 1)]),
        "count": chunk(b"SIZE", struct.pack("<3i", 1, 1, 1)) + chunk(b"XYZI", struct.pack("<i", 1 << 30)),
        "sizeless": chunk(b"XYZI", struct.pack("<i", 0)),
        "empty": model((1, 1, 1), ()),
        "none": b"",
        "long": struct.pack("<4s2i", b"SIZE", 1 << 30, 0),
        "dictionary": chunk(b"nTRN", struct.pack("<2i", 0, 1 << 30)),
    }
    for name, chunks in lies.items():
        one_line(lambda name=name, chunks=chunks: targets.load(vox(tmp_path / f"{name}.vox", chunks), "auto"), name)
    (tmp_path / "text.vox").write_text("hello")
    one_line(lambda: targets.load(tmp_path / "text.vox", "auto"), "MagicaVoxel")


@pytest.mark.parametrize("frames", [1, 3])
def test_a_film_saved_as_vox_comes_back(tmp_path: Path, frames: int) -> None:
    rng = np.random.default_rng(frames)
    film = np.zeros((frames, 4, 5, 6, 4), np.uint8)
    film[rng.random((frames, 4, 5, 6)) < 0.4] = 255
    film[..., :3] = rng.integers(0, 256, film[..., :3].shape) * (film[..., 3:] > 0)
    film[:, 0, 0, 0] = film[:, 3, 4, 5] = 255
    path = visualize.save(film, tmp_path / "film.vox")
    for frame in range(frames):
        read = targets.load(path, (4, 5, 6), model=frame + 1)
        np.testing.assert_array_equal(np.rint(255 * read.rgba()), film[frame])
    whole = targets.load(path, (4, 5, 6), model="scene" if frames > 1 else 1)
    np.testing.assert_array_equal(np.rint(255 * whole.rgba()), film[0])
    grown = targets.load(path, "auto", margin=0)
    np.testing.assert_array_equal(np.rint(255 * grown.rgba()), film[-1])
    said = "3 models (frames of a film by nca3d): the last, "
    assert frames == 1 or (said in grown.notes[-1] and grown.notes[-1].endswith("; model = 1 shows another frame"))


def test_a_film_that_died_is_the_last_body_in_it(tmp_path: Path) -> None:
    film = np.zeros((3, 2, 2, 2, 4), np.uint8)
    film[1, 0, 0] = 255
    target = targets.load(visualize.save(film, tmp_path / "film.vox"), "auto")
    assert target.notes[-1].endswith(
        "number 2, the last with a voxel, 2 cells of 2 × 2 × 2 (D × H × W); the other frames are empty"
    )


def test_any_broken_byte_is_a_body_or_one_line(tmp_path: Path, scene: Path) -> None:
    data, path, draw, refused = scene.read_bytes(), tmp_path / "broken.vox", random.Random(0), 0
    for _ in range(100):
        broken = bytearray(data)
        broken[draw.randrange(len(data))] = draw.choice((0, 1, 127, 128, 255))
        path.write_bytes(broken[: draw.choice((len(data), draw.randrange(1, len(data))))])
        try:
            targets.load(path, "auto", model="scene")
        except InputError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20
