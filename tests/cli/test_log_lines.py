"""What a log holds of a run with code of one's own: plain lines, in true commands whose output is no terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from complaint import complaint

import nca3d

MINE = """
import warnings
from nca3d.rules import ConvRule, RULES

@RULES.register("mine")
class Mine(ConvRule):
    pass

warnings.warn("mine is\\nnew")
"""
SMALL = (
    "--target sphere --size 5 5 5 --steps 3 4 --hidden 8 --batch 2 --pool-size 2 --damage-count 0 --iterations 3 --no-report"
)


def shell(folder: Path, *words: str) -> str:
    """What `nca3d` leaves in a log, with its line breaks as they are."""
    environment = {**os.environ, "PYTHONPATH": str(Path(nca3d.__file__).parents[1])}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "nca3d", *words]
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, timeout=300)
    text = (folder / "log").read_bytes().decode()
    assert done.returncode == 0, text
    return text


@pytest.mark.slow
def test_a_log_has_plain_lines_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "other.py").write_text("")
    said = shell(tmp_path, "train", *SMALL.split(), "--rule", "mine", "--plugins", "mine.py", "--out", "run")
    assert "\r" not in said and said.splitlines()[0] == "warning: mine is new"
    (bar,) = (line for line in said.splitlines() if line.startswith("train"))
    assert bar.startswith("train: 100%, 3/3 [00:0") and " gone, 00:00 left, " in bar
    said = shell(tmp_path, "export", "run", "life.npz", "--steps", "3", "--plugins", "mine.py")
    assert "\r" not in said and "rule 'mine' comes from the plug-in mine.py\n" in said and "life: 100%, " in said
    # A rule's name says nothing of where it is to be had.
    line = complaint(capsys, "evaluate", str(tmp_path / "run"), "--plugins", str(tmp_path / "other.py"))
    assert ": rule: found 'mine', allowed coded, conditional, conv" in line
    assert line.endswith(f"; not registered by {tmp_path / 'other.py'}; the run names {tmp_path / 'mine.py'}")
    line = complaint(capsys, "train", *SMALL.split(), "--rule", "mine", "--out", str(tmp_path / "none"))
    assert line.endswith("; one of your own is registered by --plugins FILE.py")
