"""What a run sees in its numbers: spikes of the loss, weights that don't move, norms that overflow, states that were lost."""

import json
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from resuming import cut_short, everything, timeless
from tiny_runs import tiny_body

import nca3d
from nca3d import checkpoint
from nca3d.errors import InputError, RunError
from nca3d.losses import LOSSES
from nca3d.training.optim import gradient_norm
from nca3d.training.trainer import Trainer
from nca3d.training.watch import LEAST, RECENT, STILL, TIMES, Watch

TINY = tiny_body(iterations=40, save_every=10, log_every=1, schedule="constant", warmup=0, steps=(2, 4), damage_count=0)
TINY = TINY.replace(learning_rate=1e-4)  # at the usual rate the tiny body has spikes of its own


@pytest.fixture
def spiking(registries):
    """A loss that is a hundred times itself the thirtieth time that it is learnt from."""
    calls = []

    @LOSSES.register("spiking")
    def loss(moments, target, rule):
        # Those that the pool is ranked by are not learnt from.
        calls.extend([0] * torch.is_grad_enabled())
        return 0 * moments[-1].sum(dim=(1, 2, 3, 4)) + (100.0 if len(calls) == 30 else 0.0)

    return {"losses": {"rgba": 1.0, "spiking": 1.0}}


@given(losses=st.lists(st.floats(-1e6, 1e6), max_size=80), loss=st.floats(-1e9, 1e9))
def test_a_spike_is_far_above_the_median_and_all_but_a_few(losses, loss):
    watch = Watch()
    for one in losses:
        watch = watch.after(one)
    recent = losses[-RECENT:]
    assert list(watch.losses) == recent and Watch.of(json.loads(json.dumps(watch.plain()))) == watch
    if len(recent) < LEAST or (median := statistics.median(recent)) <= 1e-9:
        return
    times, high = watch.times(loss), sorted(recent)[int(0.9 * (len(recent) - 1))]
    assert not times or (times == pytest.approx(loss / median) and times > TIMES and loss >= 2 * high - 1e-9)
    assert watch.times(1.01 * max(TIMES * median, 2 * high))


@pytest.mark.parametrize("fall", [1.0, 0.995, 0.99])
def test_ten_times_the_loss_is_a_spike_in_a_run_that_falls(fall):
    """Every second batch has a seed, whose loss is fifty times that of a grown body."""
    watch, noise = Watch(), torch.rand(200, generator=torch.Generator().manual_seed(0)).tolist()
    for number, some in enumerate(noise):
        loss, like = fall**number * (50.0 if number % 2 else 1.0) * (0.5 + some), "seeded" if number % 2 else "losses"
        assert not watch.times(loss, like)
        assert number < 2 * LEAST or watch.after(10 * loss * (1.5 / (0.5 + some)), like).told
        watch = watch.after(loss, like)
    assert watch.spikes == 0


def test_a_loss_that_runs_away_is_told_again_and_noise_is_not():
    watch = Watch()
    for number in range(100):
        watch = watch.after(0.5 + 0.01 * (number % 7))
    told = []
    for loss in (3.0, 0.5, 9.0, 8.0, 0.5, 47.0, 60.0, 0.5, 5000.0, 5000.0):
        watch = watch.after(loss)
        told += [loss] if watch.told else []
    assert told == [3.0, 9.0, 47.0, 5000.0] and watch.spikes == 7


def test_a_spike_is_marked_and_the_run_goes_on(tmp_path, capsys, spiking):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), **spiking), progress=False)
    (line,) = [line for line in run.metrics if "spike" in line]
    assert line["spike"] > TIMES
    (said,) = [text for text in capsys.readouterr().err.splitlines() if "spike" in text]
    assert f"iteration {line['iteration']}: loss spike: " in said and said.endswith(
        "; training goes on (spike = rollback would go back)"
    )
    saved = checkpoint.load(run.folder).scalars
    assert saved["watch"]["spikes"] == 1 and saved["skipped"] == 0 and saved["recovery"] == []


def test_a_spike_leads_back_where_it_is_asked_to(tmp_path, capsys, spiking):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), spike="rollback", **spiking), progress=False)
    (setback,) = checkpoint.load(run.folder).scalars["recovery"]
    assert setback["cause"].startswith("loss spike: ") and setback["back_to"] == 20
    assert "retry 1 of 3" in capsys.readouterr().err
    assert [line["iteration"] for line in run.metrics if "loss" in line] == list(range(1, 41))


def test_without_retries_left_a_spike_is_told_and_no_failure(tmp_path, capsys, spiking):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), spike="rollback", retries=0, **spiking), progress=False)
    assert "loss spike" in capsys.readouterr().err and checkpoint.load(run.folder).step == 40


def test_a_resumed_run_sees_the_same(tmp_path):
    """Law 11: the losses that a median is of are saved."""
    config = TINY.replace(out=str(tmp_path / "straight"))
    straight = nca3d.train(config, progress=False)
    half = config.replace(out=str(tmp_path / "half"))
    cut_short(half, 25)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)
    one, two = everything(straight), everything(resumed)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert timeless(straight.metrics)[25:] == timeless(resumed.metrics)
    assert len({str(checkpoint.load(run.folder).scalars["watch"]) for run in (straight, resumed)}) == 1


