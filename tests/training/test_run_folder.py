"""A run folder belongs to one run, is refused before anything is written to it, and a resumed run continues its lines."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from odd_files import ODD, plant

from nca3d.config import Config
from nca3d.errors import InputError, RunError
from nca3d.training import run_folder
from nca3d.training.open_run import check_run_folder, open_run_folder
from nca3d.training.run_folder import RunFolder, read_metrics

ROOT = Path(run_folder.__file__).parents[2]


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(config: Config, words: str, resume: Path | None = None) -> None:
    with pytest.raises(InputError) as caught, open_run_folder(config, resume):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_new_folder(tmp_path: Path) -> None:
    config = Config(out=str(tmp_path / "deep" / "own"), iterations=7)
    with open_run_folder(config) as folder:
        assert folder.path == tmp_path / "deep" / "own"
        assert everything(folder.path) == ["config.toml", "run.lock"]
        assert str(os.getpid()) in (folder.path / "run.lock").read_text()
        folder.append_metrics({"iteration": 1, "loss": 0.1})
        assert (folder.path / "metrics.jsonl").read_text() == '{"iteration": 1, "loss": 0.1}\n', "there at once"
    assert everything(folder.path) == ["config.toml", "metrics.jsonl"]
    assert Config.load(folder.path / "config.toml") == config


def test_folders_are_numbered_by_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "axolotl-2").write_text("a file is in the way")
    for target, wanted in [
        ("axolotl", "axolotl-1"),
        ("axolotl", "axolotl-3"),
        ("a/my body!.npy", "my-body-1"),
        ("...", "run-1"),
    ]:
        with open_run_folder(Config(target=target)) as folder:
            assert folder.path == Path("runs") / wanted


def test_what_can_not_be_used_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("do not lose me")
    (tmp_path / "file").write_text("a file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    before = everything(tmp_path)
    refused(Config(out=str(tmp_path / "full")), "a folder with thesis.tex in it")
    refused(Config(out=str(tmp_path / "file")), "which is a file")
    refused(Config(out=str(tmp_path / "file" / "below")), "which is a file")
    refused(Config(out=str(tmp_path / "dangling")), "which is a file")
    refused(Config(out=str(tmp_path / ("x" * 300))), "File name too long")
    refused(Config(), "no such folder", tmp_path / "none")
    refused(Config(), "a file", tmp_path / "file")
    refused(Config(), "no config.toml and no checkpoints", tmp_path / "full")
    assert everything(tmp_path) == before


def test_a_read_only_place_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write anywhere, so the answer of the system is what is put in place here
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused(Config(out=str(tmp_path / "deep" / "own")), f"{tmp_path}, which can't be written to")
    assert everything(tmp_path) == []


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text("pid 1 on a machine long gone")
    with open_run_folder(Config(out=str(tmp_path))) as folder:
        assert folder.path == tmp_path


def test_bad_input_found_later_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError), open_run_folder(Config(out=str(tmp_path / "deep" / "own"))):
        raise InputError("config", "tensorboard", "none", "some")
    assert everything(tmp_path) == []
    with pytest.raises(RunError), open_run_folder(Config(out=str(tmp_path / "own"))) as folder:
        folder.append_metrics({"iteration": 1})
        raise RunError("extinct")
    assert everything(tmp_path) == ["own", "own/config.toml", "own/metrics.jsonl"]


# ---- what a run folder holds belongs to the run ------------------------------------------------------------------------


def resumable(folder: Path) -> Path:
    with open_run_folder(Config(out=str(folder))) as made:
        (made.path / "checkpoints" / "step-000001").mkdir(parents=True)
        made.append_metrics({"iteration": 1})
    return folder


@pytest.mark.parametrize("name", ["config.toml", "metrics.jsonl", "run.lock", "checkpoints", "tensorboard"])
@pytest.mark.parametrize("kind", [kind for kind, said in ODD.items() if said])
def test_a_run_is_not_resumed_into_something_else(tmp_path: Path, name: str, kind: str) -> None:
    home = resumable(tmp_path / "own")
    if os.path.lexists(home / name):
        (home / name).rename(tmp_path / "moved")
    victim, _ = plant(kind, tmp_path, home / name)
    before = everything(tmp_path)
    if kind == "folder" and name in ("checkpoints", "tensorboard"):
        check_run_folder(Config(), home)
        return
    for refuse in (check_run_folder, lambda config, resume: open_run_folder(config, resume).__enter__()):
        with pytest.raises(InputError) as caught:
            refuse(Config(), home)
        said = str(caught.value)
        # What leads nowhere is as good as missing.
        assert name in said and "\n" not in said and (ODD[kind] in said or "no such" in said or f"no {name}" in said)
    assert everything(tmp_path) == before and victim.read_bytes() == b"years"


def test_a_run_may_lie_behind_a_link(tmp_path: Path) -> None:
    resumable(tmp_path / "disk")
    (tmp_path / "own").symlink_to("disk")
    with open_run_folder(Config(), tmp_path / "own") as folder:
        folder.cut_metrics(1)
        folder.append_metrics({"iteration": 2})
    assert [record["iteration"] for record in read_metrics(tmp_path / "disk")] == [1, 2]


@pytest.mark.parametrize("kind", ODD)
def test_lines_are_added_to_no_other_file(tmp_path: Path, kind: str) -> None:
    victim, place = plant(kind, tmp_path, tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match=rf"metrics\.jsonl: file: found {ODD[kind] or 'a file with a second name'}"):
        RunFolder(tmp_path, Config()).append_metrics({"iteration": 1})
    assert victim.read_bytes() == b"years" and os.path.lexists(place)


def test_a_second_name_of_the_lines_is_left_as_it_was(tmp_path: Path) -> None:
    """`cp -al` of a run shares its files with the copy."""
    home = resumable(tmp_path / "own")
    (tmp_path / "copy").hardlink_to(home / "metrics.jsonl")
    with open_run_folder(Config(), home) as folder:
        folder.cut_metrics(1)
        folder.append_metrics({"iteration": 2})
    assert (tmp_path / "copy").read_text() == '{"iteration": 1}\n'
    assert [record["iteration"] for record in read_metrics(home)] == [1, 2]


@pytest.mark.parametrize("kind", [kind for kind, said in ODD.items() if said != "a folder"])
def test_an_empty_folder_with_another_lock_is_refused_early(tmp_path: Path, kind: str) -> None:
    (tmp_path / "own").mkdir()
    victim, _ = plant(kind, tmp_path, tmp_path / "own" / "run.lock")
    with pytest.raises(InputError, match=r"run\.lock: found a .*, allowed a folder that can be locked"):
        check_run_folder(Config(out=str(tmp_path / "own")))
    assert victim.read_bytes() == b"years"


# ---- one run at a time ---------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from nca3d.config import Config
from nca3d.training.open_run import open_run_folder
with open_run_folder(Config(out=sys.argv[1])) as folder:
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    out = tmp_path / "own"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        before = everything(tmp_path)
        refused(Config(out=str(out)), f"held by pid {first.pid} on ")
        (out / "checkpoints" / "step-000001").mkdir(parents=True)
        refused(Config(), f"held by pid {first.pid} on ", out)
        (out / "checkpoints" / "step-000001").rmdir()
        (out / "checkpoints").rmdir()
        assert everything(tmp_path) == before
        assert str(first.pid) in (out / "run.lock").read_text()
    finally:
        first.kill()
        first.wait()
    assert (out / "run.lock").exists(), "the dead leave their lock file behind"
    (out / "checkpoints" / "step-000001").mkdir(parents=True)
    refused(Config(out=str(out)), "a folder with checkpoints in it")
    with open_run_folder(Config(), out):
        assert str(os.getpid()) in (out / "run.lock").read_text()


def test_a_run_that_was_never_saved_can_be_taken_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "own"
    half = out / "checkpoints" / "step-000250.tmp-1"
    half.mkdir(parents=True)
    (out / "config.toml").write_text(Config(out=str(out)).to_toml())
    (out / "metrics.jsonl").write_text('{"iteration": 10}\n{"itera')
    (out / "run.lock").write_text("pid 1 on nowhere")
    for resume in (out, None):
        (out / "metrics.jsonl").write_text('{"iteration": 10}\n{"itera')
        with open_run_folder(Config(iterations=7, out=str(out)), resume) as folder:
            assert not folder.has_checkpoints()
            assert folder.metrics() == [] and Config.load(out / "config.toml").iterations == 7
        assert "begun anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    "other", ["notes.txt", "checkpoints/step-000001", "checkpoints/step-000001.old-1", "a comment", "no config"]
)
def test_what_anybody_could_miss_is_not_taken(other: str, tmp_path: Path) -> None:
    out = tmp_path / "own"
    (out / "checkpoints").mkdir(parents=True)
    text = Config(out=str(out)).to_toml()
    (out / "config.toml").write_text(text + "# my best try so far\n" * (other == "a comment"))
    if other == "far ahead":
        (out / "metrics.jsonl").write_text('{"iteration": 5000}\n')
    elif other == "no config":
        (out / "config.toml").rename(out / "metrics.jsonl")
    elif other != "a comment":
        (out / other).mkdir()
    before = everything(out)
    refused(Config(out=str(out)), "own: out: found a folder with")
    assert everything(out) == before


def test_a_folder_that_is_replaced_is_noticed(tmp_path: Path) -> None:
    with open_run_folder(Config(out=str(tmp_path / "own"))) as folder:
        folder.require()
        (tmp_path / "own").rename(tmp_path / "moved")
        for found in ("deleted or moved", "another folder"):
            with pytest.raises(RunError, match=found):
                folder.require()
            (tmp_path / "own").mkdir(exist_ok=True)


def test_of_many_that_come_at_once_one_gets_in(tmp_path: Path) -> None:
    out, inside, most, turned_away = tmp_path / "own", 0, 0, 0
    with open_run_folder(Config(out=str(out))):
        (out / "checkpoints" / "step-000001").mkdir(parents=True)
    lock = threading.Lock()

    def visit() -> None:
        nonlocal inside, most, turned_away
        for _ in range(20):
            try:
                with open_run_folder(Config(), out):
                    with lock:
                        inside += 1
                        most = max(most, inside)
                    time.sleep(0.0005)
                    with lock:
                        inside -= 1
            except InputError as error:
                assert "held by" in str(error)
                turned_away += 1

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert most == 1
    assert turned_away < 80, "some got in"
    assert everything(out) == ["checkpoints", "checkpoints/step-000001", "config.toml"]


# ---- metrics -------------------------------------------------------------------------------------------------------


def held(tmp_path: Path, *lines: str) -> RunFolder:
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    return RunFolder(tmp_path, Config(iterations=99))


def test_a_resumed_run_continues_the_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"iteration": i, "loss": 1 / i}) + "\n" for i in (10, 20, 30, 40)]
    folder = held(tmp_path, *lines)
    folder.cut_metrics(20)
    assert folder.path.joinpath("metrics.jsonl").read_text() == "".join(lines[:2]), "not one digit differs"
    assert Config.load(tmp_path / "config.toml").iterations == 99
    for i in (30, 40):
        folder.append_metrics({"iteration": i, "loss": 1 / i})
    folder.close()
    assert folder.path.joinpath("metrics.jsonl").read_text() == "".join(lines)
    assert [record["iteration"] for record in folder.metrics()] == [10, 20, 30, 40]


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    folder = held(tmp_path, '{"iteration": 1}\n', '{"iteration": 2}\n', '{"iteration": 3, "lo')
    assert [record["iteration"] for record in folder.metrics()] == [1, 2]
    folder.cut_metrics(5)
    folder.append_metrics({"iteration": 6})
    assert [record["iteration"] for record in read_metrics(tmp_path)] == [1, 2, 6]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2: found 'nonsense'"):
        held(tmp_path, '{"iteration": 1}\n', "nonsense\n", '{"iteration": 3}\n').metrics()
    assert read_metrics(tmp_path / "none") == []


def test_a_resume_that_fails_leaves_the_config(tmp_path: Path) -> None:
    with open_run_folder(Config(out=str(tmp_path / "own"), channels=16)) as folder:
        (folder.path / "checkpoints" / "step-000001").mkdir(parents=True)
    before = (folder.path / "config.toml").read_bytes()
    with pytest.raises(InputError), open_run_folder(Config(channels=32), folder.path):
        raise InputError("checkpoint", "shapes", 16, "32")
    assert (folder.path / "config.toml").read_bytes() == before


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = held(tmp_path, '{"iteration": 1}\n', '{"iteration": 2}\n')

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left on device"):
        folder.cut_metrics(1)
    assert [record["iteration"] for record in folder.metrics()] == [1, 2]
    assert everything(tmp_path) == ["metrics.jsonl"]
