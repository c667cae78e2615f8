"""The yardstick, on rules whose answer is known."""

import json

import pytest
import torch

import nca3d
import pools
from nca3d.errors import InputError
from nca3d.evaluation import Preset, Report, Wound
from nca3d.evaluation.presets import grid
from nca3d.evaluation.story import film
from nca3d.evaluation.studies import persistence
from nca3d.evaluation.studies.regeneration import Healing
from nca3d.evaluation.trials import Trials, Watch
from nca3d.evaluation.wounds import apply_wound
from nca3d.reports.body import write_body
from nca3d.reports.compare import compare
from nca3d.reports.report import read_report
from nca3d.reports.values import bootstrap, wilson
from nca3d.rules import ConvRule, Rule

# They share evaluations of trained rules.
pytestmark = pytest.mark.slow

SIZE = (7, 7, 7)


class Instant(Rule):
    """A rule that knows: hidden channel 4 holds, in the seed, nothing; alpha grows by 1 a step into every seen neighbour."""

    def kernels(self):
        return [None, torch.ones(1, 3, 3, 3)]

    def update(self, perception):
        own, around = perception[..., : self.channels], perception[..., self.channels :]
        change = torch.zeros_like(own)
        change[..., self.alpha] = (around[..., self.alpha] > 0.5).float() * self.rate - own[..., self.alpha] * self.rate
        return change

    def spec(self):
        return {}

    rate = 1.0


def filled() -> nca3d.Target:
    """The whole lattice as a body: what `Instant` grows into."""
    values = torch.cat([torch.zeros(3, *SIZE), torch.ones(1, *SIZE)])
    return nca3d.Target(values, torch.ones(SIZE, dtype=torch.bool), "rgb")


@pytest.fixture(scope="module")
def report():
    return nca3d.evaluate(Instant(6, fire_rate=1.0), filled(), horizon=4, samples=2)


def test_a_rule_that_grows_and_heals_scores_one(report):
    assert report["grow_iou"] == report["hold_iou_1000"] == 1.0
    assert report["heal_iou"] == {"half_space": 1.0, "sphere": 1.0, "random_cells": 1.0}
    assert report["hurt_iou"]["half_space"] == pytest.approx(0.5, abs=0.01)
    assert report["hurt_iou"]["sphere"] == pytest.approx(0.8, abs=0.01)
    assert report["steps_held"] == 1000
    assert report["heal_iou.sphere"] == 1.0
    with pytest.raises(KeyError, match=r"heal_iou\.sfere"):
        report["heal_iou.sfere"]


def test_a_fresh_rule_grows_nothing_and_the_tool_says_no():
    target = nca3d.targets.load("sphere", SIZE)
    report = nca3d.evaluate(ConvRule(), target, horizon=4, samples=2)
    assert report["grow_iou"] == pytest.approx(1 / int(target.occupied.sum()))
    assert max(report["heal_iou"].values()) < 0.1


class Fading(Instant):
    """Grows, and loses each cell 251 steps after it was born: a hidden clock counts them (the seed's begins at 1)."""

    def update(self, perception):
        change = super().update(perception)
        change[..., self.alpha + 1] = 1 / 256
        late = (perception[..., self.alpha + 1] % 1) >= 251 / 256
        change[..., self.alpha] -= 2.0 * late
        return change


def test_steps_held_finds_the_step_of_extinction():
    report = nca3d.evaluate(Fading(6, fire_rate=1.0), filled(), horizon=4, samples=2)
    assert report["grow_iou"] == 1.0
    assert report["hold_iou_1000"] == 0.0
    # Cells at distance r from the seed are born in step r; the corners, at distance 3, go last.
    assert report["persistence.extinction_step"] == 3 + 251 - 4
    assert report["persistence.blow_up_step"] is None
    assert report["steps_held"] == 247
    assert report.spread["steps_held"] == [247] * 2


def watched(quality=1.0, volume=100.0, peak=2.0, finite=True, steps=1000):
    """A hold of one body as it would have been seen, from numbers or functions of the step since the horizon."""
    at = torch.arange(steps + 1)

    def series(value):
        return (value(at.double()) if callable(value) else torch.full((steps + 1,), float(value))).float()[:, None]

    fine = (finite(at) if callable(finite) else torch.full((steps + 1,), finite))[:, None]
    return Watch(at + 40, series(quality), series(0.0), series(volume), series(peak), fine, series(0.0))


