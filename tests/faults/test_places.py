"""Places that can't be written to, lead nowhere or lead elsewhere; and a run that is killed between two steps."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from odd_files import at_once, plant
from tiny_runs import tiny_body

import nca3d
from nca3d import checkpoint
from nca3d.cli import main
from nca3d.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    nca3d.train(tiny_body(out=str(folder), iterations=2), progress=False)
    return folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder can't be written to; root needs a file system of its own for that, which may not be allowed here."""
    if os.geteuid():
        folder.chmod(0o500)
        yield
        folder.chmod(0o700)
        return
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["evaluate", "render", "train --resume"])
def test_a_read_only_run_is_refused_before_the_work(verb, run, tmp_path, capsys):
    """F7: not after hours of it."""
    shutil.copytree(run, tmp_path / "run")
    with read_only(tmp_path / "run"):
        assert main([*verb.split(), str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "can't be written to" in line and "writable" in line and str(tmp_path / "run") in line


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--resume", ""],
        ["train", ""],
        ["evaluate", ""],
        ["render", ""],
        ["export", ""],
        ["train", "--out", ""],
        ["train", "--target", ""],
        ["train", "--init", ""],
    ],
)
def test_an_empty_path_is_no_path(command, tmp_path, monkeypatch, capsys):
    """F8."""
    monkeypatch.chdir(tmp_path)
    assert main(command) == 2
    err = capsys.readouterr().err
    assert ": found ''" in err and ", allowed " in err, err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_run_loses_no_more_than_it_had_not_saved(tmp_path):
    """F11."""
    config = tiny_body(out=str(tmp_path / "run"), iterations=100_000, save_every=5, log_every=1)
    config.save(tmp_path / "config.toml")
    command = [sys.executable, "-m", "nca3d", "train", str(tmp_path / "config.toml")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as process:
        until = time.monotonic() + 60
        lines = tmp_path / "run" / "metrics.jsonl"
        while time.monotonic() < until and not (lines.exists() and lines.read_text().count("\n") > 17):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    done = json.loads(lines.read_text().splitlines()[-1])["iteration"]
    saved = checkpoint.load(tmp_path / "run").step
    # The line of an iteration is written before its checkpoint is.
    assert done - 5 <= saved <= done
    config = nca3d.Config.load(tmp_path / "run" / "config.toml").replace(iterations=saved + 5)
    assert nca3d.train(config, resume=tmp_path / "run", progress=False).metrics[-1]["iteration"] == saved + 5


@pytest.mark.parametrize("name", ["manifest.json", "scalars.json", "rule.safetensors", "pool.safetensors"])
@pytest.mark.parametrize("kind", ["link", "pipe", "socket", "link to a device"])
def test_a_checkpoint_has_files_of_its_own(kind, name, run, tmp_path):
    """B19: what a link leads to may be changed from elsewhere, and a pipe may wait for ever."""
    shutil.copytree(run, tmp_path / "run")
    (step,) = (tmp_path / "run" / "checkpoints").iterdir()
    if kind == "link":
        (step / name).rename(tmp_path / name)
        (step / name).symlink_to(tmp_path / name)
    else:
        (step / name).unlink()
        plant(kind, tmp_path, step / name)
    with at_once(), pytest.raises(InputError, match=rf"{name}: file: found a "):
        nca3d.load(tmp_path / "run")
