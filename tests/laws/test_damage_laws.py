"""Law 10 (damage is honest) over every registered damage: a new one enters here by its line in the registry."""

import pytest
import torch
from examples import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pools import damage

FREE = [name for name in damage.DAMAGES if name not in ("cube", "limb")]  # a body has one middle and few limbs
NAMES = [*damage.DAMAGES, "corner (registered by a user)"]
SIZES = st.tuples(*[st.integers(1, 7)] * 3) | st.sampled_from([(3, 3, 3), (5, 3, 7), (11, 9, 5)])
SEVERITIES = st.floats(0, 1) | st.sampled_from([0.0, 1e-9, 0.2, 0.5, 0.999, 1.0])
KINDS = ["none", "shared", "batched", "one cell", "empty"]


@pytest.fixture(autouse=True)
def own_damage(registries):
    """A damage as a user would write it: one line of registration, one field."""

    @damage.register(NAMES[-1])
    def corner(size, n, *, severity, body=None, generator=None):
        field = torch.stack(torch.meshgrid(*(torch.arange(side) for side in size), indexing="ij")).sum(0)
        return damage.carve(field.expand(n, *size), severity=severity, body=body, generator=generator)


def a_body(kind: str, size: tuple[int, int, int], n: int, g: torch.Generator) -> torch.Tensor | None:
    if kind == "none":
        return None
    body = torch.rand((n, *size), generator=g) < torch.rand((n, 1, 1, 1), generator=g)
    if kind == "one cell":
        cell = torch.rand((n, *size), generator=g).flatten(1)
        body = (cell == cell.amax(dim=1, keepdim=True)).view(n, *size)
    elif kind == "empty":
        body = torch.zeros_like(body)
    return body[0] if kind == "shared" else body


def bits(values: torch.Tensor) -> torch.Tensor:
    return values.view(torch.int32)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(100))
@given(
    size=SIZES,
    n=st.integers(1, 4),
    severities=st.lists(SEVERITIES, min_size=4, max_size=4),
    one=st.booleans(),
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**31),
)
@example(size=(3, 3, 3), n=4, severities=[0.5, 0.5, 1.0, 0.0], one=False, kind="none", seed=0)
def test_severity_is_the_fraction_of_the_body(name, size, n, severities, one, kind, seed):
    g = torch.Generator().manual_seed(seed)
    body = a_body(kind, size, n, g)
    severity = severities[0] if one else severities[:n]
    mask = damage.DAMAGES[name](size, n, severity=severity, body=body, generator=g)
    assert mask.shape == (n, 1, *size) and mask.dtype == torch.bool
    bodies = torch.ones(n, *size, dtype=torch.bool) if body is None else body.expand(n, *size)
    for i in range(n):
        cells = int(bodies[i].sum())
        destroyed = int((mask[i, 0] & bodies[i]).sum())
        asked = (severities[0] if one else severities[i]) * cells
        allowed = range(max(1, cells))  # at least one cell left
        assert destroyed in allowed
        assert abs(destroyed - asked) == min(abs(count - asked) for count in allowed)
        if destroyed == 0:
            assert not mask[i].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(20))
@given(
    size=SIZES,
    n=st.integers(1, 3),
    channels=st.integers(1, 5),
    severity=SEVERITIES,
    seed=st.integers(0, 2**31),
    dead=st.sampled_from([0.0, -1.5]),
)
def test_all_channels_inside_nothing_outside(name, size, n, channels, severity, seed, dead):
    g = torch.Generator().manual_seed(seed)
    state = torch.randn(n, channels, *size, generator=g)
    odd = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 1e-42])
    where = torch.rand(state.shape, generator=g) < 0.3
    state[where] = odd[torch.randint(5, (int(where.sum()),), generator=g)]
    before = state.clone()
    mask = damage.DAMAGES[name](size, n, severity=severity, generator=g)
    out = damage.apply(state, mask, dead)
    inside = mask.expand_as(state)
    assert (bits(out[inside]) == bits(torch.tensor([dead]))).all()
    assert (bits(out[~inside]) == bits(state[~inside])).all()
    assert (bits(state) == bits(before)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=examples(10))
@given(seed=st.integers(0, 2**31), severity=st.floats(0.1, 0.9))
def test_the_generator_alone_decides(name, seed, severity):
    def masks(number):
        g = torch.Generator().manual_seed(number)
        return damage.DAMAGES[name]((9, 7, 11), 3, severity=severity, body=body, generator=g)

    body = torch.rand(9, 7, 11, generator=torch.Generator().manual_seed(seed)) < 0.7
    before = torch.get_rng_state()
    first = masks(seed)
    assert torch.equal(first, masks(seed))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, masks(seed + 1))


@pytest.mark.parametrize("name", FREE)
@settings(max_examples=examples(5))
@given(seed=st.integers(0, 2**31))
def test_each_sample_has_its_own_centre_and_direction(name, seed):
    g = torch.Generator().manual_seed(seed)
    mask = damage.DAMAGES[name]((9, 9, 9), 6, severity=0.3, body=torch.ones(9, 9, 9, dtype=torch.bool), generator=g)
    for i in range(6):
        for j in range(i):
            # Far beyond what the random order of equally near cells could explain.
            assert int((mask[i] ^ mask[j]).sum()) > 20


@settings(max_examples=examples(40))
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    size=SIZES,
    n=st.integers(1, 5),
    severity=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    seed=st.integers(0, 2**31),
)
def test_drawn_damage_is_honest(names, size, n, severity, seed):
    g = torch.Generator().manual_seed(seed)
    bodies = a_body("batched", size, n, g)
    low, high = severity
    mask = damage.draw(names, size, n, severity=(low, high), body=bodies, generator=g)
    assert mask.shape == (n, 1, *size)
    cells = bodies.flatten(1).sum(1)
    destroyed = (mask[:, 0] & bodies).flatten(1).sum(1)
    assert (destroyed <= (cells - 1).clamp(min=0)).all()
    assert (destroyed <= high * cells + 0.5).all()
    assert (destroyed >= torch.minimum(low * cells - 0.5, cells - 1)).all()


@settings(max_examples=examples(40))
@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    size=SIZES,
    n=st.integers(1, 3),
    severity=st.floats(0.2, 1),
    seed=st.integers(0, 2**31),
)
def test_composed_damage_is_the_union_and_leaves_a_cell(names, size, n, severity, seed):
    g = torch.Generator().manual_seed(seed)
    bodies = a_body("batched", size, n, g)
    masks = [damage.DAMAGES[name](size, n, severity=severity, body=bodies, generator=g) for name in names]
    union = masks[0].clone()
    for mask in masks:
        union |= mask
    assert torch.equal(damage.compose(*masks), union)
    spared = damage.compose(*masks, body=bodies, generator=g)
    assert not (spared & ~union).any()
    for i in range(n):
        left = int((bodies[i] & ~union[i, 0]).sum())
        expected = 1 if left == 0 and bodies[i].any() else left
        assert int((bodies[i] & ~spared[i, 0]).sum()) == expected
        assert int((union[i] ^ spared[i]).sum()) == expected - left
