"""What training costs, in each line of the log: cells a second, share of the floor, memory, seconds an epoch."""

import json

import pytest
import torch
from resuming import timeless
from tiny_runs import tiny_body

import nca3d
from nca3d.executors.floor import quick_rate
from nca3d.fire import fire_mask
from nca3d.rollout import rollout
from nca3d.training.monitor import OF_THE_MOMENT, Monitor, Work, living, work_of
from nca3d.training.trainer import Trainer


def test_every_line_says_what_it_cost(tmp_path):
    config = tiny_body(iterations=6, steps=(4, 6), log_every=2, out=str(tmp_path / "run"))
    lines = nca3d.train(config, progress=False).metrics
    assert len(lines) == 3
    for line in lines:
        assert line["cells_per_second"] > 0 and line["seconds_per_epoch"] > 0 and line["floor_share"] > 0
        assert 50 < line["peak_memory_mib"] < 1e6, "an interpreter with torch in it takes more than 50 MiB"
        assert {"peak_device_memory_mib", "device_utilisation"}.isdisjoint(line), "no CUDA device"
        assert not set(timeless([line])[0]) & set(OF_THE_MOMENT)
    assert lines == [json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("changes", [{}, {"regime": "growing"}])
def test_figures_are_those_of_the_work(changes):
    config = tiny_body(batch=4, pool_size=8, steps=(4, 6), curriculum=0.0, iterations=10, ageing=9, damage_count=0, **changes)
    trainer = Trainer.begin(config)
    monitor, works = Monitor(config, trainer.rule, trainer.task.epoch), []
    for _ in range(5):
        outcome = trainer.step()
        works.append(outcome.work)
        monitor.note(outcome.work, seconds=0.25)
        assert outcome.work.steps == 4 * outcome.metrics["steps"] and outcome.work.volume == 7**3
    aged = [int(work.aged) for work in works]
    # The fifth iteration runs pooled states on, but for the one that is the seed again; growing has none.
    assert aged[:4] == [0] * 4 and aged[4] % 3 == 0 and bool(aged[4]) == (not changes)
    figures = monitor.figures()
    updates = 7**3 * (sum(work.steps for work in works) + sum(aged))
    assert figures["cells_per_second"] == pytest.approx(updates / 1.25, rel=1e-3)
    assert figures.get("seconds_per_epoch") == (None if changes else pytest.approx(0.25 * 8 / 4))
    operations = 2 * trainer.rule.multiply_adds() * float(sum(3 * work.learnt + work.run for work in works))
    rate = quick_rate(torch.device("cpu"), torch.float32, torch.get_num_threads())
    assert figures["floor_share"] == pytest.approx(operations / 1.25 / rate, rel=1e-3)
    assert "cells_per_second" not in monitor.figures(), "begun anew, and nothing has happened since"


def test_living_cells_that_fire_are_about_as_many_as_counted():
    rule = nca3d.load("zoo:cross")
    size, steps = tuple(rule.card["size"]), 40
    grown = rollout(rule, nca3d.seed_state(rule, size, batch=2), rule.card["horizon"])
    state, counted, ids = grown, 0, torch.arange(2)
    for step in range(steps):
        counted += int((rule.alive_mask(state) & fire_mask(0, step, ids, size, rule.fire_rate)).sum())
        state = rollout(rule, state, 1, first_step=step)
    work = work_of(rule, living(rule, grown), state, steps, torch.tensor([0, 7]))
    assert float(work.learnt) == pytest.approx(counted, rel=0.1)
    assert float(work.run) == pytest.approx(float(living(rule, grown)[1]) * 7 * rule.fire_rate)


def test_a_rule_that_does_not_say_what_an_update_takes_has_no_share():
    class Own(nca3d.ConvRule):
        def update(self, perception):
            return super().update(perception)

    rule = Own(8, (16,))
    state = nca3d.seed_state(rule, (5, 5, 5), batch=2)
    monitor = Monitor(tiny_body(), rule)
    monitor.note(work_of(rule, living(rule, state), state, 3, torch.tensor([1, 0])), seconds=1.0)
    figures = monitor.figures()
    assert figures["cells_per_second"] == 125 * 7 and "floor_share" not in figures and "seconds_per_epoch" not in figures


def test_work_that_is_not_known_is_left_out():
    monitor = Monitor(tiny_body(), nca3d.ConvRule(8, (16,)))
    monitor.note(None, seconds=100.0)
    monitor.note(Work(10, 4, torch.tensor(1)), seconds=1.0)
    assert monitor.figures()["cells_per_second"] == 50
