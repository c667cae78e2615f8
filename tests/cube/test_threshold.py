"""When a cube is not sure: thresholds that are known beforehand, and records that anybody may have written."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.cube.answers import Reply
from nca3d.cube.threshold import FEWEST, Threshold, measure_threshold, threshold_of_run

KNOWN = {"split": "test", "steps": 7, "model": "abc"}
LIMIT = Threshold(0.5, 0.1, questions=40, **KNOWN)


def row(score: float, lead: float) -> list[Reply]:
    return [Reply("first", score), Reply("second", score - lead)]


def measured(cases: list[tuple[float, float, bool]]) -> Threshold:
    found = measure_threshold([row(score, lead) for score, lead, _ in cases], [right for *_, right in cases], **KNOWN)
    assert found is not None
    return found


def test_a_lead_parts_the_right_from_the_wrong() -> None:
    found = measured([(0.75, 0.25, True)] * 20 + [(0.75, 0.125, False)] * 20)
    assert (found.score, found.lead, found.questions, found.split) == (0.75, 0.125, 40, "test")
    assert not found.doubt(row(0.75, 0.25))
    assert found.doubt(row(0.75, 0.125))


def test_a_score_is_low_if_19_of_20_right_answers_are_above_it() -> None:
    found = measured([(0.5 + n / 100, 0.25, True) for n in range(40)])
    assert found.score == pytest.approx(0.52), "two of forty are below"
    assert found.lead == 0.0, "no answer was wrong, so any lead is enough, but for none at all"
    assert found.doubt(row(0.8, 0.0))
    assert not found.doubt(row(0.8, 1e-6))
    assert "0.510, is below the 0.520" in found.doubt(row(0.51, 0.5))


def test_a_cube_that_is_never_right_is_never_sure() -> None:
    found = measured([(0.9, 0.5, False)] * 40)
    assert found.doubt(row(0.99, 1.0))


def test_few_questions_measure_nothing() -> None:
    rows = [row(0.5, 0.1)] * FEWEST
    assert measure_threshold(rows, [True] * FEWEST, **KNOWN)
    assert measure_threshold(rows[1:], [True] * (FEWEST - 1), **KNOWN) is None


@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 4), st.booleans()), min_size=FEWEST, max_size=60))
def test_what_it_is_not_sure_of_for_its_lead_is_more_often_wrong_than_right(cases: list[tuple[int, int, bool]]) -> None:
    # In quarters, which floats hold exactly: equal leads must be equal.
    found = measured([(score / 4, lead / 4, right) for score, lead, right in cases])
    small = [right for score, lead, right in cases if score / 4 >= found.score and 0 < lead / 4 <= found.lead]
    assert not small or sum(small) < len(small) / 2
    for limit in range(5):  # no other limit would be better
        gains = [
            sum((1 if right else -1) for score, lead, right in cases if score / 4 >= found.score and lead / 4 > least)
            for least in (found.lead, limit / 4)
        ]
        assert gains[0] >= gains[1]


def test_a_doubt_says_which_of_the_two_it_is() -> None:
    assert LIMIT.doubt(row(0.6, 0.2)) == ""
    assert LIMIT.doubt(row(0.4, 0.2)).startswith("the best score, 0.400, is below the 0.500")
    assert LIMIT.doubt(row(0.6, 0.05)).startswith("the second answer is almost as near: its score is 0.050 less")
    assert LIMIT.doubt([Reply("the only one", 0.6)]) == "", "it has no rival"


# ---- records -------------------------------------------------------------------------------------------------------


def test_a_record_is_read_as_it_was_written() -> None:
    assert Threshold.read(json.loads(json.dumps({**LIMIT.record(), "later": 1}))) == LIMIT


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "0.5",
        {},
        *(
            {**LIMIT.record(), **wrong}
            for wrong in (
                {"score": None},
                {"score": True},
                {"lead": float("nan")},
                {"lead": 1e300},
                {"steps": 7.0},
                {"model": 3},
            )
        ),
    ],
)
def test_a_record_that_is_none_is_no_threshold(record: object) -> None:
    assert Threshold.read(record) is None


def test_a_run_has_the_threshold_of_its_own_weights_and_steps(tmp_path: Path) -> None:
    def write(place: str, text: str) -> None:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)

    assert threshold_of_run(tmp_path, "abc", 7) is None
    for damaged in ("{", "[]", "[" * 100_000, json.dumps({"threshold": 3})):
        write("report.json", damaged)
        assert threshold_of_run(tmp_path, "abc", 7) is None
    # A run of an older version has a report without a threshold; an evaluation of today adds one.
    write("report.json", json.dumps({"split": {}}))
    write("evaluate-quick/report.json", json.dumps({"threshold": LIMIT.record()}))
    assert threshold_of_run(tmp_path, "abc", 7) == LIMIT
    assert threshold_of_run(tmp_path, "other weights", 7) is None
    assert threshold_of_run(tmp_path, "abc", 8) is None
