"""Training as a whole: it learns, it can be cut and resumed, it survives what goes wrong."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from resuming import cut_short, everything, timeless
from tiny_runs import tiny_body

import nca3d
import pools
from nca3d import checkpoint
from nca3d.cli import main
from nca3d.errors import InputError, InputErrors
from nca3d.losses import LOSSES
from nca3d.process.stop import Overdue
from nca3d.training.draws import age_states, counted_generator, draw_steps
from nca3d.training.optim import healing, learning_rate
from nca3d.training.threads import choose_threads
from nca3d.training.trainer import Trainer

TINY = tiny_body(
    damage_count=1,
    damage_from=0.0,
    steps=(4, 8),
    ageing=6,
    iterations=12,
    save_every=6,
    log_every=1,
    warmup=0,
    random_seed=3,
)


def tiny(folder: Path, **changes) -> nca3d.Config:
    return TINY.replace(out=str(folder), **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"average": 0.9, "log_every": 2, "pattern_every": 4},
        {"optimizer": "adamw", "weight_decay": 0.01, "schedule": "step"},
        {"regime": "persistent", "accumulate": 2, "precision": "bf16"},
        {"regime": "growing", "detach_every": 3, "losses": {"rgba": 1.0, "rest": 0.5}},
        {"optimizer": "adamw8bit", "hidden": (128,), "channels": 16},
        {"perception": "learned", "schedule": "constant", "gradient": "clip", "memory": 2},
    ],
)
def test_a_resumed_run_is_the_same_run(tmp_path, changes):
    """Law 11: 12 iterations straight equal 6, stopped, and 6 more, bit for bit: weights, optimizer, pool and metrics."""
    if changes.get("optimizer") == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    straight = nca3d.train(tiny(tmp_path / "straight", **changes), progress=False)
    half = tiny(tmp_path / "half", **changes)
    cut_short(half, 6)
    resumed = nca3d.train(half, resume=tmp_path / "half", progress=False)

    one, two = everything(straight), everything(resumed)
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    if changes.get("optimizer") == "adamw8bit":  # F17: the quantised state keeps its bytes and its type
        assert torch.uint8 in {tensor.dtype for name, tensor in two.items() if name.startswith("optimizer/")}
    assert [line for line in timeless(straight.metrics) if line["iteration"] > 6] == timeless(resumed.metrics)


def test_more_iterations_go_on(tmp_path, capsys):
    nca3d.train(tiny(tmp_path / "run"), progress=False)
    assert "iterations was" not in capsys.readouterr().err
    run = nca3d.train(tiny(tmp_path / "run", iterations=15), resume=tmp_path / "run", progress=False)
    assert [line["iteration"] for line in run.metrics] == list(range(1, 16))
    assert "iterations was 12, is 15" in capsys.readouterr().err
    with pytest.raises(InputError, match="iterations: found 5, allowed at least the 15"):
        nca3d.train(tiny(tmp_path / "run", iterations=5), resume=tmp_path / "run", progress=False)


def test_resuming_with_another_rule_is_refused(tmp_path):
    nca3d.train(tiny(tmp_path / "run"), progress=False)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=r"network\.0"):
        nca3d.train(tiny(tmp_path / "run", hidden=(17,)), resume=tmp_path / "run", progress=False)
    with pytest.raises(InputError, match="pool"):
        nca3d.train(tiny(tmp_path / "run", pool_size=9), resume=tmp_path / "run", progress=False)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.slow
def test_evaluation_between_iterations_changes_nothing():
    """F14: evaluation draws from its own numbers, never from those of training or torch's global ones."""
    one, two = Trainer.begin(TINY), Trainer.begin(TINY)
    for _ in range(3):
        one.step()
        torch.manual_seed(1)
        two.step()
        nca3d.evaluate(two.rule, two.target, horizon=4)
    assert all(torch.equal(a, b) for a, b in zip(one.rule.parameters(), two.rule.parameters(), strict=True))
    assert torch.equal(one.pool.states, two.pool.states)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_accumulated_gradients_equal_those_of_one_batch(optimizer):
    """Law 8, through the whole training step: masks follow the sample, not its part of the batch."""
    runs = [Trainer.begin(TINY.replace(accumulate=parts, optimizer=optimizer, gradient="none")) for parts in (1, 2, 4)]
    for trainer in runs:
        trainer.step()
    for other in runs[1:]:
        for a, b in zip(runs[0].rule.parameters(), other.rule.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-7)