def test_weights_that_do_not_move_are_told(tmp_path, capsys, registries):
    @LOSSES.register("deaf")
    def loss(moments, target, rule):
        return moments[-1].sum(dim=(1, 2, 3, 4)) * 0

    config = TINY.replace(out=str(tmp_path / "run"), losses={"deaf": 1.0}, iterations=2 * STILL)
    run = nca3d.train(config, progress=False)
    # The first look has nothing to compare with.
    assert [line["iteration"] for line in run.metrics if line.get("unmoved")] == [2 * STILL]
    assert f"no weight has moved for {STILL} iterations" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["step", "cosine"])
def test_a_schedule_that_ends_at_nothing_is_no_standstill(schedule, tmp_path, capsys):
    """Weights may stand still where the rate is as good as zero: the run is done, and nothing of it is given up."""
    config = TINY.replace(
        out=str(tmp_path / "run"), iterations=300, schedule=schedule, milestones=(0.2,), final_learning_rate=0.0
    )
    nca3d.train(config, progress=False)
    assert checkpoint.load(tmp_path / "run").step == 300 and "moved" not in capsys.readouterr().err


def test_gradients_of_zero_are_told_while_momentum_moves_the_weights(tmp_path, capsys, registries):
    calls = []

    @LOSSES.register("fading")
    def loss(moments, target, rule):
        calls.extend([0] * torch.is_grad_enabled())
        return moments[-1].square().mean(dim=(1, 2, 3, 4)) * (1.0 if len(calls) < 20 else 0.0) + 1

    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), losses={"fading": 1.0}, iterations=80), progress=False)
    assert [line["iteration"] for line in run.metrics if line.get("no_gradient")] == [69]
    assert f"all gradients have been zero for {STILL} iterations" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["average", "optimizer", "seed", "weights"])
@pytest.mark.parametrize("at", [20, 40])
def test_what_no_iteration_looks_at_leads_back_when_it_is_saved(part, at, tmp_path, capsys, monkeypatch):
    """A number that is not finite in the running average, say: the run goes back, and does not save it."""
    step, done = Trainer.step, []

    def spoilt(trainer):
        outcome = step(trainer)
        if trainer.iteration == at and not done:
            done.append(at)
            parts = {
                "average": lambda: next(iter(trainer.average.values())),
                "optimizer": lambda: next(iter(trainer.optimizer.state.values()))["exp_avg_sq"],
                "seed": lambda: trainer.pool.seeds,
                "weights": lambda: next(trainer.rule.parameters()).data,
            }
            parts[part]().fill_(float("inf"))
        return outcome

    monkeypatch.setattr(Trainer, "step", spoilt)
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run")), progress=False)
    (setback,) = checkpoint.load(run.folder).scalars["recovery"]
    assert "finite" in setback["cause"] and setback["back_to"] == at - 10
    assert run.metrics[-1]["iteration"] == 40 and all(t.isfinite().all() for t in run.rule.state_dict().values())


@pytest.mark.parametrize("what", [None, 1.0, [1.0], "numpy", "complex"])
def test_a_loss_that_gives_no_tensor_is_one_line(what, tmp_path, registries):
    @LOSSES.register("odd")
    def loss(moments, target, rule):
        term = moments[-1].mean(dim=(1, 2, 3, 4))
        return {"numpy": lambda: term.detach().numpy(), "complex": lambda: term * 1j}.get(str(what), lambda: what)()

    with pytest.raises(InputError, match=r"losses: odd: found (a |numbers of torch.complex64)"):
        nca3d.train(TINY.replace(out=str(tmp_path / "run"), losses={"rgba": 1.0, "odd": 1.0}), progress=False)


def test_a_run_whose_weights_stand_still_for_long_fails(tmp_path, registries):
    @LOSSES.register("stone")
    def loss(moments, target, rule):
        return moments[-1].sum(dim=(1, 2, 3, 4)) * 0 + 1

    config = TINY.replace(out=str(tmp_path / "run"), losses={"stone": 1.0}, iterations=4 * STILL, retries=1)
    with pytest.raises(RunError, match=r"no weight has moved for 100 iterations, after 1 retry .*look at the losses \(stone\)"):
        nca3d.train(config, progress=False)
    assert checkpoint.load(tmp_path / "run").scalars["iteration"] < 3 * STILL


def test_weights_that_move_are_not_told(tmp_path, capsys):
    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), iterations=2 * STILL), progress=False)
    assert not [line for line in run.metrics if "unmoved" in line] and "moved" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "good"), [([1.0, 2.0], True), ([1e30, 1e30], False), ([float("inf"), 0], False), ([float("nan"), 0], False)]
)
def test_a_norm_that_overflows_is_no_gradient(values, good):
    """Each number of 1e30 is finite, and scaled to length 1 it would be zero."""
    weights = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))]
    weights[0].grad = torch.tensor(values)
    assert math.isfinite(gradient_norm(weights)) is good


def test_states_that_were_lost_are_counted_and_logged(tmp_path, registries):
    """N4: the pool starts non-finite states again from the seed, and the line of the iteration says how many."""
    calls = []

    @LOSSES.register("poison")
    def loss(moments, target, rule):
        calls.extend([0] * torch.is_grad_enabled())
        if len(calls) == 7:
            with torch.no_grad():
                moments[-1][:2] = float("nan")
        return 0 * moments[-1].sum(dim=(1, 2, 3, 4))

    run = nca3d.train(TINY.replace(out=str(tmp_path / "run"), losses={"rgba": 1.0, "poison": 1.0}), progress=False)
    (line,) = [line for line in run.metrics if "fault" in line]
    assert line["reseeded_non_finite"] == 2 and "loss" in line["fault"]
    assert run.pool.reseeded["non_finite"] == 2 and run.pool.states.isfinite().all()
