"""A true run of three iterations of the regime `answering`, through the shell: trained, asked, gone on with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nca3d

pytestmark = pytest.mark.slow
CUBE = """
regime = "answering"
rule = "gmlp"
size = [3, 4, 4]
steps = [4, 5]
batch = 8
pool_size = 8
iterations = 3
log_every = 1
save_every = 1
report = false
out = "run"
rule_options = { features = 8, memory = 4, external = 2, widened = 8, preset = "cube", start = "carry", mixed = true }

[cube]
questions = "turns.jsonl"
teacher_width = 10
"""
HEADINGS = ("north", "east", "south", "west")


def test_a_cube_trains_answers_and_goes_on(tmp_path):
    pytest.importorskip("sklearn")

    def shell(*words: object) -> str:
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(nca3d.__file__).parents[1]),
            "NCA3D_CACHE": str(tmp_path / "cache"),
        }
        command = [sys.executable, "-m", "nca3d", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    pairs = [
        {"question": f"face {HEADINGS[a]}, turn {b}", "answer": HEADINGS[(a + b) % 4], "split": "train"}
        for a in range(4)
        for b in range(4)
    ]
    (tmp_path / "turns.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    (tmp_path / "cube.toml").write_text(CUBE)
    shell("train", "cube.toml")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [1, 2, 3]
    assert isinstance(nca3d.load(tmp_path / "run"), nca3d.GMLPRule)
    answered = shell("answer", "run", "face north, turn 1")
    assert any(heading in answered for heading in HEADINGS)
    shell("train", "--resume", "run", "--iterations", 4)
    assert (tmp_path / "run" / "checkpoints" / "step-000004").is_dir()
