"""Arrays: what goes in comes out, wherever it is put; what can't be used is refused by one line."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.targets import from_array
from nca3d.targets.arrays import from_labels
from nca3d.targets.readers import arrays as read_arrays

SIDES = st.integers(1, 5)
SHAPES = st.tuples(SIDES, SIDES, SIDES)


def saved(folder: Path, array: np.ndarray, name: str = "own.npy") -> Path:
    path = folder / name
    np.save(path, array) if name.endswith("npy") else np.savez_compressed(path, array)
    return path


@settings(max_examples=examples(40))
@given(st.data(), SHAPES, st.tuples(*[st.integers(0, 3)] * 3), st.sampled_from([".npy", ".npz"]))
def test_colours_come_back_from_a_file(tmp_path_factory, data, shape, extra, suffix) -> None:
    rgba = data.draw(hnp.arrays(np.uint8, (*shape, 4)))
    rgba[0, 0, 0, 3] = 255
    size = tuple(n + e for n, e in zip(shape, extra, strict=True))
    path = saved(tmp_path_factory.mktemp("a"), rgba, f"own{suffix}")
    target = targets.load(path, size)
    check_laws(target, size, margin=0)
    inner = target.rgba()[tuple(slice(e // 2, e // 2 + n) for e, n in zip(extra, shape, strict=True))]
    there = rgba[..., 3] > 25.5
    np.testing.assert_allclose(inner[there], rgba[there] / 255, atol=1e-5)
    np.testing.assert_allclose(inner[..., 3], rgba[..., 3] / 255, atol=1e-6)
    assert target.values[3].sum() == pytest.approx(float(rgba[..., 3].sum()) / 255, rel=1e-4), "nothing outside"
    as_floats = targets.load(saved(path.parent, (rgba / 255).astype(np.float64), "f.npy"), size)
    np.testing.assert_allclose(as_floats.values.numpy(), target.values.numpy(), atol=1e-6)


@settings(max_examples=examples(40))
@given(st.data(), SHAPES, st.sampled_from(["u1", "i2", "<i8", ">u4", "u8"]))
def test_labels_come_back_as_classes(tmp_path_factory, data, shape, dtype) -> None:
    labels = data.draw(hnp.arrays(np.dtype(dtype), shape, elements=st.sampled_from([0, 1, 2, 7, 100])))
    labels.flat[0] = 7
    labels = np.asfortranarray(labels)
    target = targets.load(saved(tmp_path_factory.mktemp("a"), labels), shape)
    check_laws(target, shape, margin=0)
    kept = sorted(set(labels.ravel().tolist()) - {0})
    assert target.names == ("empty", *map(str, kept))
    np.testing.assert_array_equal(np.array([0, *kept])[target.values[:-1].argmax(0).numpy()], labels)


def test_bool_is_one_class_and_palettes_are_taken() -> None:
    body = np.zeros((3, 3, 3), bool)
    body[1, 1] = True
    target = from_array(body, (5, 5, 5), name="own", palette=["#ff0000"])
    assert target.names == ("empty", "body") and target.palette.tolist() == [[0, 0, 0], [1, 0, 0]]
    np.testing.assert_array_equal(target.rgba()[2, 2, 2], [1, 0, 0, 1])
    labels = np.arange(27).reshape(3, 3, 3)
    assert len(np.unique(from_array(labels, (3, 3, 3), name="own", palette="reef").palette, axis=0)) == 27
    assert len(np.unique(from_array(labels, (3, 3, 3), name="own").palette, axis=0)) == 27
    one_line(lambda: from_array(labels, (3, 3, 3), name="own", palette="ref"), "palette", "did you mean 'reef'")
    one_line(lambda: from_array(labels, (3, 3, 3), name="own", palette=["#fff"]), "palette", "1 colours", "26")
    one_line(lambda: from_array(body, (5, 5, 5), name="own", palette=["red"]), "palette[0]", "'red'", "#rrggbb")
    named = from_array(body, (3, 3, 3), name="own", names=["empty", "moss"])
    assert named.names == ("empty", "moss")
    one_line(lambda: from_array(body, (3, 3, 3), name="own", names=["moss"]), "names", "2")


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("margin", [0, 1, 2])
def test_fit_scales_by_whole_numbers_exactly_both_ways(scale: int, margin: int) -> None:
    rng = np.random.default_rng(scale)
    small = rng.integers(0, 4, (4, 5, 6))
    small[0, 0, 0] = small[-1, -1, -1] = 1
    big = small.repeat(scale, 0).repeat(scale, 1).repeat(scale, 2)
    size = tuple(n + 2 * margin for n in small.shape)
    down = from_array(np.pad(big, 3), size, name="own", fit=True, margin=margin)  # free space around it is cut away
    np.testing.assert_array_equal(down.values[:-1].argmax(0).numpy(), np.pad(small, margin))
    up = from_array(small, tuple(n + 2 * margin for n in big.shape), name="own", fit=True, margin=margin)
    np.testing.assert_array_equal(up.values[:-1].argmax(0).numpy(), np.pad(big, margin))
    rgba = np.concatenate([rng.random((*small.shape, 3)), (small > 0)[..., None]], -1)
    fitted = from_array(rgba.repeat(scale, 0).repeat(scale, 1).repeat(scale, 2), size, name="own", fit=True, margin=margin)
    np.testing.assert_allclose(fitted.rgba(), np.pad(rgba * (small > 0)[..., None], [(margin,) * 2] * 3 + [(0, 0)]), atol=1e-5)


MEMORY = {
    "colours": np.random.default_rng(0).random((5, 6, 4, 4)).astype(np.float32),
    "bytes": np.random.default_rng(1).integers(0, 256, (5, 6, 4, 4), np.uint8),
    "labels": np.random.default_rng(2).integers(0, 4, (5, 6, 4)),
    "body": np.random.default_rng(3).random((5, 6, 4)) > 0.5,
}


@pytest.mark.parametrize("options", [{}, {"fit": True, "margin": 2, "threshold": 0.3}, {"orientation": "y-zx"}])
@pytest.mark.parametrize("kind", MEMORY)
def test_an_array_in_memory_gives_what_its_file_gives(tmp_path: Path, kind: str, options: dict) -> None:
    array, size = MEMORY[kind].copy(), (9, 10, 11)
    from_file = targets.load(saved(tmp_path, array), size, **options)
    for held in (array, torch.from_numpy(array)):
        target = from_array(held, size, name="own", **options)
        check_laws(target, size, margin=options.get("margin", 0))
        assert target.values.equal(from_file.values) and target.occupied.equal(from_file.occupied)
        assert (target.kind, target.names, target.name) == (from_file.kind, from_file.names, from_file.name)
        np.testing.assert_array_equal(target.palette, from_file.palette)
    array[:] = 0
    assert target.values.equal(from_file.values), "it is a copy"


def test_arrays_in_memory_of_every_make() -> None:
    colours = torch.from_numpy(MEMORY["colours"])
    plain = from_array(colours, (5, 6, 4))
    assert plain.name == "array"
    assert from_array(colours.clone().requires_grad_(), (5, 6, 4)).values.equal(plain.values)
    coarse = from_array(colours.bfloat16(), (5, 6, 4))
    np.testing.assert_allclose(coarse.values.numpy(), plain.values.numpy(), atol=0.01)
    assert from_array(MEMORY["labels"].tolist(), (5, 6, 4)).names == ("empty", "1", "2", "3")
    grown = from_array(plain.rgba(), plain.size)
    np.testing.assert_allclose(grown.values.numpy(), plain.values.numpy(), atol=1e-6)


def test_an_array_in_memory_is_refused_in_one_line() -> None:
    one_line(lambda: from_array(MEMORY["body"], (4, 4, 4), name="own"), "target 'own'", "(5, 6, 4)", "(4, 4, 4)", "fit=True")
    one_line(lambda: from_array(MEMORY["body"], (9, 9, 9), margn=2), "target 'array'", "'margn'", "did you mean 'margin'")
    one_line(lambda: from_array(MEMORY["body"], (9, 9, 9), key="a"), "'key'", "palette, pieces, threshold")
    one_line(lambda: from_array(MEMORY["body"], (9, 9, 9), fit="yes"), "fit", "'yes'")
    one_line(lambda: from_array(MEMORY["body"], (9, 9)), "size", "(9, 9)")  # type: ignore[arg-type]
    one_line(lambda: from_array([[[1]], [[1, 2]]], (9, 9, 9)), "array", "list")  # type: ignore[arg-type]
    one_line(lambda: from_array(torch.ones(3, 3, 3).to_sparse(), (9, 9, 9)), "array", "Tensor")
    one_line(lambda: from_array(MEMORY["colours"][None], (9, 9, 9)), "shape", "(1, 5, 6, 4, 4)", "(D, H, W, 4)")


def test_aspect_is_kept_when_fitted() -> None:
    target = from_array(np.ones((10, 20, 40), bool), (30, 30, 30), name="own", fit=True)
    cells = np.argwhere(target.occupied.numpy())
    assert (np.ptp(cells, axis=0) + 1).tolist() in ([7, 14, 28], [8, 14, 28])


def test_larger_than_the_lattice_names_both_sizes(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((4, 9, 4), np.uint8))
    for fit in ("auto", False):
        one_line(lambda fit=fit: targets.load(path, (8, 8, 8), fit=fit), "own.npy", "(4, 9, 4)", "(8, 8, 8)", "fit=True")
    assert targets.load(path, (8, 8, 8), fit=True).occupied.any()


FULL = np.ones((3, 3, 3, 4))
BAD = {
    "rank": (np.ones((3, 3)), ("(3, 3)", "(D, H, W, 4)")),
    "channels": (np.ones((6, 3, 3, 5)), ("(6, 3, 3, 5)", "(D, H, W, 4)", "np.argmax(a, -1)")),
    "two layouts": (np.ones((3, 3, 3, 3)), ("could be either", "np.moveaxis(a, 0, -1)", "np.insert(")),
    "no ground": (np.arange(81).reshape(3, 3, 3, 3)[:, :, :, :3] + 1.0, ("could be either",)),
    "one colour": (np.arange(450, dtype=np.uint8).reshape(5, 5, 6, 3) % 7 + 1, ("nowhere that a cell is empty", "np.insert(")),
    "all white": (np.ones((5, 5, 6, 3)), ("one colour alone", "np.insert(a, 3, 1, -1)")),
    "a picture": (np.tile(np.array([[9, 9, 8, 255], [0, 0, 0, 0]], np.uint8), (6, 2, 1)), ("picture", "np.expand_dims(a, 0)")),
    "films": (np.ones((2, 3, 3, 3, 4)), ("(2, 3, 3, 3, 4)", "2 frames")),
    "no cells": (np.ones((0, 3, 3), int), ("(0, 3, 3)",)),
    "densities": (np.linspace(0, 0.8, 27).reshape(3, 3, 3), ("float64 measurements", "0 to 0.8", "a > 0.4")),
    "complex": (np.ones((3, 3, 3), complex), ("complex128", "number")),
    "nan": (np.where(np.arange(4) == 2, np.nan, FULL), ("27 not finite", "(0, 0, 0, 2)")),
    "inf": (FULL * np.inf, ("108 not finite",)),
    "above one": (FULL * 1.7, ("1.7", "0..1", "np.clip(a, 0, 1)")),
    "below zero": (FULL - 1.5, ("-0.5", "0..1", "np.clip(a, 0, 1)")),
    "empty colours": (FULL * [1, 1, 1, 0.05], ("no occupied cell", "0.05")),
    "empty labels": (np.zeros((3, 3, 3), int), ("no occupied cell",)),
    "negative": (np.arange(-2, 25).reshape(3, 3, 3), ("2 negative", "-2")),
    "too many": (np.arange(125).reshape(5, 5, 5), ("124", "63", "labels = 'commonest'", "merge = {")),
    "objects": (np.array([[[{}]]], object), ("object",)),
    "strings": (np.full((2, 2, 2), "a"), ("U1",)),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused(tmp_path: Path, case: str) -> None:
    array, words = BAD[case]
    for name in ("own.npy", "own.npz"):
        path = tmp_path / name
        np.save(path, array, allow_pickle=True) if name == "own.npy" else np.savez(path, own=array)
        one_line(lambda path=path: targets.load(path, (8, 8, 8)), name, *words)
    one_line(lambda: from_array(array, (8, 8, 8), name="own"), "target 'own'", *words)


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": dtype, "fortran_order": False, "shape": shape})
    return held.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header((4096, 4096, 1 << 20, 4)), ("281,474,976,710,656 bytes", "at most")),
        (header((1 << 62, 1 << 62, 4)), ("at most",)),
        (header((-1, 3, 3)), ("header",)),
        (header((True, 4, 4), "|u1") + bytes(16), ("header", "(True, 4, 4)", "whole numbers")),
        (header((4, 4, 4), "|u1") + bytes(63), ("63", "64 bytes")),
        (b"", ("0 bytes",)),
        (b"\x93NUMPY", ("header",)),
        (b"\x93NUMPY\x01\x00\x10\x00{'descr': ", ("header",)),
        (b"<html>no such file</html>", ("header", "numpy.save")),
        (b"version https://git-lfs.github.com/spec/v1", ("header",)),
    ],
)
def test_npy_headers_are_weighed_before_they_are_believed(tmp_path: Path, data: bytes, words: tuple[str, ...]) -> None:
    path = tmp_path / "own.npy"
    path.write_bytes(data)
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.npy", *words)


def test_npz_bombs_and_broken_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, one=np.ones((2, 2, 2), int), two=np.zeros((2, 2, 2), int) + 3)
    one_line(lambda: targets.load(path, (8, 8, 8)), "key", "2 arrays", "one, two")
    one_line(lambda: targets.load(path, (8, 8, 8), key="tow"), "key", "did you mean 'two'")
    assert targets.load(path, (8, 8, 8), key="two").names == ("empty", "3")
    path.write_bytes(path.read_bytes()[:-40])
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.npz", "zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("own.npy", header((1024, 1024, 64), "|u1") + bytes(1 << 20))
    one_line(lambda: targets.load(path, (8, 8, 8)), "1,048,704 bytes", "67,108,864")
    monkeypatch.setattr(read_arrays, "MAX_BYTES", 1 << 20)  # a bomb of the real size would cost the test seconds
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("own.npy", header((128, 128, 128), "|u1") + bytes(1 << 21))
    assert path.stat().st_size < 1 << 13
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.npz", "at most 1,048,576 bytes")
    data = bytearray(path.read_bytes())
    data[400:460] = b"\xff" * 60
    monkeypatch.undo()
    path.write_bytes(bytes(data))
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.npz", "unreadable")


def test_zeros_packed_small_are_refused_before_room_is_made_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.npz"
    monkeypatch.setattr(read_arrays, "LOOKED_AT", 1 << 20)
    nothing = np.zeros((128, 128, 128), np.uint8)
    np.savez_compressed(path, own=nothing)
    with monkeypatch.context() as without:
        without.setattr(read_arrays, "read_npy", lambda *_: pytest.fail("room was made"))
        one_line(lambda: targets.load(path, "auto"), "own.npz[own]", "2,097,280 bytes of nothing but zeros")
    # A body may lie anywhere in as much of nothing.
    nothing[-3:, -3:, -3:] = 1
    np.savez_compressed(path, own=nothing)
    assert int(targets.load(path, "auto").occupied.sum()) == 27


def test_an_archive_of_thousands_shows_the_first_names(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2000):
            archive.writestr(f"a{number}.npy", b"")
    one_line(lambda: targets.load(path, "auto"), "2000 arrays", "a0, a1", "a19, … and 1,980 more")


@pytest.mark.parametrize("option", [{"nan": "x"}, {"nan": float("inf")}, {"names": []}])
def test_options_are_checked_where_they_would_mean_nothing(option: dict[str, object]) -> None:
    one_line(lambda: from_array(np.ones((3, 3, 3), int), "auto", name="own", **option), "target 'own'", next(iter(option)))


def test_an_archive_of_a_version_that_nobody_reads_is_one_line(tmp_path: Path) -> None:
    """Of all that zipfile refuses when it opens an archive, the one that is a RuntimeError."""
    path = tmp_path / "own.npz"
    np.savez(path, own=np.ones((2, 2, 2), int))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 99  # "version needed to extract", in the list of entries at the end
    path.write_bytes(data)
    one_line(lambda: targets.load(path, (8, 8, 8)), "own.npz", "zip file version 9.9", "numpy.savez")


def test_too_little_left_after_fitting() -> None:
    thin = np.zeros((40, 40, 40), bool)
    thin[0, 0, 0] = thin[-1, -1, -1] = True
    one_line(lambda: from_array(thin, (6, 6, 6), name="own", fit=True, threshold=0.5), "threshold", "no occupied cell")
    kept = from_array(thin, (6, 6, 6), name="own", fit=True)
    assert int(kept.occupied.sum()) == 2 and "thinner than a cell" in kept.notes[0]
    one_line(lambda: from_labels(np.zeros((3, 3, 3), int), "own", "own"), "no occupied cell")


def test_many_labels_are_refused_before_they_are_fitted() -> None:
    labels = np.arange(50**3).reshape(50, 50, 50)
    one_line(lambda: from_array(labels, (8, 8, 8), name="own", fit=True), "124999 different", "63")


def test_a_file_may_be_called_like_a_body(tmp_path: Path) -> None:
    path = saved(tmp_path, np.ones((1, 1, 1), int), "frog.npy")
    assert targets.load(path, (1, 1, 1)).names == ("empty", "1")


def test_a_broken_stream_of_an_npz_is_one_line(tmp_path: Path) -> None:
    """Found by the fuzzer: the header of an array lies inside the compressed stream."""
    np.savez_compressed(tmp_path / "body.npz", body=np.ones((5, 5, 5), np.uint8))
    data = bytearray((tmp_path / "body.npz").read_bytes())
    data[60:64] = b"\xff\xff\xff\xff"
    (tmp_path / "body.npz").write_bytes(data)
    one_line(lambda: targets.load(tmp_path / "body.npz", (7, 7, 7)), "body.npz", "numpy.save")


def test_a_canvas_may_be_larger_than_the_lattice_if_the_body_is_not() -> None:
    """The lattice that "auto" chooses can be asked for in numbers, too."""
    canvas = np.zeros((9, 9, 9), np.uint8)
    canvas[2:5, 1:4, 5:7] = 1
    auto = from_array(canvas, "auto")
    assert auto.size == (5, 5, 4) and bool((from_array(canvas, (5, 5, 4)).occupied == auto.occupied).all())