@pytest.mark.parametrize(
    ("hold", "held"),
    [
        (watched(), 1000),
        (watched(quality=0.51), 1000),
        (watched(quality=0.03), 0),  # still, but nothing was grown
        (watched(quality=lambda t: 0.9 - 0.04 * (torch.sin(t) > 0.999)), 1000),  # shimmers, within 5 %
        (watched(quality=lambda t: 0.9 - 0.05 * (t == 613)), 612),  # one step is enough
        (watched(finite=lambda t: t < 77), 76),
        (watched(peak=lambda t: torch.where(t < 1, 2.0, torch.where(t < 500, 19.9, 20.1))), 499),
        (watched(volume=lambda t: torch.where(t < 1, 100.0, torch.where(t < 500, 299.0, 300.0))), 499),
        (watched(quality=lambda t: (t < 1) * 1.0), 0),
    ],
)
def test_steps_held_is_the_largest_time_up_to_which_all_is_well(hold, held):
    assert persistence.persistence(hold)["steps_held"] == [held]


def test_fewer_looks_see_the_same():
    rule = nca3d.load("zoo:cross")
    target = nca3d.targets.load("cross", size=tuple(rule.card["size"]))
    trials = Trials(rule, target, 20, samples=2)
    last, all_of_them = trials.watch(trials.seeds(), 52, trial=3)
    same, some = trials.watch(trials.seeds(), 52, trial=3, every=5)
    assert torch.equal(last.values, same.values)
    assert some.steps.tolist() == [*range(0, 51, 5), 52]
    assert torch.equal(some.quality, all_of_them.quality[some.steps])
    assert [steps[-1] for steps in (persistence.windows(some)["steps"], persistence.windows(all_of_them)["steps"])] == [52, 52]
    assert persistence.persistence(watched(quality=lambda t: 0.9 - 0.05 * (t == 613))[::5])["steps_held"] == [1000]
    assert persistence.persistence(watched(quality=lambda t: 0.9 - 0.05 * (t == 615))[::5])["steps_held"] == [610]


def test_drift_period_and_amplitude_are_found():
    wave = persistence.persistence(
        watched(quality=lambda t: 0.9 - 0.02 * t / 1000, volume=lambda t: 100 + 7 * torch.sin(2 * torch.pi * t / 25))
    )
    assert wave["drift"][0] == pytest.approx(-0.02, abs=1e-4)
    assert wave["period"][0] == pytest.approx(25, rel=0.02)
    assert wave["amplitude"][0] == pytest.approx(0.07, abs=0.002)
    noise = torch.randn(1001, generator=torch.Generator().manual_seed(0))
    assert persistence.persistence(watched(volume=lambda t: 100 + noise))["period"] == [None]


def test_a_wound_is_healed_only_if_the_body_stays_whole():
    def healing(path, late, before=0.8):
        quality = torch.tensor(path)[:, None]
        at = torch.arange(len(path))
        seen = Watch(at, quality, quality, quality, quality, quality > -1, 1 - quality)
        return Healing(Wound("sphere", 0.2), 0, torch.tensor([before]), seen, torch.tensor([late]), torch.tensor([1 - before]))

    # By squared error, half of what was lost has come back: from 0.6 to 0.4, where it was 0.2.
    assert healing([0.4, 0.6], 0.6).mse_regained == [pytest.approx(0.5, abs=1e-5)]
    assert healing([0.8, 0.8], 0.8).mse_regained == [None]
    assert healing([0.4, 0.5, 0.61, 0.77], 0.79).recovered == [1.0]
    assert healing([0.4, 0.5, 0.61, 0.77], 0.75).recovered == [0.0]  # whole for a while
    assert healing([0.4, 0.5, 0.61, 0.75], 0.79).recovered == [0.0]  # whole too late
    assert healing([0.77, 0.77, 0.78, 0.8], 0.79).recovered == [None]  # nothing was lost
    assert healing([0.1, 0.1, 0.1, 0.1], 0.1, before=0.1).recovered == [0.0]  # there was no body
    assert healing([0.4, 0.5, 0.61, 0.77], 0.79).half_step == [2]
    assert healing([0.4, 0.5, 0.5, 0.5], 0.5).half_step == [None]


def test_the_interval_covers_the_mean_and_narrows():
    few, many = ([0.0, 1.0] * n for n in (4, 100))
    low, high = bootstrap(few)
    assert low < 0.3 and high > 0.7
    assert bootstrap(many)[1] - bootstrap(many)[0] < 0.2
    assert bootstrap([0.5, None, 0.5]) == [0.5, 0.5]
    assert bootstrap([0.5]) is None and bootstrap([None, None]) is None


def test_shares_have_wilson_intervals():
    """Against Newcombe 1998, table I, and by hand: none of n reaches up to z² / (n + z²)."""
    for right, count, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 5, 0.0, 0.4345),
        (5, 5, 0.5655, 1.0),
    ):
        assert wilson([1.0] * right + [0.0] * (count - right) + [None]) == pytest.approx([low, high], abs=5e-5)
    assert wilson([None]) is None
    report = Report({}, {"split.test.top1": [0.0] * 5, "split.test.cosine": [0.0] * 5})
    assert report.intervals["split.test.top1"][1] == pytest.approx(0.4345, abs=5e-5)
    assert report.intervals["split.test.cosine"] == [0.0, 0.0]


