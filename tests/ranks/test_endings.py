"""Whose fault it was, who says so, and what the launcher learns of it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from nca3d.errors import InputError, RunError
from nca3d.ranks import Ranks, ending, launch, launcher, telling
from nca3d.ranks.ending import Ending
from nca3d.ranks.group import LostRankError
from nca3d.ranks.joined import joined
from nca3d.ranks.restart import note_run, noted_run


@pytest.fixture
def launched(tmp_path, monkeypatch):
    """A launcher's environment for one of its processes."""

    def become(rank: int, size: int = 2, attempt: int = 0) -> None:
        file = tmp_path / "run_1" / f"attempt_{attempt}" / str(rank) / "error.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        for name, value in {
            "RANK": rank,
            "WORLD_SIZE": size,
            "TORCHELASTIC_RESTART_COUNT": attempt,
            "TORCHELASTIC_ERROR_FILE": file,
        }.items():
            monkeypatch.setenv(name, str(value))

    monkeypatch.setattr(telling, "PATIENCE", 0.3)
    return become


# What the launcher says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables, size",
    [
        ({}, 1),
        ({"RANK": "0"}, 1),
        ({"WORLD_SIZE": "4"}, 1),
        ({"RANK": "3", "WORLD_SIZE": "4"}, 4),
        ({"RANK": "", "WORLD_SIZE": "2"}, 1),
    ],
)
def test_how_many_processes_there_are(variables, size, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launcher.expected() == size


@pytest.mark.parametrize(
    "rank, size, field",
    [("x", "2", "RANK"), ("0", "two", "WORLD_SIZE"), ("2", "2", "RANK"), ("-1", "2", "RANK"), ("²", "2", "RANK")],
)
def test_a_launcher_that_makes_no_sense_is_bad_input(rank, size, field, monkeypatch, capsys):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match=f"environment: {field}: found .*, allowed "), joined(1):
        pass
    telling.tell("a line")
    assert capsys.readouterr().err == "a line\n"


def test_nothing_says_where_the_others_are(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="environment: MASTER_ADDR: found nothing"), joined(1):
        pass


def test_a_process_leaves_its_launcher(launched, monkeypatch):
    launched(1)
    monkeypatch.setenv("PET_KEPT", "1")
    launcher.leave_launcher()
    assert launcher.expected() == 1 and launcher.own_rank() == 0 and launcher.error_file() is None and os.environ["PET_KEPT"]


def test_later_attempts_find_the_run(launched, tmp_path):
    launched(0)
    note_run(tmp_path)
    assert noted_run() is None, "the first attempt begins anew"
    launched(1, attempt=1)
    assert noted_run() == tmp_path
    launcher.leave_launcher()
    note_run(tmp_path)
    assert noted_run() is None


# Who says so ----------------------------------------------------------------------------------------------------------


def test_alone_it_is_said_at_once(capsys):
    telling.tell("a line")
    assert capsys.readouterr().err == "a line\n" and telling.to_be_shown(ValueError("odd"))


def test_what_all_run_into_is_said_once(launched, capsys):
    launched(0)
    telling.tell("config.toml: batch: found 0")
    assert capsys.readouterr().err == "config.toml: batch: found 0\n"
    launched(1)
    telling.tell("config.toml: batch: found 0")
    assert not capsys.readouterr().err


def test_what_rank_0_does_not_say_another_one_does(launched, capsys):
    launched(1)
    telling.tell("config.toml: no such file")
    assert capsys.readouterr().err == "rank 1 of 2: config.toml: no such file\n"
    launched(0)
    telling.tell("another consequence")
    assert not capsys.readouterr().err


def test_another_attempt_speaks_anew(launched, capsys):
    for attempt in range(2):
        launched(0, attempt=attempt)
        telling.tell("a line")
    assert capsys.readouterr().err == "a line\n" * 2


def test_a_trace_is_shown_where_it_is_known(launched):
    launched(0)
    assert telling.to_be_shown(ValueError("odd"))
    launched(1)
    assert not telling.to_be_shown(ValueError("odd")), "rank 0 has shown the same"
    launched(2, 3)
    assert telling.to_be_shown(KeyError("another"))


