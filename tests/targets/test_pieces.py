"""Where growth begins in a body, and which of its cells it comes to: compared with a search that is written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import nca3d
from nca3d.errors import InputError
from nca3d.targets.pieces import Pieces

BODIES = arrays(bool, array_shapes(min_dims=3, max_dims=3, max_side=4), elements=st.booleans()).filter(np.any)


def apart(one, other) -> int:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def steps_in(cells: list, start) -> dict:
    """Steps from cell to touching cell, by a plain breadth-first search."""
    steps, front = {start: 0}, [start]
    for cell in front:
        for other in cells:
            if other not in steps and apart(cell, other) == 1:
                steps[other] = steps[cell] + 1
                front.append(other)
    return steps


def wanted_start(cells: list, size) -> tuple:
    """Law 14, word by word, for a body in one piece."""
    middle = tuple(n // 2 for n in size)
    eccentricity = {cell: max(steps_in(cells, cell).values()) for cell in cells}
    least = min(eccentricity.values())
    if eccentricity.get(middle, least + 2) <= least + 1:
        return middle
    near = {cell: sum((a - b) ** 2 for a, b in zip(cell, middle, strict=True)) for cell in cells}
    return min((near[cell], cell) for cell in cells if eccentricity[cell] == least)[1]


@given(BODIES)
def test_growth_begins_where_law_14_says(occupied):
    pieces = Pieces(occupied)
    cells = [tuple(cell) for cell in pieces.cells[pieces.piece == 0].tolist()]
    largest = np.zeros_like(occupied)
    largest[tuple(np.array(cells).T)] = True
    assert Pieces(largest).start() == wanted_start(cells, occupied.shape)


@given(BODIES)
def test_pieces_touch_and_clusters_are_two_void_cells_apart(occupied):
    pieces = Pieces(occupied)
    cells = [tuple(cell) for cell in pieces.cells.tolist()]
    for (one, a, c), (other, b, d) in product(zip(cells, pieces.piece, pieces.cluster, strict=True), repeat=2):
        assert apart(one, other) > 1 or a == b
        assert apart(one, other) > 2 or c == d
    # Numbered by size: the first is what growth begins in.
    for labels in (pieces.piece, pieces.cluster):
        sizes = np.bincount(labels).tolist()
        assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0


@given(BODIES)
def test_steps_are_counted_along_the_body(occupied):
    pieces = Pieces(occupied)
    cells = [tuple(cell) for cell in pieces.cells.tolist()]
    steps = dict(zip(cells, pieces.steps_from(cells[0]).tolist(), strict=True))
    if not pieces.piece.any():
        assert steps == steps_in(cells, cells[0])
    assert all((steps[cell] >= 0) == (number == pieces.cluster[0]) for cell, number in zip(cells, pieces.cluster, strict=True))


def test_one_void_cell_is_crossed_in_two_steps_and_two_are_not():
    row = np.zeros((1, 1, 12), bool)
    row[0, 0, [0, 1, 3, 4, 7]] = True
    pieces = Pieces(row)
    assert pieces.steps_from((0, 0, 0)).tolist() == [0, 1, 3, 4, -1]
    assert pieces.piece.tolist() == [0, 0, 1, 1, 2] and pieces.cluster.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(("name", "size"), [("torus", (14, 14, 14)), ("sphere", (24, 24, 24)), ("frog", (14, 31, 32))])
def test_a_start_is_occupied_and_no_farther_from_the_rest_than_the_cells_around_it(name, size):
    target = nca3d.targets.load(name, size=size)
    assert target.occupied[target.start]
    reach = target.pieces.steps_from(target.start).max()
    around = [tuple(cell) for cell in target.pieces.cells.tolist() if apart(cell, target.start) == 1]
    assert all(target.pieces.steps_from(cell).max() >= reach - (target.start == tuple(n // 2 for n in size)) for cell in around)


def test_of_equal_pieces_growth_begins_in_the_most_central_one():
    two = np.zeros((15, 9, 9), bool)
    two[6:9, 3:6, 3:6] = two[0:3, 3:6, 3:6] = True
    assert Pieces(two).start() == (7, 4, 4)


def test_pieces_are_joined_by_the_shortest_line_or_left_out():
    labels = np.zeros((5, 5, 16), np.uint8)
    labels[1:4, 1:4, 1:5], labels[2, 2, 8:11], labels[0, 0, 13] = 1, 2, 2
    body = {how: labels.copy() for how in ("keep", "join", "largest")}
    body["largest"][..., 6:] = 0
    for how, wanted in body.items():
        target = nca3d.targets.from_array(labels, size=(5, 5, 16), pieces=how)
        said = {"keep": "", "join": "5 more cells", "largest": "4 of 40 cells dropped"}[how]
        assert said in " ".join(target.notes) and bool(said) == bool(target.notes)
        classes = target.values[:-1].argmax(dim=0).numpy()
        if how == "join":
            assert not target.pieces.piece.any()
            assert (classes != wanted).sum() == 5 and set(classes[wanted == 0]) == {0, 1, 2}
        else:
            np.testing.assert_array_equal(classes, wanted)
        # What was added is as occupied as the rest, and what was taken away as empty.
        np.testing.assert_array_equal(target.values[-1].numpy(), target.occupied.numpy())
        np.testing.assert_array_equal(classes > 0, target.occupied.numpy())


def test_another_word_for_pieces_is_refused():
    with pytest.raises(InputError, match="pieces: found 'glue', allowed keep, join, largest"):
        nca3d.targets.load("torus", size=(14, 14, 14), pieces="glue")