def test_detaching_cuts_the_graph():
    whole, cut = (Trainer.begin(TINY.replace(gradient="none", detach_every=n, steps=(8, 8), curriculum=0.0)) for n in (0, 2))
    for trainer in (whole, cut):
        with torch.no_grad():
            trainer.rule.network[-1].weight.copy_(0.02 * torch.ones_like(trainer.rule.network[-1].weight))
        trainer.step()
    assert torch.equal(whole.pool.states, cut.pool.states)
    assert not torch.allclose(whole.rule.network[0].weight.grad, cut.rule.network[0].weight.grad)


NAN_LOSS = """
import torch
from nca3d.losses import LOSSES
calls = []
@LOSSES.register("{name}")
def sometimes_nan(moments, target, rule):
    if torch.is_grad_enabled():
        calls.append(1)
    bad = {first} <= len(calls) <= {last} and torch.is_grad_enabled()
    return moments[-1].square().mean(dim=(1, 2, 3, 4)) * (float("nan") if bad else 1.0)
"""


def plugin(tmp_path, name, first, last):
    path = tmp_path / f"{name}.py"
    path.write_text(NAN_LOSS.format(name=name, first=first, last=last))
    return {"plugins": (str(path),), "losses": {"rgba": 1.0, name: 1.0}}


def test_a_non_finite_iteration_is_skipped_and_counted(tmp_path, registries):
    """N1: weights and optimizer stay as they were; the run goes on."""
    run = nca3d.train(tiny(tmp_path / "run", **plugin(tmp_path, "nan_once", 4, 5)), progress=False)
    faults = [line for line in run.metrics if "fault" in line]
    assert [line["iteration"] for line in faults] == [4, 5]
    assert "non-finite loss" in faults[0]["fault"]
    assert run.metrics[-1]["skipped"] == 2
    assert all(torch.isfinite(p).all() for p in run.rule.parameters())


@pytest.mark.slow
def test_a_plugin_serves_several_runs_of_one_process(tmp_path, registries):
    config = tiny(tmp_path / "one", **plugin(tmp_path, "own_twice", 99, 99))
    nca3d.train(config, progress=False)
    nca3d.train(config.replace(out=str(tmp_path / "two")), progress=False)
    with pytest.raises(ValueError, match="already registered"):
        nca3d.losses.LOSSES.register("own_twice")(nca3d.losses.rgba)


@pytest.mark.parametrize("regime", ["growing", "regenerating"])
def test_an_iteration_that_is_broken_off_is_undone(tmp_path, registries, regime):
    """Whatever breaks it off, before weights and pool change: what follows is bit for bit what would have followed."""
    calls, breaks = [0], set()

    @LOSSES.register("breaks off")
    def breaks_off(moments, target, rule):
        calls[0] += 1
        if calls[0] in breaks:
            raise Overdue
        return (moments[-1] ** 2).mean(dim=(1, 2, 3, 4))

    config = tiny(tmp_path / "run", regime=regime, losses={"rgba": 1.0, "breaks off": 0.1})
    trainers = []
    for at in (set(), {3, 4, 6, 9}):
        breaks, trainer, calls[0] = at, Trainer.begin(config), 0
        while trainer.iteration < 5:
            try:
                trainer.step()
            except Overdue:
                assert trainer.phase == ""
        trainers.append(trainer)
    straight, broken = trainers
    assert all(map(torch.equal, straight.rule.state_dict().values(), broken.rule.state_dict().values()))
    assert torch.equal(straight.pool.states, broken.pool.states) and straight.iteration == broken.iteration
    assert torch.equal(straight.pool.generator.get_state(), broken.pool.generator.get_state())