@pytest.mark.parametrize("bug", [None, ValueError("odd")])
def test_torchrun_learns_the_cause(bug, launched, tmp_path):
    """Its summary is the last thing that is printed: the rank and its cause are in it."""
    launched(1)
    telling.record("rank 1 of 2 failed at iteration 8: ValueError: odd", bug)
    telling.record("a consequence")
    file = Path(os.environ["TORCHELASTIC_ERROR_FILE"])
    failure = ProcessFailure(local_rank=1, pid=5, exitcode=1, error_file=str(file))
    summary = str(ChildFailedError("nca3d", {1: failure}))
    assert "rank 1 of 2 failed at iteration 8: ValueError: odd" in summary and "consequence" not in summary
    assert summary.count("ValueError: odd") == (1 if bug is None else 2), "the trace, too"


def test_sigterm_waits_for_the_last_word():
    with telling.at_leisure():
        os.kill(os.getpid(), signal.SIGTERM)
    handlers = []
    thread = threading.Thread(target=lambda: handlers.append(telling.at_leisure().__enter__()))
    thread.start()
    thread.join()
    assert handlers == [None], "elsewhere than in the main thread nothing is changed"


# Whose fault it was ---------------------------------------------------------------------------------------------------


class Others:
    """Ranks that have met, each with its ending."""

    def __init__(self, size: int = 3, timeout: float = 5) -> None:
        self.store = dist.HashStore()
        self.endings = [Ending(Ranks(rank, size), dist.PrefixStore("test", self.store), timeout) for rank in range(size)]
        for one in self.endings:
            one.sign_in()
        for one in self.endings:
            one.meet()
            one.ranks.doing = "iteration 8"

    def fails(self, rank: int, error: BaseException) -> BaseException:
        """What a context raises that ends by an error."""
        kinds = (InputError, RunError) if isinstance(error, LostRankError) else type(error)
        with pytest.raises(kinds) as raised, self.endings[rank].told():
            raise error
        return raised.value


@pytest.fixture
def others(monkeypatch):
    monkeypatch.setattr(ending, "WORD", 0.5)
    return Others()


LOST = LostRankError("Connection closed by peer")


@pytest.mark.parametrize(
    "error, told",
    [
        (ValueError("odd"), "rank 1 of 3 failed at iteration 8: ValueError: odd"),
        (RunError("run: the disk is full"), "rank 1 of 3: run: the disk is full"),
        (KeyboardInterrupt(), "rank 1 of 3 was stopped by SIGINT at iteration 8"),
        (SystemExit(143), "rank 1 of 3 was stopped by SIGTERM at iteration 8"),
        (SystemExit("bye"), "rank 1 of 3 called sys.exit('bye') at iteration 8"),
        (
            RuntimeError("my store is empty, no connection"),
            "rank 1 of 3 failed at iteration 8: RuntimeError: my store is empty, no",
        ),
    ],
)
def test_who_has_failed_says_so_first(error, told, others):
    assert others.fails(1, error) is error
    assert isinstance(others.fails(2, LOST), RunError)
    raised = others.fails(0, LOST)
    assert str(raised).startswith(told) and raised.__cause__ is LOST


def test_input_that_one_rank_can_not_use_is_bad_input_for_all(others):
    others.fails(1, InputError("config.toml", "target", "'x.ply'", "a file that is there"))
    raised = others.fails(0, LOST)
    assert isinstance(raised, InputError)
    assert str(raised) == "rank 1 of 3: config.toml: target: found 'x.ply', allowed a file that is there"


def test_the_first_failure_is_the_cause(others):
    others.fails(2, ValueError("first"))
    others.fails(1, KeyError("second"))
    assert str(others.fails(0, LOST)) == "rank 2 of 3 failed at iteration 8: ValueError: first"


