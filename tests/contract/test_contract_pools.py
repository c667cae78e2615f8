"""`pools`: the pool of states, kinds of damage, diversity."""

import pytest
import torch

import pools

SIZE = (6, 7, 5)
KINDS = ("sphere", "box", "cube", "limb", "half_space", "slab", "shell", "random_cells")


@pytest.fixture
def states():
    return torch.rand(6, 5, *SIZE, generator=torch.Generator().manual_seed(0))


def test_a_pool_gives_and_takes_back(states):
    pool = pools.StatePool(states, generator=torch.Generator().manual_seed(1))
    assert len(pool) == 6
    batch = pool.sample(4)
    assert batch.index.shape == (4,) and len(set(batch.index.tolist())) == 4
    assert torch.equal(batch.states, states[batch.index]) and batch.age.tolist() == [0] * 4
    assert pool.replace(batch.index, batch.states + 1, steps=3) == {"dead": 0, "non_finite": 0}
    assert torch.equal(pool.states[batch.index], states[batch.index] + 1)
    assert pool.age[batch.index].tolist() == [3] * 4 and int(pool.age.sum()) == 12


def test_a_pool_goes_on_where_it_was_saved(states):
    pool = pools.StatePool(states, generator=torch.Generator().manual_seed(1))
    pool.sample(2)
    saved = pool.state_dict()
    assert {"states", "age", "seed", "reseeded_dead", "reseeded_non_finite", "generator"} <= saved.keys()
    twin = pools.StatePool(torch.zeros_like(states))
    twin.load_state_dict(saved)
    assert torch.equal(twin.sample(3).index, pool.sample(3).index)


def test_what_a_pool_refuses(states):
    pool = pools.StatePool(states)
    for call in (
        lambda: pool.sample(7),
        lambda: pool.sample(0),
        lambda: pool.replace(torch.tensor([1, 1]), states[:2]),
        lambda: pool.replace(torch.tensor([6]), states[:1]),
        lambda: pool.load_state_dict({}),
    ):
        with pytest.raises(ValueError, match=r"pool: \w+: found .*, allowed "):
            call()


def test_a_dead_state_becomes_the_seed(states):
    pool = pools.StatePool(states, seed=states[0])
    gone = torch.stack([torch.zeros_like(states[0]), torch.full_like(states[0], torch.nan)])
    assert pool.replace(torch.tensor([2, 3]), gone, steps=9) == {"dead": 1, "non_finite": 1}
    assert torch.equal(pool.states[2], states[0]) and torch.equal(pool.states[3], states[0])
    assert pool.age.tolist() == [0] * 6


def test_a_batch_is_prepared(states):
    losses = torch.tensor([3.0, 1.0, 9.0, 2.0, 5.0, 4.0])
    damage = pools.damage.mixture(["sphere"])
    ready = pools.prepare(states, losses, seed=states[0] * 0 + 1, damage=damage, damage_count=2)
    assert ready.fresh.tolist() == [n == 2 for n in range(6)] and ready.damaged.tolist() == [n in (1, 3) for n in range(6)]
    assert (ready.states[2] == 1).all() and torch.equal(ready.states[4], states[4])


@pytest.mark.parametrize("kind", KINDS)
def test_damage(kind):
    body = torch.zeros(SIZE, dtype=torch.bool)
    body[1:5, 1:6, 1:4] = True
    draw = getattr(pools.damage, kind)
    mask = draw(SIZE, 3, severity=0.5, body=body, generator=torch.Generator().manual_seed(2))
    assert (mask.shape, mask.dtype) == ((3, 1, *SIZE), torch.bool)
    assert (mask[:, 0] & body).flatten(1).sum(1).tolist() == [30, 30, 30], "half of the body's 60 cells"
    assert torch.equal(draw(SIZE, 1, severity=0.3), draw(SIZE, 1, severity=0.3)), "without a generator: the same again"
    state = pools.damage.apply(torch.ones(3, 4, *SIZE), mask)
    assert torch.equal(state == 0, mask.expand_as(state))
    assert kind in pools.damage.DAMAGES
    with pytest.raises(ValueError, match="severity"):
        draw(SIZE, 1, severity=1.5)


def test_a_damage_of_ones_own_enters_by_one_line(registries):
    @pools.damage.register("contract_corner")
    def corner(size, n, *, severity, body=None, generator=None):
        field = torch.stack(torch.meshgrid(*(torch.arange(s) for s in size), indexing="ij")).sum(0)
        return pools.damage.carve(field.expand(n, *size), severity=severity, body=body, generator=generator)

    mask = pools.damage.draw(["contract_corner"], SIZE, 2, severity=0.25)
    assert mask[:, 0, 0, 0, 0].all() and not mask[:, 0, -1, -1, -1].any()


def test_diversity_is_a_dict_of_floats(states):
    found = pools.diversity.summary(states, 3)
    names = "states compared distance_mean distance_nearest distance_to_mean effective_states participation_ratio dead_share"
    living = "non_finite_share living_cells_mean living_cells_std living_cells_min living_cells_max"
    assert set(f"{names} {living}".split()) <= found.keys()
    assert all(isinstance(value, float) for value in found.values())