def test_one_bad_iteration_at_the_end_does_no_harm(tmp_path, registries):
    run = nca3d.train(tiny(tmp_path / "run", **plugin(tmp_path, "nan_last", 12, 99)), progress=False)
    assert checkpoint.load(run.folder).step == 12


def test_names_nobody_registered_are_told_all_at_once(tmp_path):
    config = tiny(tmp_path / "run", rule="convv", losses={"rgbaa": 1.0}, damages=("spere",))
    with pytest.raises(InputErrors) as caught:
        nca3d.train(config, progress=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for word in ("did you mean 'conv'", "did you mean 'rgba'", "did you mean 'sphere'"):
        assert any(word in line for line in lines)
    assert not (tmp_path / "run").exists()


def test_what_cannot_fit_in_memory_is_refused_at_once(tmp_path):
    """B27."""
    config = tiny(tmp_path / "run", size=(512, 512, 512), pool_size=4096)
    with pytest.raises(InputError, match="GiB that are free"):
        nca3d.train(config, progress=False)
    assert not (tmp_path / "run").exists()


def test_threads_are_given_back(tmp_path):
    """Small lattices compute with one thread, and a notebook has its own number again afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert choose_threads(TINY) == 1
        assert choose_threads(TINY.replace(size=(40, 40, 40))) == 2
        assert choose_threads(TINY.replace(threads=3)) == 3
        nca3d.train(tiny(tmp_path / "run", iterations=1), progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path):
    """F25: resident memory is flat after a warm-up, and so are threads and open files."""
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    trainer = Trainer.begin(TINY.replace(iterations=5000))
    sizes = []
    for iteration in range(1, 1701):
        trainer.step()
        if iteration >= 900 and iteration % 100 == 0:
            sizes.append((process.memory_info().rss, process.num_threads(), process.num_fds()))
    growth = (sizes[-1][0] - sizes[0][0]) / 800
    assert growth < 1024, f"{growth:.0f} bytes an iteration"
    assert sizes[-1][1:] == sizes[0][1:]


@pytest.mark.parametrize("changes", [{"plugins": ("nowhere.py",)}, {"target": "nowhere.npy"}, {"init": "nowhere"}])
def test_bad_input_writes_nothing(tmp_path, changes):
    with pytest.raises(InputError):
        nca3d.train(tiny(tmp_path / "run", **changes), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_refused_in_the_first_iteration_leaves_nothing(tmp_path, registries):
    """The same command, mended, can be given again."""
    LOSSES.register("of no shape")(lambda moments, target, rule: moments.sum())
    config = tiny(tmp_path / "new" / "run", losses={"of no shape": 1.0})
    with pytest.raises(InputError, match="of no shape"):
        nca3d.train(config, progress=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_a_run_can_be_used_from_any_folder(tmp_path, monkeypatch, registries):
    """Relative paths in a config are those of the folder in which training began."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    np.save("own.npy", np.ones((3, 3, 3), dtype=np.int64))
    config = tiny(tmp_path / "run", target="own.npy", **plugin(Path(), "own_relative", 99, 99)).replace(losses={"classes": 1.0})
    nca3d.train(config, progress=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    nca3d.train(nca3d.Config.load(tmp_path / "run" / "config.toml"), resume=tmp_path / "run", progress=False)
    rule = nca3d.load(tmp_path / "run")
    assert nca3d.targets.load(rule.card["target"], size=rule.card["size"]).occupied.sum() == 27
    assert main(["evaluate", str(tmp_path / "run")]) == 0


def test_init_starts_from_a_trained_rule(tmp_path):
    first = nca3d.train(tiny(tmp_path / "first"), progress=False)
    trainer = Trainer.begin(TINY.replace(init=str(first.folder)))
    assert all(torch.equal(a, b) for a, b in zip(first.rule.parameters(), trainer.rule.parameters(), strict=True))
    with pytest.raises(InputError, match="init"):
        Trainer.begin(TINY.replace(init=str(first.folder), hidden=(5,)))


def test_init_of_another_width_says_what_to_set():
    """All that differs, in one line; and set so, it begins."""
    wanted = TINY.replace(init="zoo:frog")
    with pytest.raises(InputError) as caught:
        Trainer.begin(wanted)
    frog, line = nca3d.load("zoo:frog"), str(caught.value)
    found, _, asked = line.partition(", allowed ")
    assert "\n" not in line and line.startswith('zoo:frog: init: found rule = "CodedRule", ')
    assert f"hidden = {list(frog.hidden)}, " in found and f"channels = {frog.channels}, " in found
    assert f"hidden = {list(TINY.hidden)}, " in asked and f"channels = {TINY.channels}, " in asked
    way = f"--hidden {frog.hidden[0]} --perception {frog.perception} --channels {frog.channels} --code {frog.code}"
    assert asked.endswith(f"or set {way} and choose a target of 15 classes")
    jack = TINY.replace(init="zoo:jack")
    with pytest.raises(
        InputError, match=r"found hidden = \[128\], perception = \"isotropic\".*--hidden 128 --perception isotropic"
    ):
        Trainer.begin(jack.replace(channels=16))
    same = jack.replace(channels=16, hidden=(128,), perception="isotropic", fire_rate=0.7)
    assert torch.equal(Trainer.begin(same).rule.network[0].weight, nca3d.load("zoo:jack").network[0].weight)


def test_a_loaded_rule_has_its_card(tmp_path):
    run = nca3d.train(tiny(tmp_path / "run", average=0.5), progress=False)
    rule = nca3d.load(run.folder)
    assert rule.card["size"] == [7, 7, 7]
    assert (rule.card["target"], rule.card["horizon"]) == ("sphere", 8)
    assert all(torch.equal(a, b) for a, b in zip(rule.parameters(), run.rule.parameters(), strict=True))
    live = checkpoint.load(run.folder).groups["weights"]
    assert not torch.equal(live["network.2.weight"], rule.network[2].weight)  # the average is what one gets


def test_regimes_ask_for_different_starts():
    growing, persistent, regenerating = (
        Trainer.begin(TINY.replace(regime=regime)) for regime in ("growing", "persistent", "regenerating")
    )
    assert (len(growing.pool), len(persistent.pool), len(regenerating.pool)) == (1, 8, 8)
    for trainer in (growing, persistent, regenerating):
        trainer.step()
    assert growing.pool.age.tolist() == [0]
    assert persistent.pool.age.max() > 0


def test_pooled_states_are_aged_before_training_goes_on():
    """Only states that are neither fresh nor just damaged; the pool counts those steps too."""
    config = TINY.replace(ageing=40, iterations=40)
    trainer = Trainer.begin(config)
    with torch.no_grad():
        trainer.rule.network[-1].weight.copy_(0.01 * torch.ones_like(trainer.rule.network[-1].weight))
    states = nca3d.rollout(trainer.rule, nca3d.seed_state(trainer.rule, config.size, 4), 3)
    flags = torch.tensor([[True, False, False, False], [False, True, False, False]])
    ready = pools.Prepared(states, *flags)
    older, ages = age_states(config, 15, trainer.task, trainer.rule, ready, torch.zeros(4, dtype=torch.int64), torch.arange(4))
    assert ages[:2].tolist() == [0, 0]
    assert 0 < int(ages[2]) == int(ages[3]) <= 40
    assert torch.equal(older[:2], states[:2])
    assert not torch.equal(older[2:], states[2:])
    for iteration in (5, 16):  # the curriculum is not over; not one in five
        assert not age_states(
            config, iteration, trainer.task, trainer.rule, ready, torch.zeros(4, dtype=torch.int64), torch.arange(4)
        )[1].any()
    trainer.iteration = 14
    trainer.step()
    assert int(trainer.pool.age.max()) == int(ages[2]) + draw_steps(config, 15, config.curriculum)


def test_steps_grow_with_the_curriculum():
    config = nca3d.Config(size=(11, 20, 15), curriculum=0.5, iterations=1000)
    early = [draw_steps(config, iteration, config.curriculum) for iteration in range(1, 60)]
    late = [draw_steps(config, iteration, config.curriculum) for iteration in range(500, 1000)]
    assert min(early) >= 12 and max(early) <= 18
    assert (min(late), max(late)) == (25, 50)


def test_counted_generators_differ_by_iteration_and_purpose():
    draws = {
        torch.rand(1, generator=counted_generator(TINY, iteration, purpose)).item()
        for iteration in range(20)
        for purpose in (1, 2)
    }
    assert len(draws) == 40


@pytest.mark.parametrize(
    ("schedule", "expected"), [("constant", [1, 1, 1]), ("step", [1, 0.1, 0.01]), ("cosine", [0.775, 0.325, 0.1])]
)
def test_schedules(schedule, expected):
    config = TINY.replace(
        schedule=schedule, final_learning_rate=0.1, iterations=300, learning_rate=0.5, warmup=10, milestones=(0.5, 0.8)
    )
    found = [learning_rate(config, iteration) / 0.5 for iteration in (100, 200, 300)]
    assert found == pytest.approx(expected, abs=2e-3)
    assert learning_rate(config, 1) == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(
    ("schedule", "before", "after"),
    [("constant", [1, 1], [0.5, 0.5]), ("step", [1, 0.01], [0.5, 0.005]), ("cosine", [1, 0.1], [0.5, 0.05])],
)
def test_the_healing_phase_runs_the_schedule_anew_at_half_its_height(schedule, before, after):
    config = TINY.replace(
        schedule=schedule,
        final_learning_rate=0.1,
        iterations=1000,
        learning_rate=0.5,
        warmup=0,
        milestones=(0.5, 0.8),
        healing_phase=0.2,
    )
    found = [learning_rate(config, iteration) / 0.5 for iteration in (1, 800, 801, 1000)]
    assert found == pytest.approx(before + after, abs=2e-3)
    assert not healing(config, 800) and healing(config, 801)
    assert not healing(config.replace(healing_phase=0.0), 1000)


def test_tensorboard_events_are_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = nca3d.train(tiny(tmp_path / "run", tensorboard=True), progress=False)
    events = EventAccumulator(str(run.folder / "tensorboard"))
    events.Reload()
    assert [e.step for e in events.Scalars("loss")] == list(range(1, 13))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_exits(tmp_path, number, code):
    """F9, F10: from the shell, in a real process; then the run is resumed to its end."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "nca3d", "train"]
    flags = ["--target", "sphere", "--size", "7", "7", "7", "--hidden", "16", "--batch", "4", "--pool-size", "8"]
    flags += ["--damage-count", "1", "--steps", "4", "8", "--iterations", "100000", "--no-report", "--out", str(folder)]
    child = subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True)
    metrics, patience = folder / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < patience:
        time.sleep(0.05)
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == code, errors
    assert "nca3d train --resume" in errors
    done = checkpoint.load(folder).step
    more = [*command, "--resume", str(folder), "--iterations", str(done + 3)]
    subprocess.run(more, check=True, capture_output=True, timeout=60)
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert max(line["iteration"] for line in lines) <= done + 3
    assert checkpoint.load(folder).step == done + 3


@pytest.mark.slow
def test_training_learns_to_grow_hold_and_heal(tmp_path):
    """Trained quality, end to end with a report: a lopsided cross, from nothing, in about a minute."""
    config = nca3d.Config(
        target="cross",
        size=(9, 9, 9),
        channels=12,
        hidden=(64,),
        batch=4,
        pool_size=32,
        damage_count=1,
        iterations=500,
        steps=(12, 20),
        learning_rate=6e-3,
        average=0.98,
        out=str(tmp_path / "run"),
        random_seed=1,
    )
    run = nca3d.train(config, progress=False)
    assert run.report["grow_iou"] >= 0.9
    assert run.report["heal_iou"]["half_space"] >= 0.8
    assert run.report["hold_iou_1000"] >= 0.8
    for name in ("report.html", "creature.html", "report.json", "growth.png", "curves.png", "config.toml", "metrics.jsonl"):
        assert (run.folder / name).stat().st_size > 0, name
    written = json.loads((run.folder / "report.json").read_text())
    assert written["grow_iou"] == pytest.approx(run.report["grow_iou"])
