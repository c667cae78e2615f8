"""A run looks at its body now and then, ends when that was whole for a while, and says what was the matter if it never was."""

import json

import pytest
from tiny_runs import tiny_body

from nca3d import train
from nca3d.config import Config
from nca3d.training.course import ENDING, EVERY, IN_A_ROW, Course, Look
from nca3d.training.growth import Growth

WHOLE = Look(0, 1.0, 1.0, 1.0, 1.0)


def after(*looks: Look) -> Course:
    course = Course()
    for look in looks:
        course = course.after(look)
    return course


def test_it_ends_only_after_several_looks_in_a_row() -> None:
    config = Config(iterations=5000, stop_when_whole=True)
    torn = WHOLE._replace(iteration=300, healed=0.9)
    course = after(WHOLE._replace(iteration=100), WHOLE._replace(iteration=200), torn)
    assert not course.whole_at and course.end(config) == 5000 and course.factor(config, 301) == 1.0
    for number in (400, 500, 600):
        assert not course.whole_at
        course = course.after(WHOLE._replace(iteration=number))
    assert course.whole_at == 600 and course.end(config) == round(600 * (1 + ENDING))
    factors = [course.factor(config, number) for number in range(600, course.end(config) + 1)]
    assert factors[0] == 1.0 and factors == sorted(factors, reverse=True)
    assert factors[-1] == pytest.approx(config.final_learning_rate)
    assert Course.of(json.loads(json.dumps(course.plain()))) == course


def test_whoever_asks_to_go_on_goes_on() -> None:
    course = after(*(WHOLE._replace(iteration=100 * k) for k in range(1, 1 + IN_A_ROW)))
    config = Config(iterations=1000, stop_when_whole=False)
    assert course.whole_at and course.end(config) == 1000 and course.factor(config, 900) == 1.0


def test_it_never_ends_later_than_it_was_asked_to() -> None:
    looks = [WHOLE._replace(iteration=1400 + 50 * k) for k in range(IN_A_ROW)]
    assert after(*looks).end(Config(iterations=1550, stop_when_whole=True)) == 1550


def test_looks_are_due_once_rollouts_are_long_and_bodies_are_hurt() -> None:
    config = Config(iterations=2000, damage_from=0.4, stop_when_whole=True)
    due = [number for number in range(1, 2001) if Course().due(config, number)]
    assert due == list(range(900, 2001, EVERY))
    assert not any(Course().due(config.replace(stop_when_whole=False), number) for number in due)


@pytest.mark.parametrize(
    ("grown", "said"),
    [
        ([0.5, 0.6, 0.7, 0.8], "still growing"),
        ([0.72, 0.72, 0.721, 0.722], "stuck since iteration 0"),
        ([0.3, 0.6, 0.35, 0.55], "wavering between 0.30 and 0.60"),
    ],
)
def test_what_was_the_matter(grown: list[float], said: str) -> None:
    course = after(*(Look(100 * k, value) for k, value in enumerate(grown)))
    assert said in course.told(Config(), 100.0)


def test_bodies_that_die_young_are_told() -> None:
    looks = [Look(100 * k, 0.7, alive=0.75) for k in range(4)]
    assert "25 % of the bodies died young: the loss term first_cell" in after(*looks).told(Config(), 100.0)
    asked = Config(losses={"rgba": 1.0, "first_cell": 1.0})
    assert "25 % of the bodies died young: --seed-every 1" in after(*looks).told(asked, 100.0)


def test_what_more_iterations_would_have_bought() -> None:
    looks = [Look(100 * k, 0.998, 1.0, 0.997, 1.0) for k in (10, 11, 12)]
    line = after(*looks).told(Config(iterations=4000, stop_when_whole=True), seconds=144.0)
    assert "whole since iteration 1,000" in line and "ended at 1,440 of 4,000" in line
    assert "4 minutes, would have bought at most 0.003" in line


@pytest.mark.slow
def test_a_tiny_body_ends_early_and_the_same_when_it_is_cut(tmp_path, monkeypatch) -> None:
    easily_whole(monkeypatch)
    config = Config.load("tiny").replace(save_every=90, report=False)
    whole = train(config.replace(out=str(tmp_path / "whole")), report=False)
    end = whole.metrics[-1]["iteration"]
    assert end < config.iterations, "it ended early"
    # Cut between two looks, and resumed.
    from nca3d.training.loop import Trainer

    monkeypatch.setattr(Trainer, "step", stopping(Trainer.step, 110))
    with pytest.raises(KeyboardInterrupt):
        train(config.replace(out=str(tmp_path / "cut")), report=False)
    monkeypatch.undo()
    easily_whole(monkeypatch)
    again = train(config.replace(out=str(tmp_path / "cut")), resume=tmp_path / "cut", report=False)
    assert again.metrics[-1]["iteration"] == end
    for name, tensor in whole.rule.state_dict().items():
        assert (tensor == again.rule.state_dict()[name]).all(), name


def easily_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that is about there counts as whole, and is looked at often."""
    monkeypatch.setattr("nca3d.training.course.EVERY", 20)
    for place in ("course", "growth"):
        monkeypatch.setattr(f"nca3d.training.{place}.WHOLE", 0.6)
    monkeypatch.setattr("nca3d.training.course.RECOVERED", 0.3)


def stopping(step, at: int):
    def stop(self):
        if self.iteration == at:
            raise KeyboardInterrupt
        return step(self)

    return stop


def test_three_looks_cut_a_body_from_all_sides():
    """A body that heals from five sides is not whole: its roof is missing."""
    task = Growth(tiny_body())
    body = task.target.occupied.expand(4, -1, -1, -1)
    lost = set()
    for iteration in (700, 800, 900):
        halves = task._halves(body, iteration)[:, 0] & body
        assert all(abs(int(half.sum()) - task.target.cells / 2) <= 1 for half in halves)
        for half in halves:
            way = half.nonzero().double().mean(0) - body[0].nonzero().double().mean(0)
            axis = int(way.abs().argmax())
            lost.add((axis, bool(way[axis] > 0)))
    assert len(lost) == 6
