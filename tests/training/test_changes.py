"""A run that goes on with another config says what is different, and keeps the old one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nca3d
from nca3d.cli import main
from nca3d.config import FIELDS, Config
from nca3d.training.changes import changes

FLAGS = (
    "--target sphere --size 7 7 7 --hidden 8 --batch 2 --pool-size 2 --damage-count 0 --steps 2 3 --iterations 2 --no-report"
)


def test_nothing_to_tell():
    assert changes(Config(), Config()) == []


def test_each_field_has_a_line_in_its_group():
    now = Config(
        target="sphere", random_seed=5, fire_rate=0.6, losses={"rgba": 2.0}, executor="dense", learning_rate=1e-3, save_every=9
    )
    lines = changes(Config(), now)
    assert lines[0] == "changes the run:" and lines[-2:] == ["changes nothing:", "  save_every was 250, is 9"]
    assert {line.split()[0] for line in lines[1:-2]} == {
        "target",
        "random_seed",
        "fire_rate",
        "losses",
        "executor",
        "learning_rate",
    }
    assert "  learning_rate was 0.006, is 0.001: the rate from now on" in lines
    assert '  target was "axolotl", is "sphere"' in lines


CHANGES = {
    "iterations": 3,
    "log_every": 5,
    "threads": 2,
    "average": 0.5,
    "betas": (0.8, 0.9),
    "init": "zoo:cross",
    "report": False,
}


@given(st.sets(st.sampled_from(sorted(CHANGES))))
def test_any_change_is_told_once(names):
    lines = changes(Config(), Config(**{name: CHANGES[name] for name in names}))
    assert sorted(line.split()[0] for line in lines if line.startswith("  ")) == sorted(names)


def test_what_changes_nothing_only_looks_on():
    assert {name for name, spec in FIELDS.items() if not spec.changes_run} == {
        *("init", "memory", "memory_budget", "out", "save_every", "keep_checkpoints", "log_every", "pattern_every"),
        *("tensorboard", "tracker", "profile", "report", "offload", "block_cells", "pool_device", "split", "timeout"),
    }


@pytest.mark.parametrize("edited", [False, True], ids=["by a flag", "in the file"])
def test_a_resumed_run_tells_and_keeps_the_old_config(edited, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", *FLAGS.split(), "--out", str(folder)]) == 0
    old = (folder / "config.toml").read_text()
    flags = ["--iterations", "3", "--fire-rate", "0.7", "--log-every", "3"]
    if edited:
        text = old.replace("iterations = 2 ", "iterations = 3 ").replace("fire_rate = 0.5", "fire_rate = 0.7")
        (folder / "config.toml").write_text(text.replace("log_every = 10", "log_every = 3"))
        flags = []
    capsys.readouterr()
    assert main(["train", "--resume", str(folder), *flags]) == 0
    told = capsys.readouterr().err.splitlines()
    place = next(number for number, line in enumerate(told) if "goes on from iteration 2 with another config" in line)
    assert told[place + 1] == "changes the run:"
    assert told[place + 2] == "  fire_rate was 0.5, is 0.7"
    assert told[place + 3].startswith("  iterations was 2, is 3: schedule,")
    assert told[place + 4 : place + 6] == ["changes nothing:", "  log_every was 10, is 3"]
    assert (folder / "config-until-000002.toml").read_text() == old
    assert Config.load(folder / "config.toml").fire_rate == 0.7
    # Again, and nothing is different: nothing is told or kept.
    assert main(["train", "--resume", str(folder)]) == 0
    assert "another config" not in capsys.readouterr().err
    assert len(list(folder.glob("config-until*"))) == 1
    # The same iteration with other configs: none is lost.
    for rate in (0.1, 0.2):
        nca3d.train(Config.load(folder / "config.toml").replace(fire_rate=rate), resume=folder, iterations=3, progress=False)
    assert len(list(folder.glob("config-until*"))) == 2


def test_a_moved_run_has_not_changed(tmp_path, capsys):
    import numpy as np

    run = nca3d.train(
        Config(
            size=(7, 7, 7),
            hidden=(8,),
            batch=2,
            pool_size=2,
            damage_count=0,
            steps=(2, 3),
            iterations=2,
            report=False,
            out=str(tmp_path / "run"),
        ),
        target=np.ones((3, 3, 3), np.int64),
        progress=False,
    )
    moved = run.folder.rename(tmp_path / "moved")
    capsys.readouterr()
    assert main(["train", "--resume", str(moved), "--iterations", "3"]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("  ")] == [
        "  iterations was 2, is 3: schedule, curriculum, damage_from and healing_phase are shares of it, so what follows is "
        "not bit for bit a run of 3 from the start"
    ]
