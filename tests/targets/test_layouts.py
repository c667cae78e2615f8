"""Arrays as people keep them: the same body in any layout that says what it is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from target_laws import one_line

from nca3d.targets import from_array, load

RGBA = np.zeros((6, 7, 8, 4), np.float32)
RGBA[1:4, 2:6, 3:7] = (1, 0.2, 0.4, 1)
RGBA[1, 2, 3] = (0, 0.6, 0.2, 1)
WANTED = from_array(RGBA, (6, 7, 8))
SAME = {
    "a hair above one": (RGBA * np.float32(1.0000001), "clipped"),
    "a hair below zero": (RGBA - np.float32(1e-6) * (RGBA == 0), "clipped"),
    "0..255 as floats": (RGBA * 255, "divided by 255"),
    "0..255 as int64": (np.rint(RGBA * 255).astype(np.int64), "divided by 255"),
    "0..65535": (np.rint(RGBA * 65535).astype(np.uint16), "divided by 65535"),
    "0..255 in uint16": (np.rint(RGBA * 255).astype(np.uint16), "divided by 255"),
    "colours of 0..255, alpha of 0..1": (RGBA * (255, 255, 255, 1), "alpha is 0..1 as it is"),
    "channels first": (np.moveaxis(RGBA, -1, 0), "channels first"),
    "channels first, bytes": (np.moveaxis(np.rint(RGBA * 255).astype(np.uint8), -1, 0), "channels first"),
    "Fortran order": (np.asfortranarray(RGBA), ""),
    "the other endianness": (RGBA.astype(">f8"), ""),
    "half": (RGBA.astype(np.float16), ""),
    "without alpha": (RGBA[..., :3], "black cells are empty"),
    "without alpha, channels first": (np.moveaxis(RGBA[..., :3], -1, 0), "black cells are empty"),
    "on white": (np.where(RGBA[..., 3:] > 0, RGBA[..., :3], 1), "corners' colour"),
}


@pytest.mark.parametrize("case", SAME)
def test_it_is_the_same_body_and_what_was_done_is_said(case: str, tmp_path: Path) -> None:
    array, said = SAME[case]
    np.save(tmp_path / "own.npy", array)
    for target in (from_array(array, (6, 7, 8)), load(tmp_path / "own.npy", (6, 7, 8))):
        assert target.occupied.equal(WANTED.occupied)
        np.testing.assert_allclose(target.values, WANTED.values, atol=2e-3)
        assert (said in " ".join(target.notes)) if said else target.notes == ()


def test_tensors_and_masks_of_any_kind() -> None:
    mask = RGBA[..., 3]
    for one in (mask > 0, mask.astype(np.float64), torch.from_numpy(mask), torch.from_numpy(mask).bool()):
        target = from_array(one, (6, 7, 8))
        assert target.names == ("empty", "body") and target.occupied.equal(WANTED.occupied)
    assert from_array(mask[..., None], (6, 7, 8)).occupied.equal(WANTED.occupied)
    assert from_array(mask[None], (6, 7, 8)).notes[0].startswith("array: (1, 6, 7, 8) is read as (6, 7, 8)")


def test_what_could_be_two_things_is_refused_with_a_line_of_numpy_that_mends_it(tmp_path: Path) -> None:
    """The line is run as it is printed, in the folder of the file."""
    first = np.moveaxis(RGBA[:, :, :4], -1, 0)
    np.save(tmp_path / "own.npy", first)
    one_line(lambda: load(tmp_path / "own.npy", (6, 7, 8)), "looks like RGBA too", "np.moveaxis(a, 0, -1)")
    with pytest.raises(ValueError) as caught:
        load(tmp_path / "own.npy", (6, 7, 8))
    import os

    line, before = str(caught.value).partition("allowed ")[2].partition(" if it is")[0], Path.cwd()
    os.chdir(tmp_path)
    try:
        exec(line, {"np": np})
    finally:
        os.chdir(before)
    assert int(load(tmp_path / "own.npy", (6, 7, 8)).occupied.sum()) == int((RGBA[:, :, :4, 3] > 0).sum())


def test_parts_of_one_are_classes_and_no_colours(tmp_path: Path) -> None:
    labels = (RGBA[..., 3] > 0) * np.where(np.arange(8) > 4, 2, 1)
    labels[2, 3, 4] = 3
    onehot = np.eye(4)[labels]
    for array, axis in ((onehot, -1), (onehot > 0, -1), (np.moveaxis(onehot, -1, 0) * 0.7 + 0.075, 0)):
        one_line(lambda array=array: from_array(array, (6, 7, 8)), "classes, not colours", f"np.argmax(a, {axis})")
    one_line(lambda: from_array(np.eye(5)[labels], (6, 7, 8)), "np.argmax(a, -1)", "(D, H, W, K)")
    one_line(lambda: from_array(RGBA[..., 3] * -2.5 + 1, (6, 7, 8)), "a <= 0", "signed distances")


def test_what_is_faint_is_said_and_pictures_are_refused() -> None:
    faint = RGBA.copy()
    faint[0, 0, 0] = (1, 1, 1, 0.05)
    assert "1 of its cells, of alpha 0.1 or less, count as empty" in from_array(faint, (6, 7, 8)).notes[0]
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    one_line(lambda: from_array(picture, (14, 12, 5)), "a picture (rows, columns, RGB)", "np.expand_dims(a, 0)")


def test_films_give_one_frame(tmp_path: Path) -> None:
    film = np.repeat(RGBA[None], 5, 0)
    film[0] = 0
    np.savez(tmp_path / "film.npz", frames=film, steps=np.arange(5))
    one_line(lambda: load(tmp_path / "film.npz", (6, 7, 8)), "key", "frames, steps", "frame = -1")
    one_line(lambda: load(tmp_path / "film.npz", (6, 7, 8), key="frames"), "frame", "5 frames", "frame = 0 to 4, or -1")
    assert load(tmp_path / "film.npz", (6, 7, 8), key="frames", frame=-1).values.equal(WANTED.values)
    one_line(lambda: load(tmp_path / "film.npz", (6, 7, 8), key="frames", frame=0), "no occupied cell")
    one_line(lambda: load(tmp_path / "film.npz", (6, 7, 8), key="frames", frame=5), "frame", "5", "-5 to 4")
    np.save(tmp_path / "film.npy", film)
    assert load(tmp_path / "film.npy", (6, 7, 8), frame=2).values.equal(WANTED.values)
    np.save(tmp_path / "one.npy", RGBA[..., 3] > 0)
    one_line(lambda: load(tmp_path / "one.npy", (6, 7, 8), frame=0), "frame", "only with a film")


def test_our_own_film_comes_back_with_its_names_and_colours(tmp_path: Path) -> None:
    import visualize

    labels = (RGBA[..., 3] > 0) * np.where(np.arange(8) > 4, 2, 1)
    path = visualize.save(
        np.stack([RGBA * 0, RGBA]),
        tmp_path / "film.npz",
        labels=np.stack([labels * 0, labels]),
        names=["empty", "bark", "leaf"],
        palette=np.array([(0, 0, 0), (90, 60, 30), (30, 200, 60)], np.uint8),
    )
    target = load(path, (6, 7, 8), key="labels", frame=-1)
    assert target.names == ("empty", "bark", "leaf") and np.rint(target.palette[2] * 255).tolist() == [30, 200, 60]
    np.testing.assert_array_equal(target.values[:-1].argmax(0), labels)
    np.testing.assert_allclose(load(path, (6, 7, 8), key="frames", frame=1).values, WANTED.values, atol=2e-3)
