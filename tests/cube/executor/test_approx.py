"""The executor `event-approx`: exact at a threshold of 0, a small error and less work above, and what it refuses."""

import pytest
import torch

import nca3d
from nca3d.cube.executor.approx import ApproxReport, ApproxRollout, report
from nca3d.cube.executor.resting import CELLS_COPIED, pairs_by_cell
from nca3d.cube.weights import MODES
from nca3d.fire import Draw
from nca3d.rules.inputs import Inputs
from nca3d.sparse import compact, dense

SIZE = (5, 4, 6)


def cube(size=SIZE, shake=0.05, **options):
    given = {"features": 8, "memory": 4, "external": 3, "widened": 12, "generator": torch.Generator().manual_seed(0)}
    rule = nca3d.GMLPRule(size, **{**given, **options})
    with torch.no_grad():
        for weight in rule.cells.own.values():
            weight += shake * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    return rule.requires_grad_(False)


def conv(**options):
    """Without an alive mask, and drawn to a fixed point."""
    rule = nca3d.ConvRule(8, (24,), alive_threshold=None, step_size=0.2, **options, generator=torch.Generator().manual_seed(0))
    rule.update = lambda seen: 1.0 + torch.tanh(0.1 * rule.network[:-1](seen)[..., :8]) - seen[..., :8]
    return rule.requires_grad_(False)


def states(rule, batch=3, size=SIZE, random_seed=0):
    return torch.randn(batch, rule.channels, *size, generator=torch.Generator().manual_seed(random_seed))


def told(rule, batch=3, random_seed=2):
    generator = torch.Generator().manual_seed(random_seed)
    return Inputs(torch.randn(batch, 8, 4, 6, generator=generator), torch.randn(batch, 3, *SIZE, generator=generator))


def counted(rule, state, steps, threshold, inputs=None):
    """The last state and (computed, fired) of each step."""
    opened = ApproxRollout(threshold)
    draw = Draw(0, 0, torch.arange(len(state)), tuple(state.shape[2:]), rule.fire_rate, steps)
    rule = rule if inputs is None else nca3d.rules.inputs.RuleWithInputs(rule, inputs)
    return opened(rule, state, draw, 0, steps, None), opened.counts


# Exact at 0 -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("preset", ["nca", "cube"])
@pytest.mark.parametrize("scales", [{}, {"types_by": "learned"}, {"periods": (1, 3)}, {"periods": (2, 1), "coarse": 2}])
@pytest.mark.parametrize("fire_rate", [0.5, 1.0])
def test_at_zero_it_is_dense(mode, preset, scales, fire_rate):
    rule = cube(weights=mode, preset=preset, fire_rate=fire_rate, step_size=0.8, **scales)
    given = {"inputs": told(rule), "random_seed": 5, "first_step": 3}
    found = nca3d.rollout(rule, states(rule), 12, executor="event-approx", activity_threshold=0.0, **given)
    wanted = nca3d.rollout(rule, states(rule), 12, executor="dense", **given)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("padding", ["zeros", "circular"])
@pytest.mark.parametrize("perception", ["gradient", "isotropic", "learned"])
def test_at_zero_it_is_dense_for_rules_of_kernels(perception, padding):
    rule = nca3d.ConvRule(8, (24,), perception, alive_threshold=None, padding=padding).requires_grad_(False)
    torch.nn.init.normal_(rule.network[-1].weight, std=0.1, generator=torch.Generator().manual_seed(1))
    found = nca3d.rollout(rule, states(rule), 8, executor="event-approx", activity_threshold=0.0)
    wanted = nca3d.rollout(rule, states(rule), 8, executor="dense")
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6 * float(wanted.abs().max()))


def test_recording_on_the_way_changes_nothing():
    rule = cube(preset="cube")
    given = {"executor": "event-approx", "activity_threshold": 0.1, "inputs": told(rule)}
    plain = nca3d.rollout(rule, states(rule), 9, **given)
    assert torch.equal(nca3d.rollout(rule, states(rule), 9, record_every=2, **given).states[-1], plain)
    assert torch.equal(dense(nca3d.rollout(rule, compact(states(rule)), 9, **given)), plain)


def test_calls_do_not_remember_each_other():
    rule = cube(preset="cube")
    given = {"executor": "event-approx", "activity_threshold": 10.0}
    first = nca3d.rollout(rule, states(rule), 1, **given)
    nca3d.rollout(rule, states(rule, random_seed=7), 3, **given)
    assert torch.equal(nca3d.rollout(rule, states(rule), 1, **given), first)


