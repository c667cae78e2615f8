"""The README's commands and its Python block do what they say."""

import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

import nca3d
from nca3d.cli import main
from nca3d.cli.command import VERBS, parser_of
from nca3d.config.clashes import table

README = (Path(__file__).parents[1] / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip() for line in re.findall(r"^    (nca3d .*)$", README, re.MULTILINE)]
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def words_of(command: str) -> list[str]:
    """What follows `nca3d`, as a shell would pass it."""
    return shlex.split(command.split(">")[0])[1:]


def test_every_verb_is_shown_but_those_that_look_after_others():
    assert {words_of(command)[0] for command in COMMANDS} == set(VERBS) - {"doctor", "embed"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_read(command):
    """Every flag is one of the verb's, with as many values as it takes, and numbers where it takes numbers."""
    verb, *words = words_of(command)
    parser_of(verb).read(words)
    with pytest.raises(nca3d.InputError, match="--unheard-of: found an unknown flag"):
        parser_of(verb).read([*words, "--unheard-of"])


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("nca3d train") and "--resume" not in c])
def test_train_commands_parse(command, tmp_path, monkeypatch, capsys):
    """Every flag and value is accepted: the same command, asked to print its config instead of training."""
    monkeypatch.chdir(tmp_path)
    nca3d.Config().save(tmp_path / "my.toml")
    words = words_of(command)
    assert main([*words, *([] if "--print-config" in words else ["--print-config"])]) == 0
    assert "iterations" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("nca3d targets")])
def test_targets_commands_run(command, tmp_path, monkeypatch):
    pytest.importorskip("pyvista")
    monkeypatch.chdir(tmp_path)
    # The files that the README calls the reader's own.
    np.save("my_body.npy", np.ones((3, 3, 3), np.uint8))
    pytest.importorskip("trimesh").creation.box((3, 2, 4)).export("chair.glb")
    words = words_of(command)
    assert main(words) == 0
    if "--draw" in words:
        (picture,) = tmp_path.glob("*.png")
        assert picture.stat().st_size > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(("nca3d render", "nca3d export RUN"))])
def test_picture_commands_run(command, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyvista")
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("RUN", "zoo:cross").replace("runs/chair", "zoo:cross"))[1:]
    assert main([*words, *(["--pixels", "64", "--every", "60"] if words[0] == "render" else [])]) == 0
    written = capsys.readouterr().out.split()
    # What a command names with an ending is a file that it writes; a film of its own choice is told all the same.
    named = [word for word in words if re.search(r"\w\.[a-z]+$", word)]
    assert len(written) >= max(1, len(named)), written
    assert not [path for path in written if not (tmp_path / path).exists()]


@pytest.mark.slow
def test_the_python_block_runs_and_heals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(BLOCKS[1], names)
    grown, damaged, healed = nca3d.iou(names["torch"].cat([names["grown"], names["damaged"], names["healed"]]), names["target"])
    assert grown > 0.9
    assert damaged < 0.6
    assert healed > 0.85
    assert (tmp_path / "healing.png").stat().st_size > 10_000


@pytest.mark.slow
def test_one_rule_grows_the_bodies_that_the_readme_names():
    names: dict = {}
    exec(BLOCKS[0], names)
    rule = names["rule"]
    assert float(nca3d.iou(names["snail"], rule.target("snail"))) > 0.9
    assert float(nca3d.iou(names["duck"], rule.target("duck"))) > 0.9
    assert isinstance(names["plain"], nca3d.ConvRule)


@pytest.mark.slow
def test_a_body_in_a_large_lattice_stays_compact(capsys):
    names: dict = {}
    exec(BLOCKS[2], names)
    assert capsys.readouterr().out == f"{len(names['grown'].values)} cells of 2097152\n"
    assert 300 < len(names["grown"].values) < 3000


def test_files_that_the_readme_names_exist():
    root = Path(__file__).parents[1]
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert {"CONTRIBUTING.md", "docs/live.html"} <= set(linked), "the pattern finds what is there"
    for name in linked + re.findall(r"`((?:nca3d|notebooks|tests)/[\w./]+)`", README):
        assert (root / name).exists(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", nca3d.zoo())
def test_the_zoo_is_told_as_its_cards_have_it(name):
    row = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "zoo.py"))["row"]
    assert row(name) in README


def test_the_table_of_what_can_not_go_together_is_in_the_docs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "tools.md").read_text(encoding="utf-8")
    assert table() in text, "docs/tools.md has another table: print(nca3d.config.clashes.table())"
    for name in (
        "precision",
        "offload",
        "block_cells",
        "optimizer_in_backward",
        "pool_device",
        "compile",
        "tracker",
        "profile",
    ):
        assert f"`{name} = " in text
