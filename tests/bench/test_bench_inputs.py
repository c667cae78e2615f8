"""What is measured is what its name says: size, share of living cells, and a body that stays."""

from dataclasses import replace

import pytest
import torch

import nca3d
from nca3d.bench import settings
from nca3d.bench.floor import measure_work, operations
from nca3d.bench.inputs import living_share, loss, make_rule, make_state, rough_ball
from nca3d.bench.settings import SETTINGS, Setting
from nca3d.errors import InputErrors, RunError
from nca3d.fire import fire_mask

QUICK = settings.find(["quick"])


def test_the_settings_asked_for():
    cube, body32, body64, sparse64, sparse128 = settings.find(["all"])
    assert (cube.size, cube.batch, cube.steps, cube.living, cube.bf16) == ((15, 15, 11), 8, 64, 1.0, True)
    assert (body32.size, body32.batch, body32.steps, body32.living) == ((32, 32, 32), 4, 32, 0.05)
    assert (body64.size, body64.batch, body64.steps, body64.living) == ((64, 64, 64), 2, 16, 0.05)
    assert sparse64 == replace(body64, name="sparse64", living=0.01)
    assert (sparse128.size, sparse128.steps, sparse128.living, sparse128.only) == ((128,) * 3, 64, 0.01, ("event",))
    assert all((s.channels, s.hidden, s.fire_rate) == (16, (128,), 0.5) for s in SETTINGS.values())


def test_names_and_groups_once_each():
    assert [s.name for s in settings.find(["quick-body", "quick", "quick-body"])] == ["quick-body", "quick-cube"]
    with pytest.raises(InputErrors, match=r"(?s)found 'quik', allowed .*did you mean 'quick'.*found 'x'"):
        settings.find(["quik", "cube", "x"])


@pytest.mark.parametrize("share", [0.005, 0.05, 0.3, 1.0])
def test_the_share_of_living_cells_is_the_one_asked_for(share):
    setting = Setting("s", (24, 20, 28), batch=2, steps=1, living=share)
    rule = make_rule(setting)
    state = make_state(setting, rule)
    assert state.shape == (2, 16, 24, 20, 28)
    assert living_share(state, rule) == pytest.approx(share, rel=0.04, abs=10 / (24 * 20 * 28))
    assert share == 1.0 or not torch.equal(state[0], state[1])
    assert torch.equal(state, make_state(setting, rule))


def test_the_same_body_in_a_larger_lattice():
    rule = make_rule(QUICK[0])
    small, large = (
        rough_ball((side,) * 3, 500 / side**3, rule, torch.Generator().manual_seed(4)).nonzero() - side // 2
        for side in (20, 32)
    )
    assert torch.equal(small, large)


@pytest.mark.parametrize("setting", QUICK, ids=lambda s: s.name)
def test_bodies_stay_and_work_is_counted(setting):
    rule = make_rule(setting)
    state = make_state(setting, rule)
    work = measure_work(setting, rule, state)
    assert work.living_end == pytest.approx(work.living_start, rel=0.05)
    fired, last = 0, state
    with torch.no_grad():
        for step in range(setting.steps):
            fire = fire_mask(setting.random_seed, step, range(setting.batch), setting.size, rule.fire_rate)
            fired += int((rule.alive_mask(last) & fire).sum())
            last = rule(last, fire)
    assert work.fired == pytest.approx(fired, rel=1e-3)
    assert work.fired == pytest.approx(0.5 * setting.steps * work.living_rows, rel=0.1)
    assert not torch.equal(last, state)


def test_a_body_that_dies_is_not_measured():
    setting = QUICK[1]
    rule = make_rule(setting)
    with pytest.raises(RunError, match=r"quick-body: 0 % of the cells are alive at the start"):
        measure_work(setting, rule, torch.zeros(setting.batch, 16, *setting.size))


def test_useful_operations():
    assert operations(SETTINGS["cube"], 7) == 3 * 7 * 2 * (64 * 128 + 128 * 16) == 3 * 7 * 20_480


def test_the_loss_of_a_compact_state_is_that_of_the_dense_one():
    setting = QUICK[1]
    rule = make_rule(setting)
    state = make_state(setting, rule)
    assert loss(state, rule) > 0
    torch.testing.assert_close(loss(nca3d.compact(state), rule), loss(state, rule))