# Less work, a small error ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_settled_cube_rests():
    """A held question: once the answer has arrived, most cells are skipped; the error follows the threshold."""
    rule = cube((6, 5, 5), preset="cube", start="carry", weights="per_cell")
    asked = rule.ask(torch.randn(2, 25, generator=torch.Generator().manual_seed(0)))
    found = [report(rule, rule.rest(2), 60, inputs=asked, activity_threshold=t) for t in (0.0, 1e-4, 1e-3, 1e-2, 1e-1)]
    errors, saved = [one.error_max for one in found], [one.saved for one in found]
    assert errors[0] < 1e-6 and errors == sorted(errors) and saved == sorted(saved)
    assert errors[2] < 2e-3 and errors[3] < 2e-2 and errors[1] > 0
    assert saved[2] > 0.5 and found[2].saved_by_step[0] == 0 and found[2].saved_by_step[-1] > 0.99
    assert all(one.error_mean <= one.error_max and len(one.saved_by_step) == 60 for one in found)
    assert isinstance(found[0], ApproxReport) and found[0].seconds_dense > 0 and found[0].seconds_approx > 0


def test_only_counted_pairs_are_computed(monkeypatch):
    """The figure is no wish: the cell is really asked for no more samples of cells than the counts say, but for padding."""
    rule, asked = cube(preset="cube", weights="shared"), []
    plain = rule.cell
    monkeypatch.setattr(rule, "cell", lambda w, seen, memory: asked.append(seen[..., 0].numel()) or plain(w, seen, memory))
    _, counts = counted(rule, states(rule), 60, 1e-2, told(rule))
    assert sum(asked) == sum(computed for computed, _ in counts) < 0.7 * sum(fired for _, fired in counts)
    assert counts[0] == (3 * 120, 3 * 120)


def test_a_cell_that_does_not_fire_is_not_computed():
    rule = cube(preset="cube", fire_rate=0.3)
    _, counts = counted(rule, states(rule), 5, 0.0)
    masks = nca3d.fire_mask(0, range(5), range(3), SIZE, 0.3)
    assert [fired for _, fired in counts] == masks.flatten(1).sum(dim=1).tolist()
    assert all(computed <= fired for computed, fired in counts)


def test_nothing_drifts_at_a_fixed_point():
    rule = cube(shake=0.0, preset="cube", start="carry")
    settled = nca3d.rollout(rule, rule.rest(2), 300, inputs=Inputs(told(rule, 2).face))
    later, counts = counted(rule, settled, 200, 1e-2, Inputs(told(rule, 2).face))
    assert sum(computed for computed, _ in counts) == counts[0][0]  # once, and never again
    assert (later - settled).abs().max() < 1e-4 * settled.abs().max()


