"""What ranks tell each other, and who has what; ranks are threads here, see `rank_threads.py`."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rank_threads import together
from torch import Tensor

import pools
from nca3d.errors import InputError, RunError
from nca3d.process.stop import StopSignal
from nca3d.ranks import ALONE, Ranks, by_first
from nca3d.rules.by_sample import BySample, collecting, products
from nca3d.training.agreed import stopping
from nca3d.training.ranked_pool import RankedPool
from nca3d.training.shares import SLACK, Share, deal, move, split

SIZES = st.integers(1, 4)


def numbers(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# What they tell each other --------------------------------------------------------------------------------------------


@given(SIZES, st.integers(0, 50))
def test_shares_are_all_in_order_and_nearly_alike(size, count):
    shares = [Ranks(0, size).share(count, rank) for rank in range(size)]
    assert [thing for share in shares for thing in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert len(shares[0]) == max(map(len, shares)), "rank 0 logs what it sees"
    assert [Ranks(rank, size).share(count) for rank in range(size)] == shares


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any))
def test_rows_come_in_the_order_of_ranks(counts):
    rows = numbers(1, sum(counts), 2, 3)
    parts = rows.split(counts)
    for found in together(len(counts), lambda ranks: ranks.gather_rows(parts[ranks.rank], counts)):
        assert torch.equal(found, rows)


@given(SIZES)
def test_sums_have_the_same_bits_everywhere(size):
    parts = 10.0 ** numbers(2, size, 100)
    wanted = parts[0].clone()
    for part in parts[1:]:
        wanted += part
    for found in together(size, lambda ranks: ranks.sum(parts[ranks.rank])):
        assert torch.equal(found, wanted)


@given(SIZES, st.data())
def test_what_is_sent_arrives(size, data):
    pairs = [(a, b) for a in range(size) for b in range(size) if a != b]
    sent = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()

    def work(ranks: Ranks) -> dict[int, Tensor]:
        own = {to: torch.tensor([of, to]) for of, to in sent if of == ranks.rank}
        room = {of: torch.zeros(2, dtype=torch.int64) for of, to in sent if to == ranks.rank}
        ranks.exchange(own, room)
        return room

    for rank, room in enumerate(together(size, work)):
        assert {of: tensor.tolist() for of, tensor in room.items()} == {of: [of, to] for of, to in sent if to == rank}


def test_objects_and_truths():
    def work(ranks: Ranks) -> tuple:
        rank = ranks.rank
        return ranks.gather_objects({"rank": rank}), ranks.from_first(rank), ranks.any(rank == 2), ranks.any(False)

    for found in together(3, work):
        assert found == ([{"rank": 0}, {"rank": 1}, {"rank": 2}], 0, True, False)


def test_one_rank_asks_nobody():
    tensor = numbers(3, 4)
    assert ALONE.gather(tensor)[0] is tensor and ALONE.sum(tensor) is tensor and ALONE.gather_rows(tensor, [4]) is tensor
    assert ALONE.gather_objects(5) == [5] and ALONE.any(True) and ALONE.from_first(6) == 6 and not ALONE.sent_bytes


def test_what_rank_0_does_alone_it_gives_to_all():
    asked = []

    def work(ranks: Ranks) -> int:
        # What it asks of others meanwhile, it asks alone.
        return by_first(lambda: asked.append(ranks.rank) or by_first(lambda: 7))

    assert together(3, work) == [7, 7, 7] and asked == [0]


@pytest.mark.parametrize("error", [InputError("run", "out", "a file", "a folder"), RunError("the disk is full")])
def test_what_rank_0_can_not_do_fails_on_all(error):
    def fail() -> None:
        raise error from OSError(28, "No space left on device")

    def work(ranks: Ranks) -> tuple:
        with pytest.raises(type(error)) as raised:
            by_first(fail)
        return str(raised.value), raised.value.__cause__.errno

    assert together(3, work) == [(str(error), 28)] * 3


def test_all_stop_at_once_or_none_does():
    """A signal that comes to one of them while they ask is known to it alone, and waits for the next time."""

    def work(ranks: Ranks) -> tuple:
        stop, gather = StopSignal(several=True), ranks.gather

        def interrupted(tensor: Tensor) -> list[Tensor]:
            parts = gather(tensor)
            stop.requested = stop.requested or (15 if ranks.rank == 1 else None)
            return parts

        ranks.gather = interrupted
        return stopping(stop), stopping(stop), stop.requested, ranks.stopped

    assert together(3, work) == [(False, True, 15, 1)] * 3


def test_a_signal_that_came_to_all_is_nobodys():
    def work(ranks: Ranks) -> tuple:
        stop = StopSignal(several=True)
        stop.requested = 2
        return stopping(stop), ranks.stopped

    assert together(3, work) == [(True, None)] * 3


# Who runs which sample ------------------------------------------------------------------------------------------------


@given(SIZES, st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), min_size=1, max_size=9))
def test_samples_are_dealt_by_what_they_cost(size, samples):
    owner, costs = [rank % size for rank, _ in samples], [cost for _, cost in samples]
    shares = together(size, lambda ranks: deal(owner, costs))
    assert len({share.runner for share in shares}) == 1, "all know alike"
    assert [list(share.places) for share in shares] == [
        [p for p, r in enumerate(shares[0].runner) if r == k] for k in range(size)
    ]
    load = [sum(cost for cost, rank in zip(costs, shares[0].runner, strict=True) if rank == k) for k in range(size)]
    slack = SLACK * sum(costs) / size
    assert max(load) - min(load) <= max(slack, *costs), "one sample more would be too many"
    if len(costs) <= 6:
        ways = itertools.product(range(size), repeat=len(costs))
        best = min(max(sum(c for c, rank in zip(costs, way, strict=True) if rank == k) for k in range(size)) for way in ways)
        assert max(load) <= 2 * size / (size + 1) * best + slack


@given(SIZES, st.data())
def test_samples_of_one_cost_stay_where_they_lie_if_each_process_has_its_share(size, data):
    owner = data.draw(st.permutations([rank for rank in range(size) for _ in range(3)]))
    assert together(size, lambda ranks: deal(owner, [1.0] * len(owner)).runner) == [tuple(owner)] * size


@given(SIZES, st.data())
def test_rows_move_to_whom_is_to_have_them(size, data):
    batch = data.draw(st.integers(1, 7))
    ways = st.lists(st.integers(0, size - 1), min_size=batch, max_size=batch)
    before, after, rows = data.draw(ways), data.draw(ways), numbers(3, batch, 2)

    def work(ranks: Ranks) -> bool:
        old, new = Share.of(before, ranks), Share.of(after, ranks)
        return torch.equal(move(rows[old.index], old, new), rows[new.index])

    assert together(size, work) == [True] * size


@given(SIZES, st.integers(1, 7), st.data())
def test_rows_of_a_batch_come_back_in_its_order(size, batch, data):
    rows = numbers(4, batch, 2)
    runner = data.draw(st.lists(st.integers(0, size - 1), min_size=batch, max_size=batch))
    places = data.draw(st.permutations(range(batch)))[: data.draw(st.integers(1, batch))]

    def work(ranks: Ranks) -> tuple[Tensor, Tensor]:
        share = Share.of(runner, ranks)
        assert len(share) == len(share.index) == runner.count(ranks.rank)
        own = share.among(places)
        return share.whole(rows[share.index]), share.whole(rows[[places[number] for number in own]], places)

    for whole, some in together(size, work):
        assert torch.equal(whole, rows) and torch.equal(some, rows[places])


@given(SIZES, st.lists(st.sampled_from("abc"), min_size=1, max_size=7))
def test_means_are_those_of_all_samples(size, bodies):
    """Of several bodies each counts alike, however many samples it has."""
    values = numbers(5, len(bodies)).double().tolist()

    def work(ranks: Ranks) -> dict[str, float]:
        share = split(len(bodies))
        return share.mean([{"age": values[p], "iou": values[p], f"iou.{bodies[p]}": values[p]} for p in share.places])

    own = {body: [value for value, other in zip(values, bodies, strict=True) if other == body] for body in bodies}
    parts = {f"iou.{body}": sum(found) / len(found) for body, found in own.items()}
    wanted = {"age": sum(values) / len(values), "iou": sum(parts.values()) / len(parts), **parts}
    for found in together(size, work):
        assert found == pytest.approx(wanted)


def test_a_lattice_that_is_shared_out_leaves_all_samples_to_each():
    def work(ranks: Ranks) -> tuple[int, ...]:
        ranks.splits = "lattice"
        return split(3).places

    assert together(2, work) == [(0, 1, 2), (0, 1, 2)]


# A pool that lies with several ----------------------------------------------------------------------------------------

SHAPE = (2, 2, 2, 2)


def whole_pool(slots: int, bodies: int) -> pools.StatePool:
    seeds, labels = numbers(6, max(bodies, 1), *SHAPE), torch.arange(slots) % max(bodies, 1)
    own = {"labels": labels, "seed": seeds} if bodies else {"seed": seeds[0]}
    return pools.StatePool(seeds[labels], generator=torch.Generator().manual_seed(1), **own)


def ranked_pool(ranks: Ranks, slots: int, bodies: int) -> RankedPool:
    like = whole_pool(slots, bodies)
    return RankedPool(ranks, like.seeds, like.label, torch.Generator().manual_seed(1), 0.0, bool(bodies))


def evolved(states: Tensor, index: Tensor, turn: int, lost: list[str]) -> Tensor:
    """What becomes of sampled states: some of them die, others are no numbers any more."""
    new = states + numbers(turn, len(index), *SHAPE)
    for row, how in enumerate(lost):
        new[row] = {"dead": 0.0, "nan": torch.nan}.get(how, new[row])
    return new


TURNS = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.sampled_from(["", "dead", "nan"]), max_size=6), st.sets(st.integers(0, 6))),
    max_size=4,
)


@given(SIZES, SIZES, st.integers(6, 9), st.sampled_from([0, 2, 3]), TURNS, TURNS)
def test_a_pool_of_several_ranks_is_that_of_one(size, later, slots, bodies, turns, after):
    """Law 9; and a pool that any number of ranks has saved goes on with any other."""
    alone, saved = whole_pool(slots, bodies), {}

    def begin(ranks: Ranks) -> RankedPool:
        pool = ranked_pool(ranks, slots, bodies)
        if saved:
            pool.load_state_dict(saved)
        return pool

    def work(ranks: Ranks, turns: list) -> dict[str, Tensor]:
        pool = begin(ranks)
        for turn, (n, lost, reseeded) in enumerate(turns):
            lost = (lost + [""] * n)[:n]
            batch, share = pool.sample(n)
            assert torch.equal(share.whole(batch.states), wanted[turn][0])
            assert torch.equal(batch.index, wanted[turn][1].index) and torch.equal(batch.label, wanted[turn][1].label)
            whole = evolved(wanted[turn][0], batch.index, turn, lost)
            counts = pool.replace(batch.index, whole[share.index], share, ages=batch.age + turn, labels=labels_of(batch))
            assert counts == wanted[turn][2]
            pool.reseed(sorted(reseeded & set(range(slots))))
        found = pool.state_dict()
        assert len(pool.states) == sum(owner == ranks.rank for owner in pool.owner)
        return found if ranks.first else {}

    def labels_of(batch: pools.Batch) -> Tensor | None:
        return (batch.label + 1) % bodies if bodies else None

    for size_now, turns_now in ((size, turns), (later, after)):
        wanted = []
        for turn, (n, lost, reseeded) in enumerate(turns_now):
            batch = alone.sample(n)
            new = evolved(batch.states, batch.index, turn, (lost + [""] * n)[:n])
            counts = alone.replace(batch.index, new, ages=batch.age + turn, labels=labels_of(batch))
            wanted.append((batch.states, batch, counts))
            alone.reseed(sorted(reseeded & set(range(slots))))
        found = together(size_now, lambda ranks, turns_now=turns_now: work(ranks, turns_now))[0]
        assert found.keys() == alone.state_dict().keys()
        for name, tensor in alone.state_dict().items():
            assert torch.equal(found[name], tensor), name
        saved = found


# Gradients by sample --------------------------------------------------------------------------------------------------


@given(st.integers(1, 6), st.data())
def test_gradients_by_sample_are_those_of_the_batch_however_it_is_split(batch, data):
    """Law 8: to the bit between two ways to split it, and to rounding what autograd finds."""
    parts = [data.draw(st.integers(1, 6)) for _ in range(2)]
    # An odd number of cells: the numbers of most samples begin where no vector of the processor does.
    values = numbers(7, batch, 3, 343)

    def collected(part: int) -> tuple[Tensor, Tensor]:
        found, weight, grads = BySample(), numbers(8, 5, 3).requires_grad_(), []
        for places in torch.arange(batch).split(part):
            own = values[places].clone().requires_grad_()
            with found.over(places.tolist()) as collector:
                products(weight, own, collector).square().sum().backward()
            grads.append(own.grad)
        assert weight.grad is None and found.has(weight)
        return sum(found.of(weight, place) for place in range(batch)), torch.cat(grads)

    (one, states), (other, _) = collected(parts[0]), collected(parts[1])
    assert torch.equal(one, other)
    weight, whole = numbers(8, 5, 3).requires_grad_(), values.clone().requires_grad_()
    (weight @ whole).square().sum().backward()
    torch.testing.assert_close(one, weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(states, whole.grad)


def test_who_collects_is_known_within_its_context_alone():
    found, tensor = BySample(), numbers(9, 2)
    with found.over([3]):
        assert collecting() is found and found.places == [3]
    assert collecting() is None and not found.has(tensor)
    found.add(tensor, 3, torch.ones(2))
    found.add(tensor, 3, torch.ones(2))
    assert found.of(tensor, 3).tolist() == [2, 2] and found.of(tensor, 0).tolist() == [0, 0]


def test_a_leaf_stands_in_for_what_a_condition_makes():
    found, bias = BySample(), numbers(10, 2).requires_grad_()
    leaf = found.tie(1, 2 * bias)
    assert leaf is found.tie(1, 2 * bias) and leaf.is_leaf and leaf.requires_grad and torch.equal(leaf, 2 * bias)
    assert found.tied.keys() == {1}
