"""What a log holds of a run with code of one's own: plain lines, in true commands whose output is no terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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


def shell(folder: Path, *words: str, code: int = 0) -> str:
    """The bytes that `nca3d` leaves in a log, with its line breaks as they are."""
    environment = {**os.environ, "PYTHONPATH": str(Path(nca3d.__file__).parents[1])}
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "nca3d", *words]
        done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, timeout=300)
    text = (folder / "log").read_bytes().decode()
    assert done.returncode == code, text
    return text


@pytest.mark.slow
def test_a_log_has_plain_lines_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "other.py").write_text("")
    said = shell(tmp_path, "train", *SMALL.split(), "--rule", "mine", "--plugins", "mine.py", "--out", "run")
    assert "\r" not in said and said.splitlines()[0] == "warning: mine is new"
    (bar,) = (line for line in said.splitlines() if line.startswith("train"))
    assert bar.startswith("train: 100%, 3/3 [00:0") and " gone, 00:00 left, " in bar
    said = shell(tmp_path, "evaluate", "run", "--no-pictures", "--samples", "2", "--plugins", "mine.py")
    assert "\r" not in said and "rule 'mine' comes from the plug-in mine.py\n" in said and "evaluate: 100%, " in said
    assert "one report alone" in shell(tmp_path, "compare", "run")
    # The rule's name says nothing of where it is to be had.
    (line,) = shell(tmp_path, "evaluate", "run", "--plugins", "other.py", code=2).splitlines()
    assert ": rule: found 'mine', allowed conv" in line
    assert line.endswith(f"; not registered by other.py; the run names {tmp_path / 'mine.py'}")
    (line,) = shell(tmp_path, "train", *SMALL.split(), "--rule", "mine", code=2).splitlines()
    assert line.endswith("; one of your own is registered by --plugins FILE.py")
