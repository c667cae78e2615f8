"""A run that goes wrong goes back to its last good state and on more gently; if that doesn't help, it fails and says why."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from resuming import cut_short, everything, timeless
from tiny_runs import tiny_body

import nca3d
from nca3d import checkpoint
from nca3d.cli import main
from nca3d.errors import RunError
from nca3d.losses import LOSSES
from nca3d.training.recovery import BAD_AT_END, EXTINCT, EXTINCT_AT_END
from nca3d.training.trainer import Trainer

TINY = tiny_body(iterations=8, save_every=4, log_every=1, schedule="constant", warmup=0, steps=(4, 8), max_bad_steps=2)
TINY = TINY.replace(damage_count=0)


@pytest.fixture
def brittle(registries):
    """A loss that is not a number once the weights have gone far: at a lower rate they come less far."""

    @LOSSES.register("brittle")
    def loss(moments, target, rule):
        broken = float("nan") if rule.network[-1].weight.abs().max() > 0.033 else 1.0
        return moments[-1].square().mean(dim=(1, 2, 3, 4)) * broken

    return {"losses": {"rgba": 1.0, "brittle": 0.01}}


@pytest.fixture
def deadly(registries):
    """A loss that rewards death."""

    @LOSSES.register("deadly")
    def loss(moments, target, rule):
        return moments[-1][:, rule.alpha].sum(dim=(1, 2, 3))

    return {"losses": {"deadly": 1.0}, "iterations": 400, "learning_rate": 0.05, "keep_checkpoints": 100}


def lines(run: Path) -> list[dict]:
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return timeless(records)


def test_a_run_begins_with_a_checkpoint(tmp_path):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), iterations=3), progress=False)
    # Set aside as soon as there is one that holds more: nobody should load it by mistake.
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["step-000003"]
    first = checkpoint.load(run.folder / "first" / "step-000000")
    assert not first.groups["rule"]["network.2.weight"].any()


def test_a_run_goes_back_and_on_more_gently(tmp_path, capsys, brittle):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), **brittle), progress=False)
    said = [line for line in capsys.readouterr().err.splitlines() if "retry" in line]
    where = "iteration 8: non-finite loss, 2 iterations in a row: back to iteration 4, learning_rate 0.006 → 0.003"
    assert said == [f"{run.folder}: {where}, other random draws (retry 1 of 3)"]
    # The lines of what was given up are gone, and one says why.
    (retry,) = [line for line in run.metrics if "retry" in line]
    assert (retry["iteration"], retry["failed_at"], retry["fault"][:15]) == (4, 8, "non-finite loss")
    assert [line["iteration"] for line in run.metrics if "loss" in line] == list(range(1, 9))
    cause = {"cause": "non-finite loss, 2 iterations in a row", "learning_rate": 0.006}
    assert checkpoint.load(run.folder).scalars["recovery"] == [{"iteration": 8, **cause, "back_to": 4}]


@pytest.mark.slow
@pytest.mark.parametrize("cut", [3, 5, "after"])
def test_a_run_that_is_resumed_around_its_retries_is_the_same_run(tmp_path, capsys, brittle, cut):
    """Law 11: cut before it goes wrong, in the attempt that goes wrong, and after it has gone back twice, farther each time."""
    config = TINY.replace(out=str(tmp_path / "straight"), iterations=14, **brittle)
    straight = nca3d.train(config, progress=False)
    assert re.findall(r"back to iteration (\d+)", capsys.readouterr().err) == ["4", "0"]
    half = config.replace(out=str(tmp_path / "half"))
    if cut == "after":
        (tmp_path / "half" / "checkpoints").mkdir(parents=True)
        half.save(tmp_path / "half" / "config.toml")
        kept = sorted((straight.folder / "checkpoints").iterdir())[-2]
        shutil.copytree(kept, tmp_path / "half" / "checkpoints" / kept.name)
    else:
        cut_short(half, cut)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)
    one, two = everything(straight), everything(resumed)
    assert one.keys() == two.keys() and [name for name in one if not torch.equal(one[name], two[name])] == []
    assert lines(straight.folder)[-2:] == lines(resumed.folder)[-2:]


@pytest.mark.parametrize(
    ("iterations", "words"), [(8, "iteration 6: non-finite loss, 2"), (6, "iteration 6: non-finite loss, 2")]
)
def test_without_retries_the_last_good_state_is_left(tmp_path, registries, iterations, words):
    """N2, N3: too many in a row, in the middle or at the end; the state before is finite, and goes on without what broke it."""
    healthy = []

    @LOSSES.register("broken")
    def loss(moments, target, rule):
        # Twice an iteration: for the pool, and to learn.
        healthy.append(len(healthy) < 8)
        return moments[-1].square().mean(dim=(1, 2, 3, 4)) * (1.0 if healthy[-1] else float("nan"))

    config = TINY.replace(out=str(tmp_path / "run"), iterations=iterations, retries=0, losses={"rgba": 1.0, "broken": 0.1})
    with pytest.raises(RunError, match=words):
        nca3d.train(config, progress=False)
    saved = checkpoint.load(tmp_path / "run")
    assert saved.step == 4 and all(torch.isfinite(tensor).all() for tensor in saved.groups["rule"].values())
    more = config.replace(losses={"rgba": 1.0}, iterations=10)
    assert nca3d.train(more, resume=tmp_path / "run", progress=False).metrics[-1]["iteration"] == 10


def test_a_run_that_dies_out_fails_with_its_cause_and_no_report(tmp_path, capsys, deadly):
    """N5, and no report as if nothing had been: the last good state is left, and a resumed run has its retries again."""
    config = TINY.replace(out=str(tmp_path / "run"), report=True, **deadly)
    with pytest.raises(RunError) as caught:
        nca3d.train(config, progress=False)
    said, told = capsys.readouterr().err, str(caught.value)
    assert said.count("back to iteration") == 3 and EXTINCT in said
    assert EXTINCT in told and "after 3 retries (learning_rate 0.05, 0.025, 0.0125, 0.00625)" in told and "\n" not in told
    assert "look at the losses (deadly)" in told and f"nca3d train --resume {tmp_path / 'run'}" in told
    assert not list(tmp_path.rglob("report*"))
    assert checkpoint.load(tmp_path / "run").scalars["recovery"] == []
    # What is left can live: without the loss that killed it the run goes on.
    more = checkpoint.load(tmp_path / "run").step + 5
    healed = config.replace(losses={"rgba": 1.0}, learning_rate=0.006, report=False, iterations=more)
    assert nca3d.train(healed, resume=tmp_path / "run", progress=False).metrics[-1]["iteration"] == more


def test_a_loss_that_is_never_a_number_fails_at_iteration_0(tmp_path, registries, capsys):
    """N2, N3: from the shell, exit code 1; one retry was asked for."""
    plugin = tmp_path / "never.py"
    plugin.write_text(
        "from nca3d.losses import LOSSES\n@LOSSES.register('never')\n"
        "def never(moments, target, rule):\n    return moments[-1].mean(dim=(1, 2, 3, 4)) * float('nan')\n"
    )
    flags = "--target sphere --size 7 7 7 --losses never=1 --iterations 30 --retries 1 --steps 2 4 --plugins"
    assert main(["train", *flags.split(), str(plugin), "--out", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "iteration 5: non-finite loss, 5 iterations in a row, after 1 retry" in error and "iteration 0 is left" in error
    assert checkpoint.load(tmp_path / "run").step == 0


def test_a_rule_is_asked_at_the_end_what_has_become_of_its_bodies(tmp_path):
    """A fresh rule keeps its seed, and lives; one that takes alpha away doesn't, nor one whose numbers run away."""
    trainer = Trainer.begin(TINY)
    rule = trainer.rule
    assert trainer.task.fault(rule) == ""
    with torch.no_grad():
        rule.network[0].bias.fill_(1.0)
        rule.network[-1].weight[rule.alpha] = -1.0
        assert trainer.task.fault(rule) == EXTINCT_AT_END
        rule.network[-1].weight.fill_(1e30)
        assert trainer.task.fault(rule) == BAD_AT_END


def test_a_run_whose_trained_rule_is_dead_at_the_end_fails(tmp_path, monkeypatch):
    """Whatever the average has become: what is judged is the rule that would be saved."""
    config = TINY.replace(out=str(tmp_path / "run"), iterations=2, retries=1)
    asked = []

    def fault(self, rule):
        asked.append(rule)
        return EXTINCT_AT_END

    monkeypatch.setattr("nca3d.training.growth.Growth.fault", fault)
    with pytest.raises(RunError, match="iteration 2: no living cell at the horizon, after 1 retry"):
        nca3d.train(config, progress=False)
    assert asked and checkpoint.load(tmp_path / "run").step == 0


def test_another_learning_rate_forgets_the_retries(tmp_path, capsys, brittle):
    config = TINY.replace(out=str(tmp_path / "run"), **brittle)
    nca3d.train(config, progress=False)
    more = config.replace(iterations=9, learning_rate=0.001)
    nca3d.train(more, resume=tmp_path / "run", progress=False)
    assert checkpoint.load(tmp_path / "run").scalars["recovery"] == []
