"""The executor `slabs` on two and three processes: states of one process bit for bit, gradients to rounding (laws 5 and 8)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from slab_cases import weights_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMPARED = [
    "every_rule",
    "random_states",
    "growing",
    "damaged",
    "rebalanced",
    "nothing",
    "forms",
    "in_torch",
    "conditions",
]


@pytest.fixture(scope="module", params=[pytest.param(2, marks=pytest.mark.nightly), 3])
def found(request, tmp_path_factory):
    """What `slab_cases.py` has found on so many processes: all cases in one start, which takes longer than most of them."""
    file = tmp_path_factory.mktemp("slabs") / "found.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={request.param}"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "laws"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, str(ROOT / "tests" / "ranks" / "slab_cases.py"), str(file)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(file.read_text())


def test_no_case_fails(found):
    assert not {name: figures["failed"] for name, figures in found.items() if "failed" in figures}


@pytest.mark.parametrize("case", COMPARED)
def test_one_lattice_on_several_processes_is_that_of_one(found, case):
    assert found[case]["states"], "to the bit"
    assert found[case]["everywhere"], "all ranks have the same bits"
    assert found[case]["error"] <= 1e-5
    assert found[case]["living"] > 0


def test_bodies_may_die_on_every_rank(found):
    assert found["nothing"]["extinct"]


def test_memory_changes_nothing(found):
    assert found["memory"]["same"]


def test_cuts_follow_a_growing_body(found):
    # Fifty steps, sixteen from one look to the next.
    assert found["rebalanced"]["looks"] == 4
    assert found["rebalanced"]["moves"] >= 2


def test_training_collects_the_gradients_of_all_ranks(found):
    assert found["by_sample"]["everywhere"]
    assert found["by_sample"]["error"] <= 1e-5


def test_training_that_shares_out_the_lattice_is_that_of_one_process(found, tmp_path):
    assert found["training"]["everywhere"]
    for shared, alone in zip(found["training"]["weights"], weights_of(str(tmp_path / "run")), strict=True):
        assert alone.abs().max() > 0
        assert (torch.tensor(shared) - alone).abs().max() <= 1e-3 * alone.abs().max()


def test_auto_takes_slabs_where_the_lattice_is_shared_out(found):
    *names, refused = found["chosen"]["names"]
    assert names == ["event", "event", "slabs", "slabs"]
    assert refused.startswith("executor: found 'slabs' for ConvRule, which has no alive mask")


def test_rows_cross_cuts_and_no_planes(found):
    """At 5 % alive a fifth of what two dense planes each way would take, and half as much again backward."""
    figures = found["crossing"]
    assert 0.05 <= figures["living"] <= 0.07
    assert figures["forward"] <= 1 / 5
    assert figures["backward"] <= 1 / 10


def test_bytes_of_any_length(found):
    assert found["bytes_of_any_length"]["right"]
