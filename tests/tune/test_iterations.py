"""The iterations that are timed: real ones of a run, with draws near their means."""

import pytest
import torch

import pools
from nca3d.config import Config
from nca3d.executors.memory import Memory
from nca3d.training.draws import age_states, ageing_steps, draw_steps
from nca3d.training.trainer import Trainer
from nca3d.tune.iterations import STILL, measure, pick

CONFIG = Config.load("tiny")


def test_iterations_have_the_mean_number_of_steps_and_lie_in_the_middle_of_a_run() -> None:
    trainer = Trainer.begin(CONFIG)
    picked = pick(CONFIG, trainer.task)
    assert (picked.steps, picked.most) == (11, 14)
    for number, steps in ((picked.plain, 11), (picked.longest, 14)):
        assert draw_steps(CONFIG, number, CONFIG.curriculum) == steps and number % 5
        assert number > CONFIG.curriculum * CONFIG.iterations and number > CONFIG.damage_from * CONFIG.iterations
    assert picked.aged is not None and picked.aged % 5 == 0
    assert draw_steps(CONFIG, picked.aged, CONFIG.curriculum) == pytest.approx(11, abs=1)
    assert picked.aged_steps == pytest.approx(CONFIG.ageing / 2, abs=CONFIG.ageing * 0.05)


def test_ageing_is_foretold() -> None:
    trainer = Trainer.begin(CONFIG)
    number = pick(CONFIG, trainer.task).aged
    assert number is not None
    states = trainer.pool.states[:2]
    prepared = pools.Prepared(states, *torch.zeros(2, 2, dtype=torch.bool))
    _, ages = age_states(
        CONFIG, number, trainer.task, trainer.rule, prepared, torch.zeros(2, dtype=torch.int64), torch.arange(2)
    )
    assert ages.tolist() == [ageing_steps(CONFIG, number, trainer.task)] * 2


def test_what_ages_nothing_has_plain_iterations_alone() -> None:
    config = Config.load("tiny").replace(regime="growing")
    picked = pick(config, Trainer.begin(config).task)
    assert picked.aged is None and picked.aged_steps == 0 and picked.steps == 11


@pytest.mark.slow
def test_bodies_are_grown_and_segments_are_noted() -> None:
    decide = Memory.segment
    found = measure(CONFIG.replace(memory=3), 0.5)
    assert found["segment"] == 3 and Memory.segment is decide
    # A heart of 144 cells in 245, some of them damaged; a fresh rule alone would have 27 cells alive around its first one.
    assert 0.4 < found["living"] < 0.9
    assert found["seconds"] > 0 and found["plain_all"] and found["aged_all"]
    assert STILL * CONFIG.iterations < 1e-6
