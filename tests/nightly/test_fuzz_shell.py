"""Plausible command lines with impossible values: exit codes and lines of the one form, never a trace."""

import argparse
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nca3d.cli import main
from nca3d.cli.command import parser_of
from nca3d.config import FIELDS

pytestmark = pytest.mark.nightly
# One folder serves all examples of a test: each checks that it is as empty as before.
FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
WORDS = ["", " ", "-", "--", "auto", "none", "nan", "-inf", "1e400", "0x10", "1_0", "٣", "a=1", "=", "a=", "x=[", "[1,", "true"]
HOSTILE = ["\x1b[31m", "a\nb", "a\rb", "\x00", "\udcff", "\u202e", "é" * 300, "/" * 300, "../..", "/dev/null", "~", "*", "%s"]
NUMBERS = st.integers(-(2**70), 2**70).map(str) | st.integers(-3, 40).map(str) | st.floats().map(str) | st.just("9" * 5000)
VALUES = NUMBERS | st.text(max_size=12) | st.sampled_from(WORDS) | st.sampled_from(HOSTILE)


def flags_of(verb: str) -> list[str]:
    """The flags of a verb except those that print help, and those that start a server or wait."""
    actions: list[argparse.Action] = parser_of(verb)._actions
    return sorted(flag for action in actions for flag in action.option_strings if flag not in ("-h", "--help"))


def lines_of_the_one_form(capsys: pytest.CaptureFixture[str], words: list[str]) -> int:
    """The exit code of a command, and a look at all that it said."""
    code = main(words)
    output = capsys.readouterr()
    assert code in (0, 1, 2), code
    assert "Traceback" not in output.err + output.out
    if code == 2:
        assert output.out == ""
        for line in output.err.removesuffix("\n").split("\n"):
            assert line.isprintable() and ": found " in line and ", allowed " in line, output.err
    return code


def words_of(flags: list[tuple[str, list[str], bool]]) -> list[str]:
    """Words of a command line: `--flag value value`, or `--flag=value`."""
    return [word for flag, values, joined in flags for word in ([f"{flag}={''.join(values)}"] if joined else [flag, *values])]


def some_flags(names: list[str], most: int) -> st.SearchStrategy[list[tuple[str, list[str], bool]]]:
    misspelt = st.sampled_from(names).map(lambda name: name[:-1] + "z")
    return st.lists(st.tuples(st.sampled_from(names) | misspelt, st.lists(VALUES, max_size=3), st.booleans()), max_size=most)


@FUZZ
@given(
    config=st.none() | st.sampled_from(["quick", "tiny", "axolotl-growing"]) | VALUES,
    flags=some_flags(flags_of("train"), 4),
)
def test_train_prints_its_config_or_refuses(config, flags, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [] if config is None else [config]
    lines_of_the_one_form(capsys, ["train", *words, *words_of(flags), "--print-config"])
    assert not list(tmp_path.iterdir())


@FUZZ
@given(values=st.dictionaries(st.sampled_from(sorted(FIELDS)), NUMBERS, min_size=1, max_size=3))
def test_numbers_in_fields_are_printed_as_they_are_read(values, capsys, tmp_path, monkeypatch):
    """What `--print-config` prints is a config: read again, it prints the same."""
    monkeypatch.chdir(tmp_path)
    words = [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]
    if main(["train", *words, "--print-config"]):
        capsys.readouterr()
        return
    printed = capsys.readouterr().out
    Path("printed.toml").write_text(printed)
    assert main(["train", "printed.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    Path("printed.toml").unlink()


NOWHERE = [
    "zoo:nothing",
    "zoo:",
    "nowhere",
    "mine.py:Rule",
    "empty.py:Rule",
    "broken.py:Rule",
    "here",
    "here/config.toml",
    "x.toml",
]


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Files and folders that look like rules and are none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NCA3D_CACHE", str(tmp_path / "cache"))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("Rule = [")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "config.toml").write_text("target = 'cross'\n")
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    return tmp_path


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("verb", ["evaluate", "render", "export", "compare"])
@FUZZ
@given(data=st.data())
def test_a_rule_that_is_not_there_is_refused(verb, data, capsys, places):
    before = tree(places)
    name = data.draw(st.sampled_from(NOWHERE) | st.sampled_from(HOSTILE) | st.text(max_size=8), "name")
    flags = words_of(data.draw(some_flags(flags_of(verb), 3), "flags"))
    code = lines_of_the_one_form(capsys, [verb, name, *flags])
    # The name of a verb's help, or of nothing at all, may be what a value says.
    assert code == 2 or {"-h", "--help"} & {name, *flags}
    assert tree(places) == before


@FUZZ
@given(name=st.sampled_from(["cross", "jack", "nothing"]) | VALUES, flags=some_flags(["--size", "--target-options"], 2))
def test_a_body_is_told_or_refused(name, flags, capsys, places):
    before = tree(places)
    lines_of_the_one_form(capsys, ["targets", name, *words_of(flags)])
    assert tree(places) == before


@FUZZ
@given(words=st.lists(st.sampled_from(["train", "targets", "--version", "zoo:frog", *WORDS, *HOSTILE]) | VALUES, max_size=2))
def test_any_words_end_in_a_line(words, capsys, places):
    # A verb that stands alone would do its work.
    if words and words[0] in ("train", "bench", "doctor", "serve"):
        words = [*words, "--nothing"]
    lines_of_the_one_form(capsys, words)
