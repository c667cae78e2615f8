"""Who runs which trial: each is taken once, whatever dies; real journals and real locks, and no run."""

import contextlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from nca3d.config import Config
from nca3d.errors import InputError
from nca3d.files import locked
from nca3d.sweep.board import LOOKS, Board, Claim, create, require_optuna
from nca3d.sweep.plan import Plan

pytest.importorskip("optuna")


def made(folder: Path, *vary: str, **options: object) -> Plan:
    """The plan of a sweep that was made in a folder."""
    config = Config.load("tiny")
    plan = Plan(tomllib.loads(config.to_toml()), "tiny", vary, **options)  # type: ignore[arg-type]
    require_optuna()
    create(plan, folder)
    plan.save(folder, config)
    return plan


def all_of(board: Board) -> list[Claim]:
    return list(iter(board.claim, None))


def test_a_grid_is_taken_trial_by_trial_and_each_once(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=0.5,1", "hidden=[8],[16,8]", seeds=2)
    boards = Board(plan, tmp_path), Board(plan, tmp_path)
    taken = [board.claim() for _ in range(4) for board in boards]
    assert boards[0].claim() is None and boards[1].claim() is None
    claims = [claim for claim in taken if claim is not None]
    assert sorted(claim.number for claim in claims) == list(range(8))
    each = {(claim.setting["fire_rate"], str(claim.setting["hidden"]), *claim.seeds) for claim in claims}
    assert each == {(rate, hidden, seed) for rate in (0.5, 1) for hidden in ("[8]", "[16, 8]") for seed in (0, 1)}
    # One of each setting comes first.
    assert all(claim.seeds == [0] for claim in claims if claim.number < 4)


@pytest.mark.slow
def test_a_trial_of_a_dead_process_is_taken_over_with_its_setting(tmp_path: Path) -> None:
    plan = made(tmp_path, "learning_rate=1e-3..1e-2", search="random", trials=2, seeds=1)
    code = f"""
import os, pathlib
from nca3d.sweep.board import Board, require_optuna
from nca3d.sweep.plan import Plan
require_optuna()
folder = pathlib.Path({str(tmp_path)!r})
claim = Board(Plan.load(folder), folder).claim()
print(claim.number, claim.setting["learning_rate"], flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9
    number, rate = done.stdout.split()
    claims = all_of(Board(plan, tmp_path))
    # What waits comes before what was left.
    assert [claim.number for claim in claims] == [1, int(number)]
    assert claims[1].setting["learning_rate"] == float(rate) != claims[0].setting["learning_rate"]


def test_a_trial_whose_run_is_still_saving_is_left_alone(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=0.5,1", seeds=1)
    for claim in all_of(Board(plan, tmp_path)):
        claim.lock.close()
    (tmp_path / "trials" / "0000").mkdir()
    with locked(tmp_path / "trials" / "0000" / "run.lock"):
        assert [claim.number for claim in all_of(Board(plan, tmp_path))] == [1]


def test_ends_are_known_to_all_and_no_trial_is_run_again(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=0.5,1,0.2,0.1", seeds=1)
    board = Board(plan, tmp_path)
    claims = all_of(board)
    board.tell(0, "complete", value=0.5)
    board.tell(1, "fail", cause="all bodies died out")
    board.tell(2, "pruned")
    board.give_up(3)
    for claim in claims:
        claim.lock.close()
    other = Board(plan, tmp_path)
    assert [trial.state.name for trial in other.trials()] == ["COMPLETE", "FAIL", "PRUNED", "RUNNING"]
    assert other.trials()[1].user_attrs == {"cause": "all bodies died out"}
    assert board.claim() is None
    assert [claim.number for claim in all_of(other)] == [3]


@pytest.mark.slow
def test_a_search_proposes_values_of_the_kind_that_was_asked_for(tmp_path: Path) -> None:
    ranges = ("learning_rate=1e-4..1e-1", "batch=2..16", "hidden=[8],[16,8]")
    board = Board(made(tmp_path, *ranges, search="tpe", trials=14, seeds=2), tmp_path)
    for claim in iter(board.claim, None):
        setting = claim.setting
        assert 1e-4 <= setting["learning_rate"] <= 1e-1 and setting["hidden"] in ([8], [16, 8]) and claim.seeds == [0, 1]
        assert type(setting["batch"]) is int and 2 <= setting["batch"] <= 16
        board.tell(claim.number, "complete", value=-abs(setting["learning_rate"] - 1e-3))
    rates = sorted(trial.params["learning_rate"] for trial in board.trials())
    assert len(rates) == 14 and rates[0] < 1e-2, "on a logarithmic scale a half lies below the middle one"
    assert [place.name for place in board.places(3)] == ["0003-0", "0003-1"]


@pytest.mark.slow
def test_a_trial_that_falls_behind_may_end_early_and_another_may_not(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=1,0.9,0.8,0.7,0.6,0.5,0.4,0.3", seeds=1, prune=True)
    board = Board(plan, tmp_path)
    for claim in [board.claim() for _ in range(6)]:
        assert claim is not None
        assert not any(board.seen(claim.number, look, 0.1 * look + claim.number / 100) for look in range(1, LOOKS + 1))
        board.tell(claim.number, "complete", value=1.0)
    good, bad = board.claim(), board.claim()
    assert good is not None and bad is not None
    assert not any(board.seen(good.number, look, 0.2 * look) for look in range(1, LOOKS + 1))
    said = [board.seen(bad.number, look, 0.01 * look) for look in range(1, 10)]
    assert not any(said[:4]) and said[-1], "not before a quarter of the run"


def test_a_torn_journal_is_one_line(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=0.5,1")
    journal = tmp_path / "journal.log"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1][:20] + lines[2], *lines[3:]]))
    with pytest.raises(InputError, match=r"journal.log: found .*--storage URL"):
        Board(plan, tmp_path).trials()


@pytest.mark.nightly
def test_a_database_serves_as_well_and_holds_many(tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path}/studies.db"
    boards = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        boards.append(Board(made(tmp_path / name, "fire_rate=0.5,1", seeds=1, storage=url, study=name), tmp_path / name))
        assert not (tmp_path / name / "journal.log").exists()
    claim = boards[0].claim()
    assert claim is not None and claim.setting == {"fire_rate": 0.5}
    with contextlib.closing(claim.lock):
        boards[0].tell(0, "complete", value=0.5)
    assert [[trial.state.name for trial in board.trials()] for board in boards] == [["COMPLETE", "WAITING"], ["WAITING"] * 2]
    with pytest.raises(InputError, match="--storage: database: found "):
        (tmp_path / "three").mkdir()
        made(tmp_path / "three", "fire_rate=0.5,1", storage="nodatabase://there")


def test_a_link_in_place_of_the_journal_is_not_followed(tmp_path: Path) -> None:
    plan = made(tmp_path, "fire_rate=0.5,1")
    journal = tmp_path / "journal.log"
    journal.rename(tmp_path / "elsewhere")
    journal.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="found a link"):
        Board(plan, tmp_path)
