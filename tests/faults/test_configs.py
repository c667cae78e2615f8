"""Config files: values that read like others, files that are no TOML, unknown fields by the thousand."""

import time
from pathlib import Path

import pytest

from nca3d.cli import main

#: what is in the file → a word that the line has
TRAPS = {
    'learning_rate = "1e-3"': "learning_rate",
    "learning_rate = nan": "learning_rate",
    "learning_rate = inf": "learning_rate",
    "learning_rate = -1": "learning_rate",
    "learning_rate = 2030-01-01": "learning_rate",
    "learning_rate = true": "learning_rate",
    "iterations = 1.0": "iterations",
    "iterations = 1e3": "iterations",
    "iterations = 0123": "line 1",
    f"iterations = {'9' * 5000}": "line 1|iterations|digits",
    "iterations = no": "line 1",
    "report = 1": "report",
    "report = yes": "line 1",
    "steps = 1:30:00": "line 1",
    "size = [1, 2": "line 1",
    "size = [1, 2]": "size",
    "size = [8, 8, 8.0]": "size",
    "batch = 4\nbatch = 8": "line 2",
    "[body]\ntarget = 'frog'\n[body]\n": "line 3",
    "\tbatch = 'a'": "batch",
    "batch = 4\0": "line 1",
    "[" * 5000: "x.toml",
    "batch = " + "[" * 5000 + "]" * 5000: "x.toml",
    "losses = { rgba = 'much' }": "losses",
    "losses = { rgba = -1 }": "losses",
    "target = ''": "target",
    "target = 3": "target",
    "channels = 0": "channels",
    "channels = -1": "channels",
    "!!python/object/apply:os.system ['id']": "line 1",
    "batch: 4": "line 1",
    "- 3": "line 1",
    "\xff\xfe": "x.toml",
}


@pytest.mark.parametrize("content", TRAPS, ids=range(len(TRAPS)))
def test_traps_of_a_config_file(content, tmp_path, monkeypatch, capsys):
    """B15, B16, B29: refused by file, and by field or line; nothing is guessed."""
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_bytes(content.encode("latin-1"))
    assert main(["train", "x.toml"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("x.toml") and all(": found " in line and ", allowed " in line for line in said.splitlines()), said
    assert any(word in said for word in TRAPS[content].split("|")), said
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]


def test_an_empty_file_has_the_defaults(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_bytes(b"")
    assert main(["train", "x.toml", "--print-config"]) == 0


def test_sixty_thousand_unknown_fields_are_a_few_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text("".join(f"k{number} = 1\n" for number in range(60_000)))
    begun = time.monotonic()
    assert main(["train", "x.toml"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and "59,990 more that are unknown" in lines[-1]
    assert time.monotonic() - begun < 20, "a hang is far longer"


@pytest.mark.parametrize(
    ("argv", "place"),
    [
        (["x.toml"], "x.toml: size: found"),
        (["x.toml", "--pool-size", "65536"], "x.toml: size: found"),
        (["--size", "100", "100", "100", "--pool-size", "65536"], "--size: size: found"),
    ],
)
def test_an_error_names_the_file_or_the_flag_that_it_comes_from(argv, place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text('size = [100, 100, 100]\npool_size = 60000\n[body]\ntarget = "sphere"\n')
    assert main(["train", *argv]) == 2
    assert capsys.readouterr().err.startswith(place)
