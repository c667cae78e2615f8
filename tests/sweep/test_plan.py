"""What is asked of a sweep: every combination is checked, and the plan is the same when it is read again."""

import dataclasses
import tomllib
from pathlib import Path

import pytest

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.sweep.plan import Plan


def plan(*vary: str, config: Config | None = None, **options: object) -> Plan:
    base = tomllib.loads((config or Config.load("tiny")).to_toml())
    return Plan(base, "tiny", vary, **options)  # type: ignore[arg-type]


def test_a_grid_is_every_combination() -> None:
    asked = plan("fire_rate=0.5,1", "hidden=[8],[16,8]", seeds=3)
    assert asked.count() == 12 and len(list(asked.settings())) == 4
    assert list(asked.settings())[1] == {"fire_rate": 0.5, "hidden": [16, 8]}
    assert plan("batch=2..8", search="tpe", trials=7).count() == 7


def test_a_run_has_its_setting_and_its_seed() -> None:
    config = plan("fire_rate=0.5,1", config=Config.load("tiny").replace(random_seed=5)).config({"fire_rate": 1}, 6)
    assert config == Config.load("tiny").replace(random_seed=6, fire_rate=1.0)


def test_an_entry_leaves_the_others_of_its_table() -> None:
    config = Config.load("tiny").replace(losses={"rgba": 1.0, "overflow": 2.0}, target_options={"margin": 1})
    asked = plan("losses.rgba=1,2", "target_options.margin=1,2", config=config)
    asked.check()
    made = asked.config({"losses.rgba": 2, "target_options.margin": 2}, 0)
    assert made.losses == {"rgba": 2.0, "overflow": 2.0} and made.target_options == {"margin": 2}


def test_an_entry_alone_does_not_replace_the_default_losses() -> None:
    with pytest.raises(InputError, match=r"--vary: losses.rgba: .*--losses NAME=WEIGHT"):
        plan("losses.rgba=1,2").check()


def test_every_combination_is_checked_and_each_line_told_once() -> None:
    with pytest.raises(InputError) as caught:
        plan("fire_rate=0.5,2,3", "batch=8,0", "hidden=[8],[0]", "precision=fp32,fp8").check()
    lines = str(caught.value).splitlines()
    assert sorted(line.split(":")[1].strip() for line in lines) == ["batch", "fire_rate", "fire_rate", "hidden", "precision"]
    assert all(line.startswith("--vary: ") for line in lines)


def test_names_that_vary_are_looked_up() -> None:
    with pytest.raises(InputError, match=r"--vary: damages: found 'spere'.*did you mean 'sphere'"):
        plan("damages=[sphere],[spere]").check()


def test_files_that_vary_are_looked_for() -> None:
    with pytest.raises(InputError, match=r"nowhere\.npy"):
        plan("target=heart,nowhere.npy").check()


def test_both_ends_of_a_range_are_checked() -> None:
    with pytest.raises(InputError, match=r"learning_rate: found 2\.0"):
        plan("learning_rate=1e-3..2", search="tpe", trials=3).check()
    plan("learning_rate=1e-3..1", search="tpe", trials=3).check()


def test_too_many_runs_are_a_mistake() -> None:
    with pytest.raises(InputError, match="at most 10,000"):
        plan(*(f"{name}=1,2,3,4,5,6,7,8,9,10" for name in ("batch", "steps", "warmup", "ageing")), seeds=2).check()


def test_the_last_seed_is_one() -> None:
    with pytest.raises(InputError, match="random_seed"):
        plan(config=Config.load("tiny").replace(random_seed=2**31 - 2), seeds=3).check()


def test_a_kept_plan_is_the_same_plan(tmp_path: Path) -> None:
    config = Config.load("tiny")
    asked = plan("hidden=[8],[16,8]", "rule_options.name=a b,'c,d'", seeds=2, figures=("heal_iou.*",), prune=True, study="mine")
    asked.save(tmp_path, config)
    read = Plan.load(tmp_path)
    assert dataclasses.replace(read, base=asked.base, where="tiny") == asked
    assert list(read.settings()) == list(asked.settings())
    assert read.config({"hidden": [8]}, 1) == asked.config({"hidden": [8]}, 1)


def test_a_plan_that_was_changed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"resume: found no sweep.toml"):
        Plan.load(tmp_path)
    plan("fire_rate=0.5,1").save(tmp_path, Config.load("tiny"))
    file = tmp_path / "sweep.toml"
    file.write_text(file.read_text().replace("seeds = 3", 'seeds = "3"').replace('"grid"', '"gird"').replace("prune", "prun"))
    with pytest.raises(InputError) as caught:
        Plan.load(tmp_path)
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == ["seeds", "prun", "keys", "search"]
