"""One look-up for what a cube said: which answers it means, and whether it is right, with ties counted against it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.answers import EQUAL, judge, top_answers
from nca3d.errors import RunError


def test_equals_stand_in_the_order_of_the_set() -> None:
    said, goals = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 2.0], [1.0, 1.0 + 1e-7]])
    for best in (1, 2, 3, 4, 9):
        assert [reply.answer for reply in top_answers(said, goals, "abcd", best)[0]] == list("bcda")[:best]


def test_what_is_no_number_is_no_answer() -> None:
    with pytest.raises(RunError, match="not a finite number"):
        top_answers(torch.tensor([[1.0, torch.nan]]), torch.eye(2), "ab", 1)


def test_what_is_no_number_is_wrong() -> None:
    said = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [torch.inf, 1.0]])
    judged = judge(said, torch.eye(2), torch.tensor([0, 0, 0]))
    assert judged.top1.tolist() == [True, False, False]
    assert judged.cosine.tolist() == [1.0, -1.0, -1.0]


def test_a_tie_is_not_right_and_rounding_makes_ties() -> None:
    goals = torch.tensor([[1.0, 1.0], [1.0, 1.0 + EQUAL / 10], [1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([0, 1, 2])
    assert judge(goals[:3], goals, right).top1.tolist() == [False, False, True]
    constant = judge(torch.ones(4, 2), torch.ones(4, 2), torch.arange(4))
    assert not constant.top1.any()
    assert constant.top5.all()


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 3))
def test_judged_right_is_answered_first(seed: int, count: int, levels: int) -> None:
    """Coarse numbers, so that there are ties: what is judged right is told first, and what is told first is right or tied."""
    generator = torch.Generator().manual_seed(seed)
    said, goals = (torch.randint(-levels, levels + 1, (count, 2), generator=generator).float() for _ in range(2))
    right = torch.arange(count)
    judged = judge(said, goals, right)
    for place, row in enumerate(top_answers(said, goals, range(count), count)):  # type: ignore[arg-type]
        order = [int(reply.answer) for reply in row]
        own = next(reply.score for reply in row if int(reply.answer) == place)
        others = [reply.score for reply in row if int(reply.answer) != place]
        assert not judged.top1[place] or order[0] == place
        assert not judged.top5[place] or place in order[:5]
        assert bool(judged.top1[place]) == all(own - other > EQUAL for other in others)