TINY = Preset(
    samples=3,
    hold_steps=30,
    late_steps=10,
    wounds=grid((0.25,)),
    moments=(0, 5),
    injuries=2,
    studies=("regeneration", "robustness", "emergence"),
)


@pytest.fixture(scope="module")
def studied():
    """Every study, of a rule that heals at once."""
    return nca3d.evaluate(Instant(6, fire_rate=1.0), filled(), TINY, horizon=4)


def test_every_study_of_a_rule_that_heals(studied):
    assert studied["regeneration.recovered_small"] == studied["regeneration.recovered_half_space"] == 1.0
    assert studied["regeneration.injury.2"] == 1.0
    assert studied["regeneration.control_untrained"] == 0.0
    assert len(studied.series["grid"]) == 2 * len(TINY.wounds)
    assert studied["robustness.unchanged"] == 1.0
    assert "lattice × 1.5" in studied["robustness"] and "10 % foreign cells" in studied["robustness"]
    assert len(studied.spread["robustness.unchanged"]) == 3
    assert studied.intervals["robustness.unchanged"] == [1.0, 1.0]
    assert studied["emergence.compressibility"] > 0.5


def test_reports_come_back_from_json_and_pages_stand_alone(studied, tmp_path):
    again = Report.from_json(studied.to_json())
    assert dict(again) == json.loads(json.dumps(dict(studied)))
    assert again.intervals == studied.intervals
    assert write_body(tmp_path / "study", studied) == tmp_path / "study" / "report.html"
    page = (tmp_path / "study" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "http" not in page.replace("data:image", "")
    assert {path.name for path in (tmp_path / "study").iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "persistence.png",
        "regeneration.png",
        "recovery.png",
        "robustness.png",
    }
    assert read_report(tmp_path / "study")["grow_iou"] == 1.0
    table, figure = compare({"one": studied, "other": again})
    assert "| grow_iou | 1.000 (1.000 – 1.000) | 1.000 (1.000 – 1.000) |" in table
    assert figure.axes


def test_what_is_no_report_is_refused(tmp_path):
    with pytest.raises(InputError, match="nca3d evaluate makes one"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text("[1]")
    with pytest.raises(InputError, match="found a list"):
        read_report(tmp_path)


def test_reports_can_be_read_back(report, tmp_path):
    assert json.loads(report.to_json(tmp_path / "r.json")) == json.loads((tmp_path / "r.json").read_text())
    assert "| heal_iou.sphere | 1.000 | 1.000 – 1.000 | 1.000 – 1.000 |" in report.to_markdown()
    assert "<td>grow_iou</td><td>1  (1 – 1)</td>" in report.to_html()


def test_without_a_target_the_card_names_it():
    rule, little = nca3d.load("zoo:cross"), Preset(samples=1, hold_steps=3, late_steps=0)
    target = nca3d.targets.load("cross", size=tuple(rule.card["size"]), **rule.card["target_options"])
    assert dict(nca3d.evaluate(rule, preset=little)) == dict(nca3d.evaluate(rule, target, little))
    with pytest.raises(InputError, match="card: found none that names a body"):
        nca3d.evaluate(ConvRule())


def test_a_wound_is_the_damage_that_it_names():
    rule, state = ConvRule(8), torch.zeros(3, 8, *SIZE)
    state[:, :, 1:6, 1:5, 2:6] = 1.0
    wound, body = Wound("half_space", 0.4, {"direction": "+x"}), state[:, rule.alpha] > 0.1
    generators = [torch.Generator().manual_seed(5) for _ in range(2)]
    mask = pools.damage.half_space(SIZE, 3, severity=0.4, body=body, generator=generators[0], direction="+x")
    after = apply_wound(rule, state, wound, generators[1])
    assert torch.equal(after, torch.where(mask, 0.0, state)) and wound.name == "half_space +x 0.4"


def test_a_life_is_filmed_for_a_page():
    rule = nca3d.load("zoo:cross")
    target = nca3d.targets.load("cross", size=tuple(rule.card["size"]), **rule.card["target_options"])
    filmed = film(rule, target, 12)
    frames, steps = filmed.growth
    assert len(frames) == len(steps) and (steps[0], steps[-1]) == (0, 12) and filmed.target.shape == frames.shape[1:]
    for damage, (healing, at, cut) in filmed.heal.items():
        alive = (healing[..., 3] > 0).sum(axis=(1, 2, 3))
        assert (at[0], at[cut], at[-1]) == (12, 12, 36) and alive[cut] < alive[0], damage
        times, quality = filmed.timelines[damage]
        assert len(times) == len(quality) == len(frames) + len(healing) - 1 and times[len(steps)] == 12
        assert quality[len(steps)] < quality[len(steps) - 1]


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(InputError, match="did you mean 'quick'"):
        nca3d.evaluate(ConvRule(), filled(), preset="quik")
