"""The bodies that need numpy alone: crisp, whole, inside the margin, and as lopsided as they claim."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from target_laws import check_laws

from nca3d import targets
from nca3d.targets.sculpt import label_pieces

ANALYTIC = ("axolotl", "mushroom", "toucan", "cross", "gyroid", "heart", "letter", "sphere", "torus")
LARGE = ("oak", "coral", "island", "castle", "cathedral")
SIZES = ((11, 20, 15), (16, 16, 16), (24, 21, 25))


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ANALYTIC)
def test_a_body_is_crisp_whole_centred_and_fills_the_room(name: str, size: tuple[int, int, int]) -> None:
    target = targets.load(name, size)
    cells = check_laws(target, size, margin=1)
    low, high = cells.min(0), cells.max(0) + 1
    assert np.abs(low + high - np.array(size)).max() <= 3, "more than a cell and a half off the middle"
    assert (np.array(size) - 2 - (high - low)).min() <= 2, "no axis is filled"
    assert set(np.unique(target.values[3].numpy())) == {0.0, 1.0}
    assert label_pieces(target.occupied.numpy()).max() == 1
    assert target.occupied[target.start]


@pytest.mark.parametrize(
    ("name", "least", "kinds"),
    [("oak", 1200, 4), ("castle", 1300, 30), ("cathedral", 2900, 24), ("coral", 1000, 0), ("island", 10_000, 6)],
)
def test_a_large_body_hangs_together_has_all_its_kinds_and_no_symmetry(name: str, least: int, kinds: int) -> None:
    target = targets.load(name, "auto")
    cells = check_laws(target, target.size, margin=1)
    assert len(cells) >= least and target.occupied[target.start] and not target.pieces.piece.any()
    labels = target.values[:-1].argmax(0).numpy()
    assert kinds == (len(np.unique(labels)) - 1 if target.kind == "classes" else 0)
    box = target.occupied.numpy()[tuple(slice(a, b + 1) for a, b in zip(cells.min(0), cells.max(0), strict=True))]
    assert [way for way, turned in all_turns(box) if np.array_equal(turned, box)] == ["(0, 1, 2) (False, False, False)"]
    np.testing.assert_array_equal(targets.load(name, "auto").occupied, target.occupied)


@pytest.mark.parametrize("name", ["castle", "cathedral"])
def test_blocks_keep_their_cells_where_there_is_room_and_are_resampled_elsewhere(name: str) -> None:
    home = targets.load(name, "auto")
    depth, height, width = home.size
    roomy = targets.load(name, (depth + 2, height + 1, width + 3))
    assert roomy.cells == home.cells and roomy.names == home.names
    assert targets.load(name, (depth // 2 + 2, height // 2 + 2, width // 2 + 2)).cells < home.cells / 3
    assert targets.load(name, (2 * depth + 2, 2 * height + 2, 2 * width + 2)).cells > 5 * home.cells


@pytest.mark.parametrize("margin", [0, 2, 3])
def test_the_margin_is_kept(margin: int) -> None:
    for name in ("axolotl", "torus", "cross"):
        check_laws(targets.load(name, (14, 15, 16), margin=margin), (14, 15, 16), margin)


def all_turns(array: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The 48 ways to permute and flip three axes."""
    turns = []
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            turned = np.flip(array.transpose(order), [axis for axis in range(3) if flips[axis]])
            turns.append((f"{order} {flips}", turned))
    return turns


@pytest.mark.parametrize(
    ("name", "sizes"), [("cross", ((16, 16, 16), (21, 21, 21))), ("axolotl", ((20, 20, 20), (32, 32, 32)))]
)
def test_no_symmetry(name: str, sizes: tuple[tuple[int, int, int], ...]) -> None:
    for size in sizes:
        # Compared inside its own box: a symmetry about any centre counts.
        body = targets.load(name, size).occupied.numpy()
        cells = np.argwhere(body)
        box = body[tuple(slice(a, b + 1) for a, b in zip(cells.min(0), cells.max(0), strict=True))]
        same = [way for way, turned in all_turns(box) if np.array_equal(turned, box)]
        assert same == ["(0, 1, 2) (False, False, False)"]


def test_the_default_body_is_small_enough_to_learn_and_starts_at_the_centre() -> None:
    target = targets.load("axolotl", (11, 20, 15))
    assert 350 <= int(target.occupied.sum()) <= 480
    assert target.occupied[5, 10, 7] and target.start == (5, 10, 7)
    colours = {tuple(np.round(c, 1)) for c in target.rgba()[target.occupied.numpy()][:, :3]}
    assert len(colours) >= 6  # skin, belly, gills, fin, legs, eyes
    dark = (target.rgba()[..., :3].max(-1) < 0.2) & target.occupied.numpy()
    assert 2 <= dark.sum() <= 12 and len(np.unique(np.argwhere(dark)[:, 2] > 7)) == 2, "an eye on each side"


@pytest.mark.slow
def test_every_letter_is_drawn_and_they_differ() -> None:
    from nca3d.targets.analytic import LETTERS

    drawn = {sign: targets.load("letter", (13, 5, 13), text=sign).occupied.numpy() for sign in LETTERS}
    assert len(LETTERS) == 36
    for one, other in itertools.combinations(sorted(set(LETTERS) - {"0"}), 2):  # a nought is drawn as an O
        assert not np.array_equal(drawn[one], drawn[other]), (one, other)
    word = targets.load("letter", (12, 5, 40), text="nca")
    assert label_pieces(word.occupied.numpy()).max() == 1
    np.testing.assert_array_equal(word.values.numpy(), targets.load("letter", (12, 5, 40), text="NCA").values.numpy())


def test_pieces_are_counted_by_faces() -> None:
    body = np.zeros((3, 4, 5), bool)
    body[0, 0, 0] = body[1, 1, 1] = body[1, 1, 2] = body[2, 1, 2] = True  # the first touches by a corner only
    pieces = label_pieces(body)
    assert pieces.max() == 2 and sorted(np.bincount(pieces[body])[1:]) == [1, 3]
    assert label_pieces(np.ones((2, 2, 2), bool)).max() == 1 and label_pieces(np.zeros((2, 2, 2), bool)).max() == 0


def test_the_catalogue_is_cheap_and_says_a_line_about_each() -> None:
    lines = targets.catalogue()
    assert {*ANALYTIC, *LARGE} | {"frog", "ant", "channels"} <= set(lines)
    assert all(line and "\n" not in line for line in lines.values())
    code = "import nca3d.targets as t, sys; t.catalogue(); print(*(m in sys.modules for m in ('pyvista', 'trimesh', 'torch')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False"] * 3
