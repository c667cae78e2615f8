"""Where `slabs` cuts a batch, and what each rank borrows; rollouts on several processes are in tests/ranks."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nca3d
from nca3d.executors.slabs.cuts import BESIDE, BEYOND, Cuts, runs
from nca3d.executors.slabs.sharing import Move
from nca3d.ranks import Ranks


@st.composite
def batches(draw):
    """Rows of each plane, ranks, depth and whether samples close to a ring."""
    depth, batch = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    rows = draw(st.lists(st.sampled_from([0, 0, 1, 5, 40]), min_size=depth * batch, max_size=depth * batch))
    return rows, draw(st.integers(1, 6)), depth, draw(st.booleans())


@given(batches())
def test_every_plane_has_one_owner(batch):
    rows, ranks, depth, circular = batch
    cuts = Cuts.even(rows, ranks, depth, circular)
    assert cuts.ranks == ranks
    owned = [plane for rank in range(ranks) for plane in cuts.planes(rank)]
    assert owned == list(range(len(rows)))
    assert all(plane in cuts.planes(cuts.owner(plane)) for plane in owned)
    assert sum(cuts.rows_of_ranks(rows)) == sum(rows)


@given(batches())
def test_a_rank_borrows_what_is_within_two_planes(batch):
    """By hand: the distance of each plane of others from the nearest own one of its sample."""
    rows, ranks, depth, circular = batch
    cuts = Cuts.even(rows, ranks, depth, circular)
    for rank in range(ranks):
        own, wanted = cuts.planes(rank), {}
        for plane in set(range(len(rows))) - set(own):
            steps = [abs(plane - other) for other in own if other // depth == plane // depth]
            steps += [depth - step for step in steps if circular]
            if steps and min(steps) <= BEYOND:
                wanted[plane] = min(steps)
        assert cuts.borrowed(rank) == wanted
        assert list(cuts.borrowed(rank)) == sorted(wanted)
        lent = [plane for (giver, taker), planes in cuts.lent.items() if taker == rank for plane in planes]
        assert sorted(lent) == sorted(wanted)
    assert all(giver != taker and planes for (giver, taker), planes in cuts.lent.items())


def test_cuts_are_even():
    assert Cuts.even([4] * 8, 2, 8, False).bounds == (0, 4, 8)
    assert Cuts.even([0, 0, 9, 1, 1, 1, 6, 0], 2, 8, False).bounds == (0, 3, 8)
    assert Cuts.even([0] * 6, 3, 6, False).bounds == (0, 2, 4, 6), "planes, where nothing lives"
    assert Cuts.even([7], 3, 1, False).bounds == (0, 0, 1, 1), "more ranks than planes"
    two = Cuts.even([3] * 8, 2, 4, False)
    assert two.planes(0) == range(4)
    assert not two.lent, "two samples on two ranks have nothing to exchange"


def test_rows_move_only_where_it_pays():
    cuts = Cuts.even([4] * 8, 2, 8, False)
    assert cuts.rebalanced([4] * 8) is cuts
    assert cuts.rebalanced([4, 4, 4, 4, 4, 4, 4, 6]) is cuts, "almost even"
    assert cuts.rebalanced([1, 1, 1, 1, 9, 1, 1, 1]) is cuts, "a plane can't be cut"
    assert cuts.rebalanced([9, 9, 1, 1, 1, 1, 1, 1]).bounds == (0, 1, 8)
    assert cuts.rebalanced([0] * 8) is cuts


@given(batches(), st.data())
def test_a_move_and_its_way_back(batch, data):
    """What one rank sends another is what that one receives, row for row."""
    rows, ranks, depth, circular = batch
    old = Cuts.even(rows, ranks, depth, circular)
    new = Cuts.even(data.draw(st.permutations(rows)), ranks, depth, circular)
    moves = [Move.between(Ranks(rank, ranks), old, new, rows) for rank in range(ranks)]
    first = [sum(old.rows_of_ranks(rows)[:rank]) for rank in range(ranks)]
    after = [sum(new.rows_of_ranks(rows)[:rank]) for rank in range(ranks)]
    for rank, move in enumerate(moves):
        assert move.count == new.rows_of_ranks(rows)[rank]
        for other, place in move.sent.items():
            target = moves[other].received[rank]
            assert first[rank] + place.start == after[other] + target.start
            assert first[rank] + place.stop == after[other] + target.stop
        assert move.back(old.rows_of_ranks(rows)[rank]).received == move.sent
    assert sum(place.stop - place.start for move in moves for place in move.sent.values()) == sum(rows)


def test_runs_of_planes():
    assert list(runs([])) == []
    assert list(runs([3])) == [range(3, 4)]
    assert list(runs([0, 1, 4, 6, 7])) == [range(2), range(4, 5), range(6, 8)]
    assert BESIDE < BEYOND


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_alone_slabs_are_events(padding):
    rule = nca3d.ConvRule(channels=8, hidden=(16,), padding=padding)
    state = nca3d.seed_state(rule, (5, 5, 5), 2)
    assert torch.equal(nca3d.rollout(rule, state, 3, executor="slabs"), nca3d.rollout(rule, state, 3, executor="event"))
