"""Bad input through the real command: one clear line on stderr, exit 2, nothing written, no training begun."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nca3d.cli import main


def own(tmp_path: Path, array: np.ndarray, name: str = "own.npy") -> str:
    np.save(tmp_path / name, array)
    return str(tmp_path / name)


def text(tmp_path: Path, name: str, content: str | bytes) -> str:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(tmp_path / name)


def full(tmp_path: Path) -> str:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "note.txt").write_text("mine")
    return str(folder)


NAN = np.full((6, 6, 6, 4), np.nan, dtype=np.float32)

#: what is wrong -> (arguments, words that the line must hold: file or flag, field, value found, value allowed)
CASES = {
    "unknown flag": (lambda t: ["--learing-rate", "0.1"], ["--learing-rate", "did you mean '--learning-rate'"]),
    "wrong type": (lambda t: ["--iterations", "many"], ["--iterations", "iterations", "many", "an integer"]),
    "out of range": (lambda t: ["--fire-rate", "1.5"], ["--fire-rate", "1.5"]),
    "not a number": (lambda t: ["--learning-rate", "nan"], ["--learning-rate", "nan"]),
    "unknown key in a file": (
        lambda t: [text(t, "x.toml", "learing_rate = 0.1\n")],
        ["x.toml", "learing_rate", "learning_rate"],
    ),
    "syntax error in a file": (lambda t: [text(t, "x.toml", "size = [1,\n")], ["x.toml", "line"]),
    "missing config": (lambda t: ["nowhere.toml"], ["nowhere.toml"]),
    "batch larger than the pool": (lambda t: ["--batch", "9", "--pool-size", "8"], ["batch", "9", "pool_size = 8"]),
    "unknown target": (lambda t: ["--target", "axolotll"], ["axolotll", "did you mean 'axolotl'"]),
    "missing file": (lambda t: ["--target", "nowhere.npy"], ["nowhere.npy"]),
    "larger than the lattice": (
        lambda t: ["--target", own(t, np.ones((20, 5, 5), int)), "--size", "8", "8", "8"],
        ["own.npy", "20", "8"],
    ),
    "empty target": (lambda t: ["--target", own(t, np.zeros((5, 5, 5), int))], ["own.npy"]),
    "NaN target": (lambda t: ["--target", own(t, NAN)], ["own.npy", "not finite"]),
    "wrong rank": (lambda t: ["--target", own(t, np.ones((5, 5)))], ["own.npy", "(5, 5)"]),
    "wrong last dimension": (lambda t: ["--target", own(t, np.ones((5, 5, 5, 3)))], ["own.npy", "3"]),
    "pickled array": (lambda t: ["--target", own(t, np.array([{}], dtype=object))], ["own.npy"]),
    "not an array": (lambda t: ["--target", text(t, "own.npy", "<html>")], ["own.npy"]),
    "unreadable mesh": (lambda t: ["--target", text(t, "own.ply", "ply\nnonsense")], ["own.ply"]),
    "unknown option": (lambda t: ["--target-options", "margn=2"], ["margn", "margin"]),
    "unknown damage": (lambda t: ["--damages", "spere"], ["damages", "spere", "sphere"]),
    "unknown loss": (lambda t: ["--losses", "rgbb=1"], ["losses", "rgbb", "rgba"]),
    "too few channels": (lambda t: ["--channels", "3"], ["channels", "3"]),
    "no such device": (lambda t: ["--device", "gpu"], ["device", "gpu", "cuda"]),
    "folder with files in it": (lambda t: ["--out", full(t)], ["full", "note.txt"]),
    "a file as folder": (lambda t: ["--out", text(t, "taken", "x")], ["taken", "file"]),
    "nothing to resume": (lambda t: ["--resume", "nowhere"], ["nowhere"]),
    "nothing to start from": (lambda t: ["--init", "nowhere"], ["nowhere"]),
    "too large for this machine": (lambda t: ["--size", "512", "512", "512", "--pool-size", "4096"], ["size", "GiB"]),
}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", CASES)
def test_one_line_exit_2_nothing_written(name, tmp_path, monkeypatch, capsys):
    arguments, words = CASES[name]
    monkeypatch.chdir(tmp_path)
    command = ["train", *arguments(tmp_path), "--iterations", "3"] if name != "wrong type" else ["train", *arguments(tmp_path)]
    before = tree(tmp_path)
    assert main(command) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.strip().splitlines()
    assert ": found " in line and ", allowed " in line
    for word in words:
        assert word.lower() in line.lower()
    assert tree(tmp_path) == before
    assert not (tmp_path / "runs").exists()


def test_all_config_errors_at_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text(tmp_path, "x.toml", 'learing_rate = 0.1\nbatch = "4"\nfire_rate = 2\n')
    assert main(["train", "x.toml", "--padding", "reflect", "--iterations", "-1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 5
    for word in ("learing_rate", "batch", "fire_rate", "padding", "iterations"):
        assert sum(word in line for line in lines) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="a read-only mount needs root; without root the folder's mode is enough")
def test_a_read_only_run_folder_is_refused(tmp_path):
    """F7, with a real read-only file system."""
    place = tmp_path / "ro"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(place)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("can't mount here")
    try:
        command = [sys.executable, "-m", "nca3d", "train", "--iterations", "3", "--out", str(place / "run")]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        (line,) = done.stderr.strip().splitlines()
        assert str(place) in line
    finally:
        subprocess.run(["umount", str(place)], check=True)