def test_who_was_killed_is_known_by_its_process(others):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        others.endings[0]._others[2] = others.endings[0]._others[2][0], process.pid
        process.kill()
        raised = others.fails(0, LOST)
    assert str(raised) == f"rank 2 of 3 is gone at iteration 8: its process {process.pid} was killed, or crashed"
    assert str(others.fails(1, LOST)) == str(raised), "all say the same"


def test_who_hangs_has_asked_least(others):
    for one, calls in zip(others.endings, (100, 99, 100), strict=True):
        one.ranks.calls = calls
        one.store.set(f"beat/{one.ranks.rank}", str(calls))
    told = "rank 1 of 3 has not answered for 5 s at iteration 8: it hangs, or needs longer: --timeout SECONDS"
    late = LostRankError("Timed out waiting 5000ms for recv operation to complete")
    assert str(others.fails(0, late)) == told and str(others.fails(2, late)) == told


def test_who_is_gone_on_another_machine_is_known_by_its_connection(others):
    for one, calls in zip(others.endings, (100, 99, 100), strict=True):
        one.ranks.calls = calls
        one.store.set(f"beat/{one.ranks.rank}", str(calls))
        one._others[1] = "node2", 1
    told = "rank 1 of 3 is gone at iteration 8: the connection to it, on node2, is broken"
    assert str(others.fails(0, LOST)) == told


def test_where_nothing_is_known_that_is_said(others):
    assert str(others.fails(0, LOST)) == "another rank was lost at iteration 8: Connection closed by peer"


def test_nobody_leaves_before_all_are_done(others):
    """However long rank 0 writes its report: no time limit holds there."""
    left = []

    def work(one: Ending) -> None:
        with one.told():
            pass
        left.append(one.ranks.rank)

    threads = [threading.Thread(target=work, args=(one,)) for one in others.endings]
    for thread in threads[1:]:
        thread.start()
    threads[1].join(0.5)
    assert not left
    threads[0].start()
    for thread in threads:
        thread.join(10)
    assert sorted(left) == [0, 1, 2]


def test_who_waits_for_the_others_learns_that_one_has_failed(others):
    others.fails(0, RunError("run: trained and saved, but its report is not done"))
    with pytest.raises(RunError, match=r"^rank 0 of 3: run: trained and saved"), others.endings[1].told():
        pass


# The last line of `nca3d train --processes` ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rank, code, records, line",
    [
        (1, 1, {0: "rank 0 of 2: run: extinct", 1: "rank 1 of 2: run: extinct"}, "run: extinct"),
        (1, 1, {0: "rank 1 of 2: sys.exit(0)", 1: "rank 1 of 2: sys.exit(0)"}, "rank 1 of 2: sys.exit(0)"),
        (0, 2, {0: "rank 0 of 2: batch: found 0"}, "batch: found 0"),
        (1, 2, {1: "rank 1 of 2: batch: found 0"}, "rank 1 of 2: batch: found 0"),
        (1, -9, {0: "rank 1 of 2 is gone at iteration 8"}, "rank 1 of 2 is gone at iteration 8"),
        (1, -9, {0: "rank 0 of 2 was stopped by SIGTERM"}, "rank 1 of 2 was killed by SIGKILL before all had met"),
        (1, -9, {}, "rank 1 of 2 was killed by SIGKILL before all had met"),
        (0, 7, {}, "rank 0 of 2 ended with exit code 7 before all had met"),
    ],
)
def test_the_last_line_is_the_cause(rank, code, records, line):
    assert launch._cause(rank, code, 2, records) == line


def test_what_ranks_have_noted_is_found_in_its_order(launched, tmp_path):
    for place, rank in enumerate((1, 0)):
        launched(rank)
        telling.record(f"line of {rank}")
        os.utime(os.environ["TORCHELASTIC_ERROR_FILE"], (place, place))
    broken = tmp_path / "run_1" / "attempt_0" / "2" / "error.json"
    broken.parent.mkdir()
    broken.write_text(json.dumps({"message": "half"})[:-3])
    assert list(launch._records(tmp_path).items()) == [(1, "line of 1"), (0, "line of 0")]
