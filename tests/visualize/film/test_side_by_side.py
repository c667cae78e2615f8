from pathlib import Path

import numpy as np
import pytest
from films import read

from visualize.clock import one_clock
from visualize.film.side_by_side import HEADER, LOWEST_HEADER, side_by_side

SIDE = 96
FAST = {"size": SIDE, "renderer": "raymarch"}
HEAD = max(round(SIDE * HEADER) // 2 * 2, LOWEST_HEADER)


def panels(path: Path, across: int) -> list[np.ndarray]:
    """The bodies (T,h,w,3) of a film's first row, without names and time line."""
    film = read(path).astype(int)
    assert film.shape[2] == across * SIDE
    return [film[:, HEAD : HEAD + SIDE, left : left + SIDE] for left in range(0, across * SIDE, SIDE)]


def moved(panel: np.ndarray) -> list[bool]:
    return (np.abs(np.diff(panel, axis=0)).max(axis=(1, 2, 3)) > 40).tolist()


def test_one_clock_stops_at_every_step() -> None:
    steps, frames = one_clock({"a": [0, 2, 4, 4, 6], "b": [1, 4]}, "here")
    assert steps == [0, 1, 2, 4, 4, 6]
    assert frames == {"a": [0, 0, 1, 2, 3, 4], "b": [0, 0, 0, 1, 1, 1]}  # the second 4 is that after a cut
    with pytest.raises(ValueError, match="here: steps: found steps of 'a' that fall"):
        one_clock({"a": [1, 0]}, "here")


def test_both_bodies_change_at_their_own_steps(growing: np.ndarray, tmp_path: Path) -> None:
    steps = {"every 2": [0, 2, 4, 6, 8, 10], "every 4": [0, 4, 8]}
    films = {"every 2": growing, "every 4": growing[::2]}
    path = side_by_side(films, tmp_path / "film.gif", steps=steps, **FAST)
    fine, coarse = panels(path, 2)
    assert moved(fine) == [True] * 5
    assert moved(coarse) == [False, True, False, True, False]
    for tick in (0, 2, 4):  # at the steps that both have, both show the same body, seen alike
        assert np.abs(fine[tick] - coarse[tick]).max() < 16
    assert np.abs(fine[1] - coarse[1]).max() > 40


def test_a_short_series_holds_its_last_frame_and_says_so(growing: np.ndarray, tmp_path: Path) -> None:
    path = side_by_side({"long": growing, "short": growing[:3]}, tmp_path / "film.gif", steps=range(0, 60, 10), **FAST)
    long, short = panels(path, 2)
    assert moved(long) == [True] * 5 and moved(short) == [True, True, False, False, False]
    film = read(path).astype(int)
    names = film[:, :HEAD]
    dark = (names < 120).all(axis=-1).sum(axis=(1,))
    assert dark[:, :SIDE].sum(axis=1).min() > 20 and dark[:, SIDE:].sum(axis=1).min() > 20  # both have a name
    assert (np.abs(names[0] - names[-1])[:, :SIDE] < 8).all()
    note = np.abs(names - names[0])[:, :, SIDE:].max(axis=(1, 2, 3)) > 60
    assert note.tolist() == [False, False, False, True, True, True]
    counter = film[:, -34:, :60]
    assert all(np.abs(counter[t] - counter[t + 1]).max() > 60 for t in range(5))


def test_one_scale_whatever_the_lattice(tmp_path: Path) -> None:
    """A cube of 4 cells is as large in a lattice of 6 as in one of 30, and smaller than one of 12."""

    def cube(edge: int, lattice: int) -> np.ndarray:
        body = np.zeros((1, lattice, lattice, lattice, 4), np.float32)
        body[:, 1 : edge + 1, 1 : edge + 1, 1 : edge + 1] = (0.2, 0.3, 0.8, 1)
        return body

    path = side_by_side({"a": cube(4, 6), "b": cube(4, 30), "c": cube(12, 14)}, tmp_path / "film.gif", **FAST)
    a, b, c = [int(((panel[0, ..., 2] - panel[0, ..., 0]) > 40).sum()) for panel in panels(path, 3)]
    assert abs(a - b) < 0.05 * a and c > 5 * a > 100


@pytest.mark.slow
def test_damage_is_marked_for_all_and_four_make_two_rows(growing: np.ndarray, tmp_path: Path) -> None:
    films = dict.fromkeys("abcd", growing)
    marked = read(side_by_side(films, tmp_path / "four.webp", damage_at={3: "cut"}, style="activity", **FAST)).astype(int)
    assert marked.shape[1] > 2 * SIDE and marked.shape[2] == 2 * SIDE
    foot = marked[:, -34:]
    orange = ((foot[..., 0] > 150) & (foot[..., 2] < 80) & (foot[..., 1] < 140)).sum(axis=(1, 2))
    assert orange[0] > 0 and orange[3] > 1.5 * orange[0]


def test_bad_films_are_one_line_and_write_nothing(growing: np.ndarray, tmp_path: Path) -> None:
    good = {"a": growing, "b": growing[:2]}
    bad = [
        ({"films": {}}, "films"),
        ({"films": dict.fromkeys("abcdefghijklm", growing)}, "1..12"),
        ({"films": growing}, "mapping"),
        ({"films": {"a": growing[0]}}, "(T,D,H,W,4)"),
        ({"steps": [1, 2]}, "steps"),
        ({"steps": {"a": range(6)}}, "names"),
        ({"steps": {"a": range(6), "b": [1]}}, "b: steps"),
        ({"steps": {"a": range(6), "b": [3, 1]}}, "fall"),
        ({"damage_at": 6}, "damage_at"),
        ({"activity": {"a": growing[..., 3]}, "style": "activity"}, "activity"),
        ({"path": tmp_path / "film.avi"}, "side_by_side: path"),
        ({"size": 0}, "size"),
    ]
    for change, names in bad:
        with pytest.raises(ValueError, match=r"found .*, allowed") as error:
            side_by_side(**{"films": good, "path": tmp_path / "film.gif", **FAST, **change})
        assert names in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