def test_samples_rest_on_their_own():
    """A sample at a fixed point costs nothing, whatever goes on in another; a sample's states don't depend on it."""
    rule = cube(shake=0.0, preset="cube", start="carry")
    settled = nca3d.rollout(rule, rule.rest(1), 300)
    both = torch.cat([settled, states(rule, 1)])
    out, counts = counted(rule, both, 5, 1e-2)
    assert all(computed <= fired // 2 for computed, fired in counts[1:]) and counts[1][0] > 0
    alone, _ = counted(rule, both[1:], 5, 1e-2)
    torch.testing.assert_close(out[1:], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("what", ["features", "memory"])
def test_whatever_a_cell_sees_can_wake_it(what):
    rule = cube(shake=0.0, preset="cube", start="carry")
    settled = nca3d.rollout(rule, rule.rest(1), 300)
    opened = ApproxRollout(1e-2)
    draw = Draw(0, 0, torch.arange(1), SIZE, 1.0, 9)
    state = opened(rule, settled, draw, 0, 4, None)
    state = state.clone()
    state[0, 0 if what == "features" else 8, 2, 2, 3] += 1.0
    opened(rule, state, draw, 4, 5, None)
    # its own features are seen by six neighbours too, its memory by itself alone
    assert opened.counts[-1][0] == (7 if what == "features" else 1)


def test_a_slow_drift_is_not_lost():
    """Changes below the threshold add up: a cell is asked again before its input is off by more."""

    class Drifting(nca3d.ConvRule):
        def update(self, perception):
            return torch.full_like(perception[..., : self.channels], 0.004)

    rule = Drifting(4, (8,), alive_threshold=None, fire_rate=1.0).requires_grad_(False)
    _, counts = counted(rule, torch.zeros(1, 4, 3, 3, 3), 20, 0.0101)
    computed = [computed for computed, _ in counts]
    assert computed[0] == 27 and computed[1:3] == [0, 0] and computed[3] == 27
    assert [n for n in computed if n] == [27] * 7


def test_rules_of_kernels_rest_too():
    rule = conv(fire_rate=1.0)
    found = [report(rule, states(rule), 80, activity_threshold=t) for t in (1e-4, 1e-2)]
    assert 0.3 < found[0].saved < found[1].saved and found[0].error_max < found[1].error_max < 2e-2


def test_a_broken_cell_is_always_computed():
    """NaN is a change: it spreads as in dense, and is not hidden behind an old answer."""
    rule = cube(preset="cube")
    state = states(rule)
    state[0, 0, 2, 2, 2] = torch.nan
    found = nca3d.rollout(rule, state, 3, executor="event-approx", activity_threshold=0.0)
    assert torch.equal(found.isnan(), nca3d.rollout(rule, state, 3, executor="dense").isnan())


# How work is pairs_by_cell ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("alike", [True, False])
def test_every_awake_pair_is_dealt_once(share, alike):
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(700, 1 if alike else 5, generator=generator) < share
    mask = mask.expand(700, 5)
    awake = mask.flatten().nonzero().squeeze(1)
    seen = []
    for cells, pairs in pairs_by_cell(awake, 5):
        index = torch.arange(700)[cells]
        assert len(index) == len(pairs) and (isinstance(cells, slice) or len(index) <= CELLS_COPIED)
        assert ((pairs == -1) | (pairs // 5 == index[:, None])).all()
        seen.append(pairs[pairs >= 0])
    assert torch.equal(torch.cat(seen).sort()[0], awake)


def test_cells_side_by_side_are_not_copied():
    assert all(isinstance(cells, slice) for cells, _ in pairs_by_cell(torch.arange(700 * 3), 3))


# What it refuses ------------------------------------------------------------------------------------------------------


class Stepping(nca3d.ConvRule):
    def forward(self, state, fire):
        return state


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nca3d.ConvRule(8, (24,)), "ConvRule, which has an alive mask, allowed 'event'"),
        (lambda: Stepping(8, (24,), alive_threshold=None), "Stepping, which has a step of its own"),
        (
            lambda: nca3d.ConvRule(8, (24,), alive_threshold=None),
            "a gradient may be needed, allowed 'dense', or torch.no_grad()",
        ),
        (lambda: cube(dropout=0.1).train(), "has dropout in training"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(make, words):
    rule = make()
    with pytest.raises(ValueError, match=r"executor: found 'event-approx'") as error:
        nca3d.rollout(rule, states(rule), 2, executor="event-approx")
    assert words in str(error.value) and "\n" not in str(error.value)


def test_gradients_of_what_is_said_are_refused():
    rule = cube(preset="cube")
    face = told(rule).face.requires_grad_()
    with pytest.raises(ValueError, match="a gradient may be needed"):
        nca3d.rollout(rule, states(rule), 2, inputs=Inputs(face), executor="event-approx")
    with torch.no_grad():
        assert nca3d.rollout(rule, states(rule), 2, inputs=Inputs(face), executor="event-approx").isfinite().all()


@pytest.mark.parametrize("threshold", [-1e-3, float("nan"), float("inf")])
def test_bad_thresholds_are_refused(threshold):
    with pytest.raises(ValueError, match=r"activity_threshold: found .*, allowed 0 or more"):
        nca3d.rollout(cube(), cube().rest(), 1, executor="event-approx", activity_threshold=threshold)
    with pytest.raises(ValueError, match="steps: found 0"):
        report(cube(), cube().rest(), 0)


def test_a_report_leaves_the_rule_as_it_was():
    rule = cube(dropout=0.2).train()
    report(rule, rule.rest(), 2)
    assert rule.training


def test_configs_may_ask_for_it():
    config = nca3d.Config(executor="event-approx", activity_threshold=0.01)
    assert nca3d.Config(**{"executor": config.executor}).activity_threshold == 1e-3
    with pytest.raises(ValueError, match="activity_threshold"):
        nca3d.Config(activity_threshold=-1)
