"""Plausible command lines with impossible values: exit codes and lines of the one form, never a trace."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nca3d.cli import main
from nca3d.config import FIELDS

pytestmark = pytest.mark.nightly
NUMBERS = st.integers(-(2**70), 2**70).map(str) | st.floats().map(str)
VALUES = (
    NUMBERS
    | st.text(max_size=12)
    | st.sampled_from(["", "auto", "none", "nan", "inf", "1e400", "a=1", "x=[", "[1,", "zoo:frog"])
)
FLAGS = st.sampled_from([f"--{name.replace('_', '-')}" for name in FIELDS])


def lines_of_the_one_form(capsys, words: list[str]) -> None:
    code = main(words)
    error = capsys.readouterr().err
    assert code in (0, 1, 2)
    assert "Traceback" not in error
    if code == 2:
        assert all(re.search(r": found .*, allowed ", line) for line in error.strip().splitlines()), error


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(flags=st.lists(st.tuples(FLAGS, st.lists(VALUES, max_size=3)), max_size=4))
def test_train_prints_its_config_or_refuses(flags, capsys):
    words = [word for flag, values in flags for word in (flag, *values)]
    lines_of_the_one_form(capsys, ["train", *words, "--print-config"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    verb=st.sampled_from(["evaluate", "render", "export", "compare", "targets"]),
    name=st.sampled_from(["zoo:nothing", "nowhere", "", "zoo:", "mine.py:Rule", "\x1b[31m", "a\nb"]) | st.text(max_size=8),
    flags=st.lists(
        st.tuples(st.sampled_from(["--steps", "--samples", "--horizon", "--size", "--draw", "--out"]), VALUES), max_size=3
    ),
)
def test_a_rule_that_is_not_there_is_refused(verb, name, flags, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word for pair in flags for word in pair]
    lines_of_the_one_form(capsys, [verb, name, *words])
