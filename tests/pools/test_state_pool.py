"""What a pool holds, counts, saves and refuses."""

from collections.abc import Callable

import pytest
import torch

import pools

SHAPE = (4, 3, 5, 3)


def gen(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def states(n: int = 6) -> torch.Tensor:
    return torch.rand(n, *SHAPE, generator=gen()) + 0.1


def filled(n: int = 6) -> pools.StatePool:
    return pools.StatePool(states(n), generator=gen(1))


def test_the_pool_copies_what_it_is_given():
    given, seed = states(), torch.ones(SHAPE)
    pool = pools.StatePool(given, seed=seed)
    given.zero_()
    seed.zero_()
    assert torch.equal(pool.states, states()) and bool((pool.seed == 1).all()) and len(pool) == 6
    expanded = pools.StatePool(torch.ones(SHAPE).expand(3, *SHAPE))
    expanded.replace(torch.tensor([1]), torch.full((1, *SHAPE), 2.0))
    assert expanded.states.flatten(1).amax(1).tolist() == [1, 2, 1]


def test_the_first_state_is_the_seed_by_default():
    pool = filled()
    pool.replace(torch.tensor([0, 3]), torch.zeros(2, *SHAPE))
    assert torch.equal(pool.states[3], states()[0]) and pool.reseeded == {"dead": 2, "non_finite": 0}


def test_the_global_rng_is_left_alone():
    before = torch.get_rng_state()
    first = pools.StatePool(states()).sample(6).index
    assert torch.equal(first, pools.StatePool(states()).sample(6).index)
    assert torch.equal(before, torch.get_rng_state())


def test_every_slot_is_as_likely():
    pool, hits = filled(5), torch.zeros(5)
    for _ in range(2000):
        hits[pool.sample(2).index] += 1
    assert (hits / 2000 - 0.4).abs().max() < 0.05


def test_one_living_value_is_not_dead():
    new = torch.zeros(1, *SHAPE)
    new[0, 3, 2, 4, 2] = 1e-30
    pool = filled()
    assert pool.replace(torch.tensor([2]), new) == {"dead": 0, "non_finite": 0}
    assert torch.equal(pool.states[2], new[0])


def test_ages_by_number_by_sample_and_as_they_are():
    pool, index = filled(), torch.tensor([4, 1])
    pool.replace(index, states(2), steps=10)
    pool.replace(index, states(2), steps=torch.tensor([1, 2]), fresh=torch.tensor([True, False]))
    assert pool.age.tolist() == [0, 12, 0, 0, 1, 0]
    pool.replace(index, states(2), ages=torch.tensor([7, 9]))
    assert pool.age.tolist() == [0, 9, 0, 0, 7, 0]


def test_low_precision_states_are_stored_as_float32():
    pool = filled()
    pool.replace(torch.tensor([0]), states(1).bfloat16())
    assert pool.states.dtype == torch.float32 and torch.equal(pool.states[0], states(1)[0].bfloat16().float())


def test_the_saved_state_is_flat_tensors_and_a_snapshot():
    pool = filled()
    saved = pool.state_dict()
    kept = {key: value.clone() for key, value in saved.items()}
    pool.replace(pool.sample(3).index, torch.zeros(3, *SHAPE))
    assert list(saved) == ["states", "age", "seed", "reseeded_dead", "reseeded_non_finite", "generator"]
    assert saved["age"].dtype == saved["reseeded_dead"].dtype == torch.int64
    assert saved["generator"].dtype == torch.uint8
    assert all(torch.equal(saved[key], kept[key]) for key in saved)


@pytest.mark.parametrize(
    "field, spoil",
    [
        ("age", lambda saved: saved.pop("age")),
        ("extra", lambda saved: saved.update(extra=torch.zeros(()))),
        ("states", lambda saved: saved.update(states=saved["states"].double())),
        ("states", lambda saved: saved.update(states=saved["states"][:5])),
        ("states", lambda saved: saved["states"][0].fill_(torch.nan)),
        ("seed", lambda saved: saved["seed"].fill_(torch.inf)),
        ("age", lambda saved: saved["age"].fill_(-1)),
        ("age", lambda saved: saved.update(age=saved["age"].int())),
        ("reseeded_dead", lambda saved: saved.update(reseeded_dead=3)),
        ("generator", lambda saved: saved.update(generator=saved["generator"][:-1])),
        ("generator", lambda saved: saved["generator"].fill_(255)),
    ],
)
def test_a_spoiled_save_is_refused_by_field_and_changes_nothing(field: str, spoil: Callable[[dict], object]):
    pool = filled()
    before, saved = pool.state_dict(), filled().state_dict()
    saved["states"] += 1
    spoil(saved)
    with pytest.raises(ValueError, match=rf"^pool: {field}: found .*, allowed [^\n]*$"):
        pool.load_state_dict(saved)
    after = pool.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize(
    "field, call",
    [
        ("states", lambda pool: pools.StatePool(torch.zeros(3, 4, 5, 6))),
        ("states", lambda pool: pools.StatePool(torch.zeros(0, *SHAPE))),
        ("states", lambda pool: pools.StatePool(states().half())),
        ("states", lambda pool: pools.StatePool(torch.full((2, *SHAPE), torch.nan))),
        ("seed", lambda pool: pools.StatePool(states(), seed=states())),
        ("sample", lambda pool: pool.sample(0)),
        ("sample", lambda pool: pool.sample(7)),
        ("sample", lambda pool: pool.sample(2.0)),
        ("index", lambda pool: pool.replace(torch.tensor([1, 1]), states(2))),
        ("index", lambda pool: pool.replace(torch.tensor([0, 6]), states(2))),
        ("index", lambda pool: pool.replace(torch.tensor([-1, 2]), states(2))),
        ("index", lambda pool: pool.replace(torch.tensor([True, False]), states(2))),
        ("new_states", lambda pool: pool.replace(torch.tensor([0, 1]), states(1))),
        ("new_states", lambda pool: pool.replace(torch.tensor([0]), states(1)[..., :1])),
        ("new_states", lambda pool: pool.replace(torch.tensor([0]), states(1).long())),
        ("steps", lambda pool: pool.replace(torch.tensor([0]), states(1), steps=-1)),
        ("fresh", lambda pool: pool.replace(torch.tensor([0]), states(1), fresh=torch.tensor([1]))),
        ("ages", lambda pool: pool.replace(torch.tensor([0]), states(1), steps=1, ages=torch.tensor([1]))),
        ("states", lambda pool: pools.prepare(states()[0], [1.0], seed=pool.seed)),
        ("seed", lambda pool: pools.prepare(states(), torch.ones(6), seed=pool.seed[..., :1])),
        ("losses", lambda pool: pools.prepare(states(), torch.ones(5), seed=pool.seed)),
        ("damage_count", lambda pool: pools.prepare(states(), torch.ones(6), seed=pool.seed, damage_count=1)),
        (
            "damage_count",
            lambda pool: pools.prepare(
                states(), torch.ones(6), seed=pool.seed, damage_count=6, damage=pools.damage.mixture("box")
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(field: str, call: Callable[[pools.StatePool], object]):
    pool = filled()
    with pytest.raises(ValueError, match=rf"^pool: {field}: found .*, allowed [^\n]*$"):
        call(pool)
    assert torch.equal(pool.states, states()) and not pool.age.any() and pool.reseeded == {"dead": 0, "non_finite": 0}


def test_the_body_may_be_a_function_and_the_dead_value_any_number():
    bodies = torch.zeros(2, *SHAPE[1:], dtype=torch.bool)
    bodies[:, 1] = True
    ready = pools.prepare(
        states(3),
        [0.0, 1.0, 2.0],
        seed=torch.ones(SHAPE),
        damage_count=2,
        dead_value=-3.0,
        damage=lambda given, _: given[:, None],
        body=lambda hurt: bodies[: len(hurt)],
    )
    assert bool((ready.states[:2, :, 1] == -3).all())
    assert torch.equal(ready.states[:2, :, ::2], states(3)[:2, :, ::2])
