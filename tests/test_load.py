"""A rule by its name: what it can be called, what lies in its folder, whose gradients are asked for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nca3d
from nca3d import checkpoint
from nca3d.errors import InputError
from nca3d.load import RuleRef, run_folder

OLD = Path(__file__).parent / "fixtures" / "v0_1_0"
STEP = "step-000012"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(OLD / "body", tmp_path / "run")
    return Path("run")


def test_loaded_weights_are_kept_from_gradients_unless_they_are_asked_for(run):
    for source in ("zoo:cross", run):
        assert not any(weight.requires_grad for weight in nca3d.load(source).parameters())
        rule = nca3d.load(source, trainable=True)
        assert all(weight.requires_grad for weight in rule.parameters()) and not rule.training


def test_training_from_a_loaded_rule_learns(run):
    config = nca3d.Config.load(run / "config.toml").replace(out="new", iterations=1, report=False, threads=1, device="cpu")
    for more in ({"init": str(run)}, {}):
        given = {} if more else {"rule": nca3d.load(run)}
        trained = nca3d.train(config.replace(out=f"new{len(more)}", **more), progress=False, **given).rule
        pairs = zip(trained.parameters(), nca3d.load(run).parameters(), strict=True)
        assert any(not torch.equal(after, before) for after, before in pairs)


def test_a_run_is_found_by_its_folder_and_by_a_checkpoint(run, monkeypatch):
    for name in ("run", run / "checkpoints" / STEP, run.absolute() / "checkpoints" / STEP):
        ref = RuleRef(name)
        assert ref.folder.samefile(run) and ref.config.target == "sphere"
        assert ref.target(ref.rule()).name == nca3d.load(name).target().name == "sphere"
    assert RuleRef("run").beside("film.mp4", "x") == Path("run/film.mp4")
    assert RuleRef(run / "checkpoints" / STEP).beside("film.mp4", "x") == Path(f"run/{STEP}-film.mp4"), "none is overwritten"
    monkeypatch.chdir(run / "checkpoints")
    assert run_folder(STEP).samefile("..")


def test_checkpoints_without_their_run_will_do(run):
    (run / "config.toml").unlink()
    for name in ("run", run / "checkpoints", run / "checkpoints" / STEP):
        ref = RuleRef(name)
        assert (ref.folder, ref.config) == (None, None) and ref.rule().card["target"] == "sphere"


def test_a_config_that_is_no_file_is_not_taken_for_none(run):
    (run / "config.toml").unlink()
    (run / "config.toml").mkdir()
    with pytest.raises(InputError, match=r"config\.toml"):
        RuleRef("run")


def test_what_is_given_goes_before_the_card():
    ref = RuleRef("zoo:cross", target="sphere", size=(7, 8, 9))
    target = ref.target(ref.rule())
    assert (target.name, target.size) == ("sphere", (7, 8, 9)) and ref.beside("x", "y") == Path("runs/y")
    with pytest.raises(InputError, match="it has no card that names one"):
        ref = RuleRef("zoo:cross")
        ref.target(nca3d.ConvRule())
    with pytest.raises(InputError, match="none that names a body"):
        nca3d.ConvRule().target()


PLUGIN = """
from nca3d.rules import RULES, ConvRule

@RULES.register("conv of mine")
class Mine(ConvRule):
    pass
"""


@pytest.mark.slow
def test_plugins_of_the_run_make_its_rule_known(tmp_path):
    """In a process of its own: a rule that was registered stays so."""
    (tmp_path / "mine.py").write_text(PLUGIN)
    code = "import nca3d; print(type(nca3d.load('run', plugins=['mine.py'])).__name__)"
    make = f"""
import nca3d, sys
sys.path.insert(0, {str(tmp_path)!r})
nca3d.train(nca3d.Config(rule="conv of mine", plugins=("mine.py",), target="sphere", size=(5, 5, 5), out="run", iterations=1,
    batch=2, pool_size=2, damage_count=0, hidden=(4,), steps=(2, 3), report=False, threads=1, device="cpu"), progress=False)
"""
    environment = {"PYTHONPATH": str(Path(nca3d.__file__).parents[1]), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    for text, said in ((make, ""), (code, "Mine")):
        done = subprocess.run(
            [sys.executable, "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", ["nowhere: run folder: found no such folder", "zoo:axolotl"]),
        ("a.txt", ["a.txt: run folder: found a file"]),
        ("empty", ["empty: run folder: found no config.toml in it"]),
        ("zoo:frogg", ["did you mean 'frog'"]),
        ("none.py:rule", ["none.py: file: found no such file"]),
        ("bad", ["config.toml: sise: found an unknown field"]),
    ],
)
def test_what_is_no_rule_is_refused_before_torch_loads(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.toml").write_text("sise = 3\n")
    code = f"""
import sys
from nca3d.errors import InputError
from nca3d.load import RuleRef
try:
    RuleRef({name!r})
except InputError as error:
    print(error)
assert "torch" not in sys.modules
"""
    environment = {"PYTHONPATH": str(Path(nca3d.__file__).parents[1]), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(word in done.stdout for word in words), done.stdout


def test_an_option_that_the_rule_does_not_know_is_told_and_not_dropped(run):
    """As a later version may have written it: the rule would be another one without a word."""
    saved = checkpoint.load(run)
    rule = {**saved.scalars["rule"], "options": {**saved.scalars["rule"]["options"], "wings": 2}}
    checkpoint.save(run, 13, saved.groups, {**saved.scalars, "iteration": 13, "rule": rule}, keep=2)
    with pytest.raises(InputError, match=r"rule: found .*unexpected keyword argument 'wings'"):
        nca3d.load(run)
