"""The lattice that a body of one's own brings along where none was asked for."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from target_laws import check_laws, one_line

from nca3d import targets
from nca3d.config import FIELDS, Config
from nca3d.targets import from_array
from nca3d.targets.place import LONGEST, MAX_SIDE
from nca3d.targets.readers.images import LONGEST as LONGEST_IMAGE


def castle() -> np.ndarray:
    """Labels of 3 × 5 × 4 cells on a larger canvas, off its middle."""
    labels = np.zeros((9, 12, 10), np.uint8)
    labels[1:4, 6:11, 2:6] = np.arange(60).reshape(3, 5, 4) % 3 + 1
    return labels


def test_an_array_keeps_its_cells_and_gets_a_margin(tmp_path: Path) -> None:
    np.save(tmp_path / "castle.npy", castle())
    target = targets.load(tmp_path / "castle.npy", "auto")
    check_laws(target, (5, 7, 6), margin=1)
    np.testing.assert_array_equal(target.values[:-1].argmax(0)[1:-1, 1:-1, 1:-1].numpy(), castle()[1:4, 6:11, 2:6])
    assert target.notes == ("size = 5 × 7 × 6: the 3 × 5 × 4 cells of castle.npy and a margin of 1",)
    wide = from_array(castle(), "auto", margin=3)
    assert wide.size == (9, 11, 10) and wide.notes[0].endswith("cells of 'array' and a margin of 3")
    assert from_array(castle(), (9, 12, 10)).notes == (), "a size that was asked for is no news"


@settings(max_examples=examples(20))
@given(shape=st.tuples(*[st.integers(1, 6)] * 3), margin=st.integers(0, 2))
def test_any_extent(shape: tuple[int, int, int], margin: int) -> None:
    """No margin along an axis of one cell: what is flat stays flat."""
    target = from_array(np.ones(shape, bool), margin=margin)
    assert target.size == tuple(n if n == 1 else n + 2 * margin for n in shape)
    assert int(target.occupied.sum()) == np.prod(shape)


def test_it_turns_with_the_body() -> None:
    target = from_array(castle(), orientation="yzx")
    assert target.size == tuple(target.occupied.any((1, 2)).shape[:1]) + target.size[1:]
    assert sorted(target.size) == [5, 6, 7] and target.source_size == tuple(n - 2 for n in target.size)
    assert f"the {' × '.join(str(n - 2) for n in target.size)} cells" in target.notes[0]


def test_meshes_and_what_is_resampled_get_a_longest_side(tmp_path: Path) -> None:
    trimesh.creation.box(extents=(1.0, 4.0, 2.0)).export(tmp_path / "box.stl")
    target = targets.load(tmp_path / "box.stl", "auto")
    check_laws(target, (LONGEST // 2 + 1, LONGEST, 8), margin=1)
    assert "24 cells along the longest side of box.stl" in target.notes[0] and target.source_size is None
    assert from_array(np.ones((2, 8, 4), bool), fit=True).size == (8, LONGEST, 13)
    assert from_array(np.ones((1, 8, 4), bool), fit=True).size == (1, LONGEST, 13)


def test_a_name_has_its_own() -> None:
    assert targets.load("sphere").size == (11, 20, 15), "as in 0.1.0"
    assert targets.load("sphere", "auto").size == (10, 18, 14) == Config().size
    one_line(lambda: targets.load("sphere", "large"), "size", "'large'", "'auto'")  # type: ignore[arg-type]
    one_line(lambda: targets.load("sphere", (1, 9, 9)), "size", "[1, 9, 9]", "3 cells", "--size")


def test_too_large_is_refused_with_a_size_to_set() -> None:
    assert FIELDS["size"].high == MAX_SIDE
    body = np.zeros((1, 1, 600), bool)
    body[..., ::599] = True
    one_line(lambda: from_array(body), "1 × 1 × 600 cells", "at most 512", "--size 1 1 48 --target-options fit=true")
    cells = np.zeros((300, 300, 300), bool)
    cells[::299, ::299, ::299] = True
    one_line(lambda: from_array(cells), "300 × 300 × 300", "16,777,216", "--size 48 48 48")
    assert LONGEST_IMAGE <= MAX_SIDE


@pytest.mark.parametrize("margin", [0, 1])
def test_flat_bodies_are_resampled_in_their_plane(margin: int) -> None:
    """The one layer takes no part in the scale: in a lattice as flat, cells may be longer or shorter than a voxel."""
    small = np.random.default_rng(0).integers(0, 4, (1, 6, 5))
    small[0, 0, 0] = small[0, -1, -1] = 1
    big = small.repeat(3, 1).repeat(3, 2)
    down = from_array(big, (1, 6 + 2 * margin, 5 + 2 * margin), fit=True, margin=margin)
    np.testing.assert_array_equal(down.values[:-1].argmax(0)[0].numpy(), np.pad(small[0], margin))
    up = from_array(small, (1, 18 + 2 * margin, 15 + 2 * margin), fit=True, margin=margin)
    np.testing.assert_array_equal(up.values[:-1].argmax(0)[0].numpy(), np.pad(big[0], margin))
