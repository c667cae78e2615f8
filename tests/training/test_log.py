"""Pattern and diversity over training, in metrics.jsonl."""

import pytest
from tiny_runs import tiny_body

import nca3d
from nca3d.training.log import DIVERSITY

PATTERN = ("morans_i", "spatial_entropy", "compressibility", "neighbour_information")


def short(tmp_path, **changes):
    paces = {"log_every": 10, "pattern_every": 20, **changes}
    config = tiny_body(iterations=40, steps=(4, 6), threads=1, out=str(tmp_path / "run"), **paces)
    return nca3d.train(config, progress=False).metrics


@pytest.mark.slow
def test_pattern_and_diversity_are_logged_at_their_pace(tmp_path):
    lines = short(tmp_path)
    assert {line["iteration"] % 20 for line in lines} > {0}, "some lines with, some without"
    wanted = {f"pattern_{name}" for name in PATTERN} | {f"pool_{name}" for name in DIVERSITY}
    for line in lines:
        found = {name for name in line if name.startswith(("pattern_", "pool_"))} - {"pool_age"}
        assert found == (wanted if line["iteration"] % 20 == 0 else set())
    last = lines[-1]
    assert 0 < last["pattern_compressibility"] <= 1 and 0 <= last["pattern_spatial_entropy"] <= 8
    assert last["pool_living_cells_mean"] > 0 and last["pool_effective_states"] >= 1


@pytest.mark.slow
def test_never_means_never_and_nothing_else_changes(tmp_path):
    lines, without = short(tmp_path / "a"), short(tmp_path / "b", pattern_every=0)
    assert not any(name.startswith("pattern_") for line in without for name in line)
    assert [line["loss"] for line in lines] == [line["loss"] for line in without]


def test_growing_has_no_pool_to_speak_of(tmp_path):
    last = short(tmp_path, regime="growing")[-1]
    assert "pattern_morans_i" in last and "pool_effective_states" not in last
