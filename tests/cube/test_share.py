"""How ranks share a cube out: who has which cells and sees which, and which weights; `tests/ranks` lets them speak."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nca3d
from nca3d.cube.rows import neighbour_table
from nca3d.cube.share import Share
from nca3d.cube.weights import MODES
from nca3d.errors import ArgumentError
from nca3d.ranks import Ranks

CELL = {"features": 4, "memory": 2, "external": 0, "widened": 4, "preset": "cube"}


def shares(size: tuple[int, int, int], count: int) -> list[Share]:
    return [Share(size, Ranks(rank, count)) for rank in range(count)]


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(1, 6))
def test_what_one_rank_sees_the_other_shows(size, count):
    count = min(count, size[1] * size[2])
    ranks, table = shares(size, count), neighbour_table(size)
    cells = len(table)
    assert torch.equal(torch.cat([share.own for share in ranks]).sort().values, torch.arange(cells))
    assert max(len(share.own) for share in ranks) - min(len(share.own) for share in ranks) <= size[0]
    for rank, share in enumerate(ranks):
        # By numbers here, the number in the lattice; one more is what lies outside.
        lattice = torch.full((share.rows + 1,), cells)
        lattice[: len(share.own)] = share.own
        for other, places in share.seen.items():
            lattice[places] = ranks[other].own[ranks[other].shown[rank]]
        assert (lattice[: share.rows] < cells).all()
        # What own cells see is what they see in the lattice; and the front comes first.
        assert torch.equal(lattice[share.table[: len(share.own)]], table[share.own])
        assert torch.equal(share.own[: share.front], share.own[share.own < size[1] * size[2]])
        # A seen cell knows those of its neighbours that are here, of which each has something for it.
        back = lattice[share.table[len(share.own) :]]
        assert ((back == table[lattice[len(share.own) : share.rows]]) | (back == cells)).all()
        assert (share.rows <= share.most_rows) and share.most_rows == max(one.rows for one in ranks)


def test_there_is_a_column_for_each_rank():
    with pytest.raises(ArgumentError, match="ranks: found 7, allowed at most the 6 columns"):
        Share((3, 2, 3), Ranks(0, 7))


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_those_of_the_whole_cube(mode):
    """Drawn, cut out of the whole, and loaded: the same numbers."""

    def made(ranks: Ranks | None, seed: int = 0) -> nca3d.GMLPRule:
        # More cells than are drawn at once.
        generator = torch.Generator().manual_seed(seed)
        return nca3d.GMLPRule((3, 10, 10), **CELL, weights=mode, types_by="learned", generator=generator, ranks=ranks)

    whole = made(None)
    for rank in range(3):
        drawn, cut, loaded = made(Ranks(rank, 3)), made(None), made(Ranks(rank, 3), seed=1)
        cut.share_out(Ranks(rank, 3))
        loaded.load_state_dict(whole.state_dict())
        for name, weight in whole.named_parameters():
            places = drawn.sharded().get(name)
            expected = weight if places is None else weight[places]
            for rule in (drawn, cut, loaded):
                assert torch.equal(rule.get_parameter(name), expected), name
        assert drawn.cells.count() + drawn.cells.elsewhere() == whole.cells.count()
        assert drawn.spec() == whole.spec()
    assert whole.sharded() == {} and whole.whole() is whole


def test_a_share_runs_nowhere_but_on_its_ranks():
    rule = nca3d.GMLPRule((3, 2, 2), **CELL, ranks=Ranks(1, 2))
    with pytest.raises(ArgumentError, match="ranks: found rank 0 of 1 with the cells of rank 1 of 2"):
        nca3d.rollout(rule, rule.rest(1), 1)


def test_a_step_of_ones_own_stays_whole():
    class Own(nca3d.GMLPRule):
        def perception(self, padded: torch.Tensor, external: torch.Tensor, cells: slice) -> torch.Tensor:
            return 2 * super().perception(padded, external, cells)

    assert Own((3, 2, 2), **CELL, ranks=Ranks(1, 2)).cells.share is None
