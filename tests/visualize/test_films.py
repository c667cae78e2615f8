from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import visualize
from visualize import encode
from visualize.animate import FOOTER

FAST = {"size": 96, "renderer": "raymarch"}


def read(path: Path) -> np.ndarray:
    """All frames (T,h,w,3) of a film."""
    if path.suffix == ".mp4":
        imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
        stream = imageio_ffmpeg.read_frames(str(path))
        width, height = next(stream)["size"]
        return np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in stream])
    with Image.open(path) as film:
        frames = []
        for index in range(film.n_frames):
            film.seek(index)
            frames.append(np.asarray(film.convert("RGB")))
    return np.stack(frames)


@pytest.mark.parametrize("suffix", encode.SUFFIXES)
def test_a_film_moves_and_is_read_back(growing: np.ndarray, tmp_path: Path, suffix: str) -> None:
    if suffix == ".mp4" and not encode.has_ffmpeg():
        pytest.skip("no ffmpeg here")
    path = visualize.animate(growing, tmp_path / f"film{suffix}", size=97, renderer="raymarch")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # nothing is left beside it
    film = read(path).astype(int)
    assert film.shape == (len(growing), 96, 96, 3)  # even sides
    body = film[:, : round(96 * (1 - FOOTER))]
    assert (np.abs(np.diff(body, axis=0)).max(axis=-1) > 40).sum(axis=(1, 2)).min() > 10  # no frozen frame
    share = (body.min(axis=-1) < 200).mean(axis=(1, 2))
    assert share[0] < share[-1] and share[-1] > 0.08  # it grows, and isn't blank


def test_nothing_jumps_without_an_orbit(animal: np.ndarray, tmp_path: Path) -> None:
    cut = np.where((np.arange(17) < 9)[:, None], animal, 0)
    film = read(visualize.animate(np.stack([animal, cut, animal]), tmp_path / "film.webp", **FAST)).astype(int)
    assert np.abs(film[0, :80] - film[2, :80]).max() < 40
    tail = film[:2, 20:60, :30]  # the half that stays keeps its place, light apart
    assert (np.abs(tail[0] - tail[1]).max(axis=-1) > 90).mean() < 0.02


def test_an_orbit_walks_around_and_damage_is_marked(animal: np.ndarray, tmp_path: Path) -> None:
    still = np.repeat(animal[None], 4, axis=0)
    orbit = read(visualize.animate(still, tmp_path / "orbit.webp", orbit=360, **FAST)).astype(int)
    assert np.abs(orbit[0] - orbit[2])[:80].mean() > 5
    large = FAST | {"size": 240}  # so that letters have pixels of their own
    marked = visualize.animate(still, tmp_path / "marked.gif", damage_at={2: "cut"}, steps=[0, 5, 10, 15], **large)
    bare = read(visualize.animate(still, tmp_path / "bare.gif", **large)).astype(int)
    film = read(marked).astype(int)

    def orange(frame: np.ndarray) -> int:
        footer = frame[-round(240 * FOOTER) :]
        return int(((footer[..., 0] > 150) & (footer[..., 2] < 100)).sum())

    assert orange(bare[2]) == 0 < orange(film[0])  # the mark in time
    assert orange(film[2]) > orange(film[0])  # and the word, from the cut on
    assert (np.abs(film - bare)[:, -20:, :80].max(axis=-1) > 60).sum() > 20  # the counter


def test_one_frame_and_no_cell_make_films(animal: np.ndarray, tmp_path: Path) -> None:
    assert len(read(visualize.animate(animal[None], tmp_path / "one.webp", **FAST))) == 1
    assert read(visualize.animate(np.zeros((2, 4, 4, 4, 4)), tmp_path / "none.gif", **FAST)).max() == 255


def test_bad_films_are_one_line_and_write_nothing(growing: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = [
        ({"path": tmp_path / "film.avi"}, ".mp4, .gif, .webp"),
        ({"path": tmp_path / "no" / "film.gif"}, "folder"),
        ({"frames": growing[0]}, "(T,D,H,W,4)"),
        ({"frames": growing[:0]}, "(0,"),
        ({"frames": [growing[0], growing[1, 1:]]}, "different shapes"),
        ({"steps": [1, 2]}, "steps"),
        ({"damage_at": 99}, "damage_at"),
        ({"fps": 0}, "fps"),
    ]
    for change, names in bad:
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            visualize.animate(**{"frames": growing, "path": tmp_path / "film.gif", **FAST, **change})
        assert names in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setattr(encode, "has_ffmpeg", lambda: False)
    with pytest.raises(ValueError, match="viz"):
        visualize.animate(growing, tmp_path / "film.mp4", **FAST)
    assert not list(tmp_path.iterdir())
