"""Seeds, fire masks, rollouts and states: shapes, dtypes, golden values, and what is refused."""

import numpy as np
import pytest
import torch
from contract_tools import frozen

import nca3d

SIZE = (7, 8, 6)


@pytest.fixture
def rule():
    """One that does something: its last layer is not zero."""
    made = nca3d.ConvRule(hidden=(16,), generator=torch.Generator().manual_seed(0)).requires_grad_(False)
    last = list(made.state_dict())[-1]
    drawn = torch.randn(made.state_dict()[last].shape, generator=torch.Generator().manual_seed(1))
    made.load_state_dict({**made.state_dict(), last: 0.03 * drawn})
    return made


def test_the_seed(rule):
    state = nca3d.seed_state(rule, SIZE, batch=2)
    assert (state.shape, state.dtype) == ((2, 16, *SIZE), torch.float32)
    assert (state != 0).any(1).nonzero().tolist() == [[0, 3, 4, 3], [1, 3, 4, 3]]
    assert state[0, :, 3, 4, 3].tolist() == [0.0] * 3 + [1.0] * 13
    moved = nca3d.seed_state(rule, size=SIZE, batch=2, positions=torch.tensor([[0, 0, 0], [6, 7, 5]]))
    assert (moved != 0).any(1).nonzero().tolist() == [[0, 0, 0, 0], [1, 6, 7, 5]]
    with pytest.raises(ValueError, match="positions"):
        nca3d.seed_state(rule, SIZE, positions=torch.tensor([[7, 0, 0]]))


@pytest.mark.parametrize("entry", frozen("masks").values(), ids=lambda entry: f"seed {entry[0]}")
def test_fire_masks_are_golden(entry):
    seed, step, ids, size, rate, row = entry
    mask = nca3d.fire_mask(seed, step, torch.tensor(ids), tuple(size), rate)
    assert (mask.shape, mask.dtype) == ((len(ids), 1, *size), torch.bool)
    assert "".join(map(str, mask.int().flatten().tolist())) == row


@pytest.mark.parametrize(("where", "draw"), [((0, 0, 0, 0), 0xD941144B), ((1, 2, 3, 4), 0xD4B33233)])
def test_a_cell_fires_when_its_draw_is_below_the_rate(where, draw):
    seed, step, sample, cell = where
    for rate, fires in ((draw / 2**32 + 1e-9, True), (draw / 2**32 - 1e-9, False)):
        assert nca3d.fire_mask(seed, step, torch.tensor([sample]), (5, 5, 5), rate).flatten()[cell] == fires


def test_a_trajectory_has_the_first_every_kth_and_the_last(rule):
    seed = nca3d.seed_state(rule, SIZE, batch=2)
    path = nca3d.rollout(rule, seed, 7, random_seed=3, first_step=10, record_every=3)
    assert isinstance(path, nca3d.Trajectory)
    assert path.steps.tolist() == [10, 13, 16, 17] and path.states.shape == (4, 2, 16, *SIZE)
    assert torch.equal(path.states[0], seed)
    last = nca3d.rollout(rule, seed, 7, random_seed=3, first_step=10)
    torch.testing.assert_close(path.states[-1], last)
    assert torch.equal(nca3d.rollout(rule, seed, 0), seed)


def test_masks_and_sample_ids_can_be_given(rule):
    seed = nca3d.seed_state(rule, SIZE, batch=2)
    ids = torch.tensor([4, 9])
    drawn = torch.stack([nca3d.fire_mask(3, step, ids, SIZE, rule.fire_rate) for step in range(5)])
    given = nca3d.rollout(rule, seed, 5, fire_masks=drawn)
    torch.testing.assert_close(given, nca3d.rollout(rule, seed, 5, random_seed=3, sample_ids=ids))


@pytest.mark.parametrize("executor", ["auto", "dense", "event", "graph"])
@pytest.mark.parametrize("memory", ["auto", "keep", "recompute", 3])
def test_executors_and_memories_have_their_names(rule, executor, memory):
    if executor == "graph":
        pytest.importorskip("torch_geometric")
    grown = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 6, random_seed=2, executor=executor, memory=memory)
    reference = nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 6, random_seed=2, executor="dense")
    torch.testing.assert_close(grown, reference, rtol=0, atol=1e-5)


def test_approximate_events_are_for_cubes(rule):
    cube = nca3d.GMLPRule((3, 3, 3), features=4, memory=2, external=1, widened=4, preset="cube")
    told = torch.ones(1, 1, 3, 3, 3)
    with torch.no_grad():
        exact, near = (
            nca3d.rollout(cube, cube.rest(1), 4, inputs=told, **options)
            for options in ({"executor": "dense"}, {"executor": "event-approx", "activity_threshold": 0.0})
        )
    torch.testing.assert_close(near, exact, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="alive mask"):
        nca3d.rollout(rule, nca3d.seed_state(rule, SIZE), 1, executor="event-approx")


def test_states_are_compact_or_dense(rule):
    seed = nca3d.seed_state(rule, SIZE, batch=2)
    cells = nca3d.compact(seed)
    assert isinstance(cells, nca3d.Compact) and torch.equal(nca3d.dense(cells), seed)
    assert len(cells.values) == 2 and tuple(cells.shape) == tuple(seed.shape)
    grown = nca3d.rollout(rule, cells, 5, random_seed=1)
    assert isinstance(grown, nca3d.Compact)
    torch.testing.assert_close(nca3d.dense(grown), nca3d.rollout(rule, seed, 5, random_seed=1))


def test_what_a_rollout_refuses(rule):
    seed = nca3d.seed_state(rule, SIZE)
    for words, call in {
        "state: found shape": lambda: nca3d.rollout(rule, seed[:, :9], 1),
        "steps: found -1": lambda: nca3d.rollout(rule, seed, -1),
        "record_every: found 0": lambda: nca3d.rollout(rule, seed, 1, record_every=0),
        "fire_masks: found": lambda: nca3d.rollout(rule, seed, 2, fire_masks=torch.ones(1, 1, 1, *SIZE, dtype=torch.bool)),
        "sample_ids: found": lambda: nca3d.rollout(rule, seed, 1, sample_ids=torch.tensor([1, 2])),
        "inputs: found": lambda: nca3d.rollout(rule, seed, 1, inputs=torch.zeros(1, 1, *SIZE)),
        "did you mean 'event'": lambda: nca3d.rollout(rule, seed, 1, executor="evnt"),
    }.items():
        with pytest.raises(ValueError) as caught:
            call()
        assert words in str(caught.value) and "allowed" in str(caught.value)


def test_pictures_and_overlap(rule):
    target = nca3d.targets.load("sphere", size=SIZE)
    state = torch.zeros(2, 16, *SIZE)
    state[0, :4] = target.values
    picture = nca3d.to_rgba(state, rule)
    assert isinstance(picture, np.ndarray) and (picture.shape, picture.dtype) == ((2, *SIZE, 4), np.float32)
    assert picture.min() >= 0 and picture.max() <= 1 and not picture[1].any()
    for seen in (state, picture):
        assert nca3d.iou(seen, target).tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="lattice"):
        nca3d.iou(state[..., 1:], target)
