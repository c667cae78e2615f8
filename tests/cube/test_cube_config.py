"""The table `[cube]` of a config, and what happens to fields that a regime doesn't use."""

from typing import Any

import pytest

from nca3d.config import Config
from nca3d.errors import InputErrors


def lines_of(**values: Any) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        Config(**values)
    return str(caught.value).splitlines()


def test_a_file_in_tables_and_a_flat_one_are_the_same() -> None:
    """Version 0.1.0 wrote every field at the top, those of cubes in a body's file too; such files load for ever."""
    flat = {"size": [5, 6, 7], "target": "cross", "channels": 9, "questions": "lattice", "teacher_width": 30}
    assert Config.from_dict(flat) == Config.from_dict({"size": [5, 6, 7], "body": {"target": "cross", "channels": 9}})


def test_what_the_regime_does_not_use_is_refused_with_a_hint() -> None:
    assert lines_of(teacher_width=30) == [
        "Config: teacher_width: found 30, allowed the field only where regime is one of answering"
    ]
    (line,) = lines_of(regime="answering", rule="gmlp", target="cross")
    assert line.endswith(
        "target: found 'cross', allowed the field only where regime is one of growing, persistent, regenerating"
    )
    with pytest.raises(InputErrors, match=r"x: questions: found 'a', allowed the field only where regime is one of answering"):
        Config.from_dict({"cube": {"questions": "a"}}, "x")
    with pytest.raises(InputErrors, match=r"--questions: questions: found 'a'"):
        Config.from_dict({"questions": "a"}, "x", {"questions": "--questions"})


def test_a_table_holds_its_own_fields() -> None:
    with pytest.raises(InputErrors) as caught:
        Config.from_dict({"body": {"size": [5, 5, 5], "questions": "a", "taget": "cross"}, "cube": 3, "target": "frog"}, "x")
    assert str(caught.value).splitlines() == [
        "x: body.size: found a field of another table, allowed the field at the top of the file",
        "x: body.questions: found a field of another table, allowed the field under [cube]",
        "x: cube: found 3, allowed a table of fields",
        "x: taget: found an unknown field, allowed a field of Config; did you mean 'target'?",
    ]
    with pytest.raises(InputErrors, match=r"x: body.target: found a field that is at the top too, allowed one of the two"):
        Config.from_dict({"body": {"target": "cross"}, "target": "frog"}, "x")


def test_another_regime_takes_the_defaults_of_what_it_does_not_use() -> None:
    cube = Config(target="cross", channels=9).replace(regime="answering", rule="gmlp", teacher_width=30)
    assert (cube.target, cube.channels, cube.teacher_width) == ("axolotl", "auto", 30)
    assert "target" not in cube.to_toml().split()


def test_a_table_of_another_regime_is_refused_even_at_its_defaults() -> None:
    with pytest.raises(
        InputErrors, match="questions: found 'lattice', allowed the field only where regime is one of answering"
    ):
        Config.from_dict({"cube": {"questions": "lattice"}})
    assert Config(questions="lattice") == Config.from_dict({"questions": "lattice"}) == Config()
