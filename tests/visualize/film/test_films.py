import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import FAST, read

import visualize
from visualize.film import encode
from visualize.film.animate import FOOTER
from visualize.frames import body_box
from visualize.render.scene import Scene


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_wrong_axis_makes_another_film(growing: np.ndarray, tmp_path: Path) -> None:
    """A mirrored or turned body is another picture at the same time; the same body is the same film, bit by bit."""
    film = read(visualize.animate(growing[3:], tmp_path / "film.gif", **FAST)).astype(int)
    again = read(visualize.animate(growing[3:], tmp_path / "again.gif", **FAST))
    assert np.array_equal(film, again)
    for name, other in {"x": growing[:, :, :, ::-1], "y": growing[:, :, ::-1], "z": growing[:, ::-1]}.items():
        mirrored = read(visualize.animate(other[3:], tmp_path / f"{name}.gif", **FAST)).astype(int)
        assert (np.abs(mirrored - film).max(axis=-1) > 60).mean(axis=(1, 2)).min() > 0.02, name


@pytest.mark.slow
def test_a_film_shows_what_volume_shows(growing: np.ndarray, tmp_path: Path) -> None:
    film = read(visualize.animate(growing, tmp_path / "film.gif", orbit=40, azimuth=20, **FAST)).astype(int)
    footer = round(96 * FOOTER)
    for index, frame in enumerate(growing):
        with Scene(
            body_box(growing), size=(96, 96 - footer), azimuths=[20 + 8 * turn for turn in range(6)], renderer="raymarch"
        ) as scene:
            still = scene.draw(frame, 20 + 8 * index)
        off = np.abs(film[index, : 96 - footer] - still).max(axis=-1)
        assert off.mean() < 2 and (off > 40).mean() < 0.005, index


@pytest.mark.slow
def test_held_frames_are_drawn_once_and_stay(growing: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    draw = Scene.draw
    monkeypatch.setattr(Scene, "draw", lambda self, frame, *rest: drawn.append(1) or draw(self, frame, *rest))
    story = growing[[2, 3, 3, 3, 4, 4, 5]]
    film = read(visualize.animate(story, tmp_path / "film.gif", **FAST)).astype(int)[:, :80]
    assert len(drawn) == 4
    moved = np.abs(np.diff(film, axis=0)).max(axis=(1, 2, 3)) > 40
    assert moved.tolist() == [True, False, False, True, False, True]
    drawn.clear()
    visualize.animate(story, tmp_path / "orbit.gif", orbit=30, **FAST)
    assert len(drawn) == len(story)


def test_activity_glows_where_and_when_alpha_changes(animal: np.ndarray, tmp_path: Path) -> None:
    cut = np.where((np.arange(17) < 9)[:, None], animal, 0).astype(np.float32)
    story = np.stack([animal, animal, cut, cut])
    film = read(visualize.animate(story, tmp_path / "glow.gif", style="activity", size=160, renderer="raymarch")).astype(int)
    glow = (film[:, :120].max(axis=-1) > 200).sum(axis=(1, 2))
    assert glow[2] > 200 and max(glow[0], glow[1], glow[3]) < glow[2] / 10
    field = np.zeros(story.shape[:4])
    field[1, 5, 5, 7] = 3.0  # a field of one's own, with a scale of its own
    own = read(visualize.animate(story, tmp_path / "own.gif", style="activity", activity=field, **FAST)).astype(int)
    assert (np.abs(own[1] - own[0])[:70].max(axis=-1) > 60).any()
    for bad, names in ((field[:2], "shape"), (field * np.nan, "finite")):
        with pytest.raises(ValueError, match="animate: activity: found") as error:
            visualize.animate(story, tmp_path / "bad.gif", style="activity", activity=bad, **FAST)
        assert names in str(error.value)
    with pytest.raises(ValueError, match="style: found 'voxels' with activity"):
        visualize.animate(story, tmp_path / "bad.gif", activity=field, **FAST)


@pytest.mark.slow
def test_what_a_scene_takes_is_passed_on(growing: np.ndarray, tmp_path: Path) -> None:
    large = FAST | {"size": 240}
    plain = read(visualize.animate(growing[-1:], tmp_path / "plain.gif", **large)).astype(int)
    given = {"legend": {"tail": "#3373a6"}, "axes": True, "quality": "high", "background": "#101014"}
    for name, value in given.items():
        other = read(visualize.animate(growing[-1:], tmp_path / f"{name}.gif", **large, **{name: value})).astype(int)
        assert (np.abs(other - plain).max(axis=-1) > 8).sum() > 100, name


def test_a_gif_keeps_paper_marks_and_shadow(animal: np.ndarray, tmp_path: Path) -> None:
    """No grey paper, no bands: colours are within a few levels of what was drawn."""
    drawn: list[np.ndarray] = []
    write = encode.write_film

    def spy(pictures: Iterator[np.ndarray], *args: Any, **keywords: Any) -> None:
        drawn.extend(pictures)
        write(iter(drawn), *args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["visualize.film.animate"], "write_film", spy)
        path = visualize.animate(np.repeat(animal[None], 2, axis=0), tmp_path / "film.gif", orbit=40, damage_at=1, **FAST)
    film = read(path).astype(int)
    off = np.abs(film - np.stack(drawn)).max(axis=-1)
    assert film[0, 0, 0].tolist() == [255, 255, 255]
    assert off.mean() < 2 and np.percentile(off, 99.5) < 16
    assert (film == (213, 94, 0)).all(axis=-1).any()


def test_progress_says_how_long_it_takes(growing: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    visualize.animate(growing[:2], tmp_path / "quiet.gif", **FAST)
    assert capsys.readouterr().err == ""
    visualize.animate(growing[:2], tmp_path / "film.gif", progress=True, **FAST)
    said = capsys.readouterr().err
    assert "2/2" in said and "<" in said  # elapsed<left


def test_one_frame_and_no_cell_make_films(animal: np.ndarray, tmp_path: Path) -> None:
    assert len(read(visualize.animate(animal[None], tmp_path / "one.webp", **FAST))) == 1
    assert read(visualize.animate(np.zeros((2, 4, 4, 4, 4)), tmp_path / "none.gif", **FAST)).max() == 255
    glow = visualize.animate(np.zeros((2, 4, 4, 4, 4)), tmp_path / "dark.gif", style="activity", **FAST)
    assert read(glow)[:, :60].max() < 100
    diverged = np.full((2, 4, 4, 4, 4), np.nan)
    magenta = read(visualize.animate(diverged, tmp_path / "nan.gif", **FAST)).astype(int)
    assert ((magenta[..., 0] - magenta[..., 1] > 100) & (magenta[..., 2] - magenta[..., 1] > 100)).mean() > 0.05


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
        ({"fps": "fast"}, "fps"),
        ({"size": 8}, "size"),
        ({"steps": ["now"] * len(growing)}, "steps"),
        ({"style": "smoke"}, "style"),
        ({"quality": "best"}, "quality"),
        ({"damage_at": {"late": "cut"}}, "damage_at"),
    ]
    for change, names in bad:
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            visualize.animate(**{"frames": growing, "path": tmp_path / "film.gif", **FAST, **change})
        assert names in str(error.value) and "\n" not in str(error.value)
    monkeypatch.setattr(encode, "has_ffmpeg", lambda: False)
    with pytest.raises(ValueError, match="viz"):
        visualize.animate(growing, tmp_path / "film.mp4", **FAST)
    assert not list(tmp_path.iterdir())
