"""The planner: predictions held against what was then measured."""

import pytest
import torch

from nca3d.bench import plan as planning
from nca3d.bench.contenders import Contender
from nca3d.bench.memory import peak_memory
from nca3d.bench.plan import Plan, _extended, shrunk
from nca3d.bench.settings import Setting
from nca3d.cli import main

CPU = torch.device("cpu")


@pytest.mark.parametrize("share", [1e-6, 0.01, 0.1, 0.5, 0.99, 1.0, 3.0])
@pytest.mark.parametrize(("size", "batch"), [((64, 64, 64), 2), ((15, 15, 11), 256), ((3, 200, 5), 1)])
def test_probes_are_smaller_and_otherwise_the_same(share, size, batch):
    setting = Setting("s", size, batch, 16, 0.1)
    probe = shrunk(setting, share)
    assert (probe.steps, probe.living, probe.hidden) == (16, 0.1, (128,))
    assert all(3 <= side <= whole for side, whole in zip(probe.size, size, strict=True))
    assert 1 <= probe.batch <= batch
    if 0.01 <= share <= 1:
        assert probe.volume / setting.volume == pytest.approx(share, rel=0.3, abs=0.02)


def test_a_line_through_two_volumes():
    assert _extended([10, 20], [5.0, 7.0], 100) == pytest.approx(23)
    assert _extended([10, 20], [5.0, 4.0], 100) == pytest.approx(4), "noise is no negative cost"
    assert _extended([10, 20], [1.0, 7.0], 100) == pytest.approx(35), "nor a negative constant"
    assert _extended([10], [2.0], 30) == pytest.approx(6)


def test_a_plan_says_whether_it_fits():
    setting = Setting("plan", (64, 64, 64), 2, 16, 0.05)
    fits = Plan(setting, "event", 0.5, 100_000_000, 120_000_000, 33_000_000, 1_000_000_000, (shrunk(setting, 0.1),))
    text = fits.words()
    for word in (
        "64×64×64, batch 2, 16 steps, 5 % alive",
        "executor event",
        "0.5 s",
        "100 MB",
        "120 MB",
        ": fits into the 1,000 MB",
    ):
        assert word in text
    assert "does NOT fit" in Plan(setting, "event", 0.5, 10**9, None, 0, 10**8, ()).words()


@pytest.mark.slow
def test_the_command_plans(capsys):
    assert main(["bench", "--plan", "12", "12", "12", "--steps", "4", "--batch", "2", "--living", "0.3"]) == 0
    assert "s a training iteration" in capsys.readouterr().out


def test_a_flat_setting_is_planned_with_flat_probes(capsys):
    assert shrunk(Setting("flat", (1, 64, 64), 4, 8), 0.1).size[0] == 1
    assert main(["bench", "--plan", "0", "12", "12", "--steps", "4", "--batch", "2"]) == 2
    assert "--plan: found '0', allowed a whole number from 1" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        Setting("body48", (48, 48, 48), batch=8, steps=24, living=0.05),
        Setting("cube", (15, 15, 11), batch=24, steps=48),
        Setting("lean64", (64, 64, 64), batch=4, steps=24, living=0.03, channels=12, hidden=(64,)),
    ],
    ids=lambda setting: setting.name,
)
def test_predicted_memory_holds_within_a_factor_of_one_and_a_half(setting, monkeypatch):
    """From smaller probes. Time is predicted the same way: `nca3d bench --plan` beside `nca3d bench` shows how well."""
    monkeypatch.setattr(planning, "PROBE_SECONDS", 0.15)
    planned = planning.plan(setting, CPU, progress=False)
    assert all(probe.volume < setting.volume for probe in planned.probes)
    assert planned.seconds > 0
    found = peak_memory(Contender("auto"), setting, CPU)
    assert planned.allocated is not None and found.allocated is not None
    assert 1 / 1.5 < planned.allocated / found.allocated < 1.5
    if planned.resident and found.resident:
        assert 1 / 1.5 < planned.resident / found.resident < 1.5
