"""Processes that have some cells of a cube each compute what one process does; `cube_cells.py` is what each of them runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nca3d.executors import library

pytestmark = [pytest.mark.slow, pytest.mark.skipif(library.compiler_found() is None, reason="needs a C compiler")]

SCRIPT = Path(__file__).with_name("cube_cells.py")
ROOT = Path(__file__).parents[2]
PLACES = ("front", "back", "left", "right")
QUESTIONS = [f"what is {word} of the {thing}" for word in PLACES for thing in ("stone", "tree", "house")]


def run(size: int, name: str, folder: Path) -> None:
    """Runs a function of the script in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"] if size > 1 else []
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), name, str(folder)],
        env={**os.environ, "PYTHONPATH": paths, "NCA3D_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.parametrize("size", [pytest.param(2, marks=pytest.mark.nightly), 3])
def test_states_and_gradients_are_those_of_one_process(size, tmp_path):
    run(size, "rollouts", tmp_path)


def test_weights_after_training_are_those_of_one_process(tmp_path):
    run(2, "training", tmp_path)


def questions(folder: Path) -> None:
    pairs = [
        {"question": question, "answer": f"the {question.split()[2]} one", "split": "train" if number % 4 else "validation"}
        for number, question in enumerate(QUESTIONS)
    ]
    (folder / "set.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def test_what_can_not_be_shared_out_is_refused(tmp_path):
    questions(tmp_path)
    run(2, "refused", tmp_path)


@pytest.mark.parametrize("sizes", [(1, 3), pytest.param((1, 2, 3), marks=pytest.mark.nightly)])
def test_a_run_goes_on_with_any_number_of_processes(sizes, tmp_path):
    questions(tmp_path)
    treatments = ("clip", "normalise", "none")
    for size in sizes:
        run(size, "begun", tmp_path)
    for treatment in treatments:
        one, *others = (torch.load(tmp_path / f"{treatment}-{size}" / "whole.pt") for size in sizes)
        for other in others:
            alike(other, one)
        # A checkpoint is the same file, whoever wrote it.
        one, *others = (tmp_path / f"{treatment}-{size}" / "checkpoints" / "step-000003" for size in sizes)
        for name in ("rule.safetensors", "optimizer.safetensors", "weights.safetensors"):
            assert {(other / name).stat().st_size for other in others} == {(one / name).stat().st_size}
    for size in sizes:
        run(size, "resumed", tmp_path)
    for before in sizes:
        straight = torch.load(tmp_path / f"clip-{before}" / "whole.pt")
        for size in sizes:
            found = torch.load(tmp_path / f"clip-{before}" / f"by-{size}.pt")
            alike([*found[:2], [*straight[2][:4], *found[2]], found[3]], straight, bits=before == size)


def alike(found: list, expected: list, bits: bool = False) -> None:
    """Weights, averages and what was logged: to the bit, or but for rounding, which Adam enlarges where gradients are small."""
    for one, other in zip(found[:2], expected[:2], strict=True):
        assert one.keys() == other.keys()
        for name, tensor in one.items():
            apart = (tensor - other[name]).norm()
            assert apart == 0 if bits else apart <= 1e-4 * other[name].norm() + 1e-9, name
    assert len(found[2]) == len(expected[2]) == 8
    for one, other in zip(found[2], expected[2], strict=True):
        assert one == (other if bits else pytest.approx(other, rel=1e-4, abs=1e-6))
