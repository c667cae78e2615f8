"""Before training: which cells of a body can't be reached in the steps that it is given."""

import torch

from nca3d.targets import Target
from nca3d.training.reach import reach_note, steps_to_reach


def body(*cells, size=(5, 5, 30)) -> torch.Tensor:
    made = torch.zeros(size, dtype=torch.bool)
    for cell in cells:
        made[cell] = True
    return made


def as_target(occupied: torch.Tensor) -> Target:
    return Target(torch.zeros(4, *occupied.shape), occupied, "rgb", name="snake")


def test_steps_are_counted_along_the_body():
    """A snake that leaves the centre, turns, and comes back two rows further: the way counts, not the straight line."""
    there = [(2, 2, x) for x in range(15, 25)]
    back = [(2, 4, x) for x in range(15, 25)]
    away = steps_to_reach(body(*there, (2, 3, 25), *back, (0, 0, 0)))
    assert [int(away[cell]) for cell in there] == list(range(10))
    assert int(away[2, 3, 25]) == 10 and int(away[2, 4, 15]) == 20
    assert int(away[0, 0, 0]) == -1 and int(away[1, 1, 1]) == -1


def test_a_hollow_body_begins_at_its_nearest_cell():
    away = steps_to_reach(body(*[(2, 2, x) for x in range(18, 25)]))
    assert [int(away[2, 2, x]) for x in range(18, 25)] == list(range(3, 10))
    assert (steps_to_reach(body()) == -1).all()


def test_a_note_names_what_is_out_of_reach_and_the_way_out():
    snake = body(*[(2, 2, x) for x in range(30)])
    assert reach_note(as_target(snake), 15) == ""
    note = reach_note(as_target(snake), 10)
    assert "of the 30 cells of snake, 9 lie more than 10 steps from the seed (the farthest 15)" in note
    assert "18 to 26 steps" in note and "\n" not in note
    snake[0, 0, :3] = True
    assert "3 in pieces that hang on nothing" in reach_note(as_target(snake), 20)
