"""Runs that 0.1.0 left are gone on with: by the shell and by `nca3d.train`, their next losses are those of 0.1.0.

The losses were written on one machine; on another, rounding may differ, which 1e-4 allows for.
"""

import pytest
from contract_tools import OLD, RUNS, main, old_files, records, table

import nca3d

NEXT = table(OLD / "resumed.json")


@pytest.fixture(autouse=True)
def old(tmp_path, monkeypatch):
    return old_files(tmp_path, monkeypatch)


def check(name, folder):
    before = records(OLD / name)
    now = records(folder)
    assert now[: len(before)] == before, "what was written stays"
    after = now[len(before) :]
    assert [str(record["iteration"]) for record in after] == list(NEXT[name])
    for record in after:
        wanted = NEXT[name][str(record["iteration"])]
        assert {key: record[key] for key in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert {key for record in before for key in record} <= {key for record in after for key in record}, (
        "metrics keep their names"
    )


def total(name) -> int:
    return max(map(int, NEXT[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_by_the_shell(name, old, capsys):
    assert main("train", "--resume", name, "--iterations", total(name), "--no-report") == 0
    assert capsys.readouterr().out.split()[-1] == name
    check(name, old / name)
    assert (old / name / "checkpoints" / f"step-{total(name):06d}" / "manifest.json").is_file()
    assert nca3d.load(old / name).card["regime"] == nca3d.load(OLD / name).card["regime"]


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_from_python(name, old):
    config = nca3d.Config.load(old / name / "config.toml").replace(iterations=total(name), report=False)
    run = nca3d.train(config, resume=old / name, progress=False)
    check(name, old / name)
    assert run.metrics == records(old / name) and run.folder.samefile(old / name)
    assert len(run.pool) == (1 if name == "growing" else 4), "growing keeps no pool"
    assert run.rule.card["regime"] == {"body": "regenerating", "cube": "answering"}.get(name, name)


def test_from_an_older_checkpoint(old):
    """The newest one gone: the run goes on from the one before, and the lines after it are written anew."""
    newest = old / "body" / "checkpoints" / "step-000012"
    (newest / "manifest.json").unlink()
    before = records(OLD / "body")
    assert main("train", "--resume", "body", "--no-report") == 0
    now = records(old / "body")
    assert [record["iteration"] for record in now] == [record["iteration"] for record in before]
    for mine, theirs in zip(now, before, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def test_a_new_run_begins_with_an_old_rule(old):
    fields = {"size": (5, 6, 5), "channels": 8, "hidden": (16,), "steps": (4, 9), "batch": 4, "pool_size": 4}
    config = nca3d.Config(target="sphere", init="body", out="new", iterations=1, report=False, threads=1, log_every=1, **fields)
    run = nca3d.train(config, progress=False)
    assert run.metrics[-1]["iteration"] == 1 and (old / "new" / "config.toml").is_file()
