"""Law 9 (the pool keeps its slots), over any pool, any losses and every registered damage; law 11 for the pool."""

import math

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

import pools

SIZE, CHANNELS, ALPHA = (5, 3, 7), 5, 3
LOSSES = st.floats(allow_nan=True, allow_infinity=True, width=32)
FATES = st.sampled_from(["lives", "dead", "nan", "inf", "overflow"])


def gen(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def some_states(n: int, number: int) -> torch.Tensor:
    return torch.rand(n, CHANNELS, *SIZE, generator=gen(number)) * 0.9 + 0.05


def some_seed() -> torch.Tensor:
    seed = torch.zeros(CHANNELS, *SIZE)
    seed[ALPHA:, 2, 1, 3] = 1.0
    return seed


def rank(losses: list[float]) -> list[int]:
    """Best first; the reference, in plain Python."""
    return sorted(range(len(losses)), key=lambda i: losses[i] if math.isfinite(losses[i]) else math.inf)


@settings(max_examples=examples(60))
@given(size=st.integers(1, 20), number=st.integers(0, 2**31), data=st.data())
def test_a_sample_is_unique_and_a_copy(size, number, data):
    states = some_states(size, number)
    pool = pools.StatePool(states, generator=gen(number))
    batch = pool.sample(data.draw(st.integers(1, size)))
    assert batch.index.dtype == torch.int64 and len(set(batch.index.tolist())) == len(batch.index)
    assert torch.equal(batch.states, states[batch.index]) and torch.equal(batch.age, torch.zeros_like(batch.index))
    batch.states.fill_(7.0)
    batch.age.fill_(7)
    assert torch.equal(pool.states, states) and not pool.age.any()


@settings(max_examples=examples(80))
@given(size=st.integers(1, 12), number=st.integers(0, 2**31), dead=st.sampled_from([0.0, -1.0]), data=st.data())
def test_each_state_goes_back_to_its_own_slot(size, number, dead, data):
    """Whatever order the batch is in: slots, ages, reseeds and counts against a plain dictionary of slots."""
    states, seed = some_states(size, number), some_seed()
    pool = pools.StatePool(states, seed=seed, generator=gen(number), dead_value=dead)
    slots = {slot: (states[slot], 0) for slot in range(size)}
    counted = {"dead": 0, "non_finite": 0}
    for turn in range(3):
        batch = pool.sample(data.draw(st.integers(1, size)))
        n = len(batch.index)
        order = torch.randperm(n, generator=gen(number + turn))
        index = batch.index[order]
        steps = data.draw(st.integers(0, 50))
        fresh = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
        fates = data.draw(st.lists(FATES, min_size=n, max_size=n))
        new = some_states(n, number + 10 + turn).double()
        for i, fate in enumerate(fates):
            if fate == "dead":
                new[i] = dead
            elif fate != "lives":
                new[i, 4, 1, 2, 3] = {"nan": math.nan, "inf": -math.inf, "overflow": 1e300}[fate]
        here = {"dead": fates.count("dead"), "non_finite": n - fates.count("dead") - fates.count("lives")}
        assert pool.replace(index, new.requires_grad_(), steps=steps, fresh=fresh) == here
        for i, slot in enumerate(index.tolist()):
            if fates[i] == "lives":
                slots[slot] = (new[i].detach().float(), steps + (0 if fresh[i] else slots[slot][1]))
            else:
                slots[slot] = (seed, 0)
        counted = {reason: counted[reason] + here[reason] for reason in counted}
        assert pool.reseeded == counted
    for slot, (state, age) in slots.items():
        assert torch.equal(pool.states[slot], state) and int(pool.age[slot]) == age
    assert not pool.states.requires_grad and pool.states.isfinite().all() and pool.states.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("name", pools.damage.DAMAGES)
@settings(max_examples=examples(30))
@given(losses=st.lists(LOSSES, min_size=1, max_size=9), number=st.integers(0, 2**31), data=st.data())
def test_worst_is_the_seed_and_only_the_best_are_damaged(name, losses, number, data):
    n = len(losses)
    count = data.draw(st.integers(0, n - 1))
    states, seed = some_states(n, number), some_seed()
    before, masks = states.clone(), []

    def hurt(bodies, generator):
        assert torch.equal(bodies, states[ranked[:count], ALPHA] > 0.1)
        masks.append(pools.damage.mixture(name, severity=(0.2, 0.8))(bodies, generator))
        return masks[-1]

    ranked = rank(losses)
    ready = pools.prepare(states, torch.tensor(losses), seed=seed, damage=hurt, damage_count=count, generator=gen(number))
    assert torch.equal(states, before)
    assert ready.fresh.nonzero().flatten().tolist() == [ranked[-1]]
    assert sorted(ready.damaged.nonzero().flatten().tolist()) == sorted(ranked[:count])
    assert len(masks) == (count > 0)
    for place, i in enumerate(ranked):
        if place == n - 1:
            expected = seed
        elif place < count:
            expected = torch.where(masks[0][place], torch.zeros(()), before[i])
            assert masks[0][place].any()
        else:
            expected = before[i]
        assert torch.equal(ready.states[i], expected)


@pytest.mark.parametrize("name", [name for name in pools.damage.DAMAGES if name not in ("cube", "limb")])  # these have few
def test_each_damaged_state_has_its_own_centre(name):
    states = torch.ones(5, CHANNELS, 9, 9, 9)
    ready = pools.prepare(
        states,
        torch.arange(5.0),
        seed=torch.zeros(CHANNELS, 9, 9, 9),
        damage_count=4,
        damage=pools.damage.mixture(name, severity=0.3),
        generator=gen(1),
    )
    wounds = ready.states[:4, 0] == 0
    assert all(int((wounds[i] ^ wounds[j]).sum()) > 20 for i in range(4) for j in range(i))


@settings(max_examples=examples(25))
@given(number=st.integers(0, 2**31), size=st.integers(2, 10), data=st.data())
def test_a_turn_of_training_touches_sampled_slots_alone(number, size, data):
    states, seed, g = some_states(size, number), some_seed(), gen(number)
    pool = pools.StatePool(states, seed=seed, generator=g)
    batch = pool.sample(data.draw(st.integers(1, size)))
    n = len(batch.index)
    losses = torch.rand(n, generator=g)
    ready = pools.prepare(
        batch.states, losses, seed=pool.seed, damage=pools.damage.mixture(["sphere", "box"]), damage_count=n // 2, generator=g
    )
    pool.replace(batch.index, ready.states, steps=4, fresh=ready.fresh)
    worst, sampled = batch.index[losses.argmax()], set(batch.index.tolist())
    assert torch.equal(pool.states[worst], seed) and int(pool.age[worst]) == 4
    for slot in range(size):
        if slot not in sampled:
            assert torch.equal(pool.states[slot], states[slot]) and int(pool.age[slot]) == 0
    middle = losses.argsort()[n // 2 : -1]
    assert torch.equal(pool.states[batch.index[middle]], states[batch.index[middle]])


@settings(max_examples=examples(25))
@given(number=st.integers(0, 2**31), turns=st.integers(0, 4), later=st.integers(1, 4))
def test_a_resumed_pool_is_the_same_pool(number, turns, later):
    def evolve(pool, count):
        seen = []
        for turn in range(count):
            batch = pool.sample(3)
            new = batch.states * 1.25 + 0.1
            if turn % 2:
                new[0] = math.nan
            pool.replace(batch.index, new, steps=5)
            seen += [batch.index, batch.states, batch.age]
        return seen

    pool = pools.StatePool(some_states(6, number), generator=gen(number))
    evolve(pool, turns)
    saved = pool.state_dict()
    straight = evolve(pool, later)
    other = pools.StatePool(some_states(6, number + 1), generator=gen(number + 1))
    other.load_state_dict(saved)
    assert all(torch.equal(a, b) for a, b in zip(straight, evolve(other, later), strict=True))
    one, two = pool.state_dict(), other.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def test_without_a_seed_no_state_is_replaced() -> None:
    """The worst has a second chance; the best are damaged all the same."""
    states = torch.rand(3, 5, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    losses = torch.tensor([0.2, 0.9, 0.1])
    kept = pools.prepare(states, losses, seed=None)
    assert torch.equal(kept.states, states) and not kept.fresh.any() and not kept.damaged.any()
    hurt = pools.prepare(states, losses, seed=None, damage=pools.damage.mixture(["sphere"]), damage_count=1)
    assert hurt.damaged.tolist() == [False, False, True] and not hurt.fresh.any()
    assert torch.equal(hurt.states[:2], states[:2]) and not torch.equal(hurt.states[2], states[2])
