"""Before training: which cells of a body can't be reached, at all or in the steps that it is given."""

import torch

from nca3d.targets import Target
from nca3d.training.reach import reach_note


def body(*cells, size=(5, 5, 30)) -> Target:
    occupied = torch.zeros(size, dtype=torch.bool)
    for cell in cells:
        occupied[cell] = True
    return Target(torch.zeros(4, *size), occupied, "rgb", name="snake")


SNAKE = [(2, 2, x) for x in range(30)]


def test_a_note_names_what_is_late_and_the_way_out():
    assert reach_note(body(*SNAKE), 15) == ""
    note = reach_note(body(*SNAKE), 10)
    assert "of the 30 cells of snake, 9 lie more than 10 steps from the first cell (the farthest 15)" in note
    assert "18 to 26 steps" in note and "\n" not in note


def test_pieces_apart_are_told_with_their_share_and_what_to_do():
    note = reach_note(body(*SNAKE[:20], *[(2, 2, x) for x in range(22, 27)]), 20)
    assert "snake: 2 pieces of 20, 5 cells, more than one void cell apart: 5 of 25 cells (20 %) are out of reach" in note
    assert "pieces=join" in note and "pieces=largest" in note


def test_one_void_cell_between_is_told_as_bridged():
    note = reach_note(body(*SNAKE[:20], *SNAKE[21:]), 20)
    assert note == "note: snake: 2 pieces of 20, 9 cells with one void cell between: bridged, growth crosses it"
    both = reach_note(body(*SNAKE[:20], *SNAKE[21:25], SNAKE[28]), 20)
    assert "1 of 25 cells (4 %) are out of reach" in both and "others with one void cell between are bridged" in both
