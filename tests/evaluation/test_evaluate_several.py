"""Rules of several bodies: the yardstick tells them apart, and says no where a rule takes one for another."""

import pytest

import nca3d
from nca3d.evaluation import Preset
from nca3d.evaluation.several import evaluate_several
from nca3d.reports.compare import kind_of
from nca3d.reports.report import Report
from nca3d.reports.several import several_words
from nca3d.rules import ConditionalRule

SHORT = Preset(samples=1, hold_steps=20, late_steps=0)


def two(**options) -> ConditionalRule:
    """A fresh rule of two bodies: it stays the one cell that it is."""
    rule = ConditionalRule(("cross", "heart"), channels=10, hidden=(8,), **options).requires_grad_(False)
    targets = [{"name": name, "target": name, "target_options": {}} for name in rule.conditions]
    rule.card = {"size": [8, 10, 10], "horizon": 12, "targets": targets}
    return rule


@pytest.fixture(scope="module")
def menagerie():
    return nca3d.evaluate("zoo:menagerie", preset=SHORT)


@pytest.mark.slow
def test_ten_bodies_each_have_a_row_and_the_top_has_the_worst(menagerie):
    rows = menagerie["bodies"]
    assert len(rows) == 10
    for name in ("grow_iou", "steps_held", "hold_iou_20"):
        assert menagerie[name] == min(row[name] for row in rows.values())
    assert menagerie["grow_colour_error"] == max(row["grow_colour_error"] for row in rows.values())
    assert menagerie["recovered.sphere"] == min(row["recovered"]["sphere"] for row in rows.values())
    assert menagerie["grow_iou"] > 0.95


@pytest.mark.slow
def test_bodies_are_told_apart_and_change_when_told(menagerie):
    assert menagerie["right_body.grown"] == 1.0 and menagerie["right_body.fragment"] >= 0.9
    assert menagerie["switched"] >= 0.9 and len(menagerie.spread["switched"]) == 90
    for name, row in menagerie["confusion"].items():
        assert max(row, key=row.get) == name
    assert menagerie["between"] > 0.9


@pytest.mark.slow
def test_a_rule_that_grows_the_wrong_bodies_is_told_so():
    """The same weights, each code that of the next body."""
    rule = nca3d.load("zoo:menagerie")
    rule.codes.copy_(rule.codes.roll(1, 0))
    report = evaluate_several(rule, SHORT)
    assert report["right_body.grown"] == 0.0 and report["right_body.fragment"] < 0.2
    assert report["switched"] == 0.0 and report["grow_iou"] < 0.8


def test_a_fresh_rule_grows_none_of_them():
    report = evaluate_several(two(), SHORT)
    assert report["grow_iou"] < 0.1 and report["switched"] == 0.0 and report["between"] == 1.0
    assert report["params"] == sum(parameter.numel() for parameter in two().parameters())
    assert report.about["bodies"] == ["cross", "heart"] and "beside" not in report
    assert kind_of(report).words is several_words and kind_of(Report({"grow_iou": 1.0})).words is not several_words
    words = several_words(Report.from_json(report.to_json()), ["confusion", "switch"])
    assert any(measure.name == "Changed when told" and measure.value == 0.0 for measure in words.measures)


def test_two_first_cells_grow_side_by_side():
    report = evaluate_several(two(condition="seed"), SHORT)
    assert set(report["beside"]) == {"0.5", "1", "1.5"} and max(report["beside"].values()) == 0.0
    assert "switch" not in report and "between" not in report


def test_a_rule_of_several_bodies_has_its_own_targets():
    rule = two()
    with pytest.raises(nca3d.InputError, match="a rule of several bodies has its own"):
        nca3d.evaluate(rule, rule.target("cross"))
