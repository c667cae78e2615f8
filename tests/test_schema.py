"""Tables are compared with what they may hold: all errors at once, each with its place, and never another one."""

import copy
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nca3d.errors import InputError
from nca3d.schema.record import MOST_ERRORS, Open, check_record, optional, plain, required
from nca3d.schema.saved import check_scalars

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Part(Open):
    name: str = required("its name")


@dataclass(frozen=True)
class Whole:
    count: int = required("how many", low=1, high=9)
    share: float = optional("how much", low=0, high=1)
    note: str | None = optional("a note")
    parts: tuple[Part, ...] = optional("its parts")
    first: Part = optional("the first of them")
    rest: Any = optional("anything")


GOOD = {"count": 3, "share": 1, "note": None, "parts": [{"name": "a", "more": 1}], "first": {"name": "b"}, "rest": [{}]}


def lines(value: object, shape: type = Whole) -> list[str]:
    with pytest.raises(InputError) as caught:
        check_record(value, shape, "file")
    return str(caught.value).split("\n")


def test_what_fits_is_silent():
    check_record(GOOD, Whole, "file")
    check_record({"count": 1}, Whole, "file")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"count": 0}, "file: count: found 0, allowed an integer from 1 to 9"),
        ({"count": True}, "file: count: found True, allowed an integer from 1 to 9"),
        ({"count": 2.0}, "file: count: found 2.0, allowed an integer from 1 to 9"),
        ({"share": float("nan")}, "file: share: found nan, allowed a number from 0 to 1"),
        ({"share": None}, "file: share: found None, allowed a number from 0 to 1"),
        ({"note": 3}, "file: note: found 3, allowed text, not empty, or null"),
        ({"parts": {}}, "file: parts: found {}, allowed a list of tables"),
        ({"parts": [{"name": "a"}, {}]}, "file: parts[1].name: found no such field, allowed text, not empty"),
        ({"first": []}, "file: first: found [], allowed a table"),
        ({"rest": [float("inf")]}, "file: rest: found [inf], allowed finite numbers, texts, lists and tables"),
        (
            {"coutn": 1},
            "file: coutn: found an unknown field, allowed the fields count, share, note, parts, first, rest"
            "; did you mean 'count'?",
        ),
    ],
)
def test_each_mistake_has_its_line(change, line):
    assert lines({**GOOD, **change}) == [line]


def test_all_at_once_and_no_more_than_can_be_read():
    assert [line.split(": ")[1] for line in lines({"share": 2, "parts": [{}], "other": 1})] == [
        "count",
        "share",
        "parts[0].name",
        "other",
    ]
    assert lines({"count": 1, **{f"k{n}": 0 for n in range(60_000)}})[0].startswith(
        "file: k0: found an unknown field and 59,999 more"
    )
    assert len(lines({"count": 1, "parts": [{}] * 1000})) == MOST_ERRORS


@given(value=JSON)
def test_whatever_json_says_is_taken_or_refused_in_lines(value):
    for shape in (Whole, Part):
        try:
            check_record(value, shape, "file")
        except InputError as error:
            assert all(
                line.startswith("file: ") and ", allowed " in line and line.isprintable() for line in str(error).split("\n")
            )


@given(value=JSON)
def test_what_is_plain_goes_through_strict_json(value):
    if plain(value):
        json.dumps(value, allow_nan=False)


SCALARS = {
    "iteration": 7,
    "iterations": 9,
    "seconds": 0.5,
    "bad_steps": 0,
    "skipped": 0,
    "optimizer": {"type": "torch.Adam", "shapes": [], "groups": [], "states": []},
    "rule": {"name": "conv", "options": {}},
    "card": {
        "size": [5, 6, 7],
        "regime": "growing",
        "horizon": 9,
        "start": [4, 5, 6],
        "body": {"file": "target.safetensors", "size": 3, "sha256": "a"},
    },
    "course": {"looks": [[100, 0.5], [200, 0.5, 1, 1, 0.5, 1.0]], "whole_at": 0},
    "recovery": [{"iteration": 3, "cause": "x", "learning_rate": 0.1, "back_to": 0}],
}


def test_scalars_of_a_training():
    check_scalars(SCALARS, "file", 7)


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        (("iteration",), 8, "iteration: found 8, allowed 7, as the manifest says"),
        (("card", "start"), [5, 0, 0], "card.start: found [5, 0, 0], allowed a cell of the lattice [5, 6, 7]"),
        (("card", "body", "file"), "../x.safetensors", "card.body.file: found '../x.safetensors'"),
        (("course", "looks"), [[100]], "course.looks: found [[100]]"),
        (("course", "looks"), [[1.5, 1]], "course.looks"),
        (("course", "whole_at"), -1, "course.whole_at: found -1"),
        (("recovery", 0, "back_to"), None, "recovery[0].back_to: found None"),
    ],
)
def test_what_two_of_them_say_of_each_other(path, value, word):
    scalars = copy.deepcopy(SCALARS)
    place: Any = scalars
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(InputError) as caught:
        check_scalars(scalars, "file", 7)
    assert word in str(caught.value)


@given(value=JSON, name=st.sampled_from(list(SCALARS)))
def test_any_other_value_is_taken_or_refused(value, name):
    try:
        check_scalars({**SCALARS, name: value}, "file", 7)
    except InputError as error:
        assert all(line.startswith("file: ") and line.isprintable() for line in str(error).split("\n"))
