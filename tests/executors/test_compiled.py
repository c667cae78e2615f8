"""The executor `compiled`: whom it refuses, in one line, and that `dense` has nothing to do with it."""

from unittest.mock import patch

import pytest
import torch
from rule_cases import SIZE, OwnNetwork, SixNeighbours, body, lively

import nca3d
from nca3d.executors import choose, event, native_code
from nca3d.rules import ConvRule

pytestmark = pytest.mark.skipif(not native_code.available(torch.zeros(1)), reason="speaks of compiled steps")


class SpatialNorm(ConvRule):
    def perceive(self, state):
        return super().perceive(state) / 2


REFUSED = {
    "ConvRule, which has no alive mask": lambda: (ConvRule(8, (8,), alive_threshold=None), torch.float32),
    "SpatialNorm, which has a step of its own": lambda: (SpatialNorm(8, (8,)), torch.float32),
    "OwnNetwork, which has an update network of its own": lambda: (OwnNetwork(), torch.float32),
    "SixNeighbours, which sees itself more than once": lambda: (SixNeighbours(channels=8, hidden=(24,)), torch.float32),
    "ConvRule, which has parameters of another dtype": lambda: (ConvRule(8, (8,)), torch.float64),
    "ConvRule, which is in float16, where compiled code knows float, double": lambda: (ConvRule(8, (8,)).half(), torch.float16),
}


def refusal(rule, state):
    with pytest.raises(ValueError) as caught:
        nca3d.rollout(rule, state, 1, executor="compiled")
    (line,) = str(caught.value).splitlines()
    assert line.startswith("executor: found 'compiled' for ") and line.endswith(", allowed 'auto', 'dense'")
    assert choose(rule, state) != "compiled"
    return line


@pytest.mark.parametrize("why", REFUSED)
def test_what_it_does_not_know_is_one_line(why):
    rule, dtype = REFUSED[why]()
    assert why in refusal(rule, torch.zeros(1, rule.channels, *SIZE, dtype=dtype))


def test_what_depends_on_the_machine_and_on_the_moment_is_told_too():
    rule = lively("gradient")
    state = body(rule)
    with patch.object(native_code, "library", return_value=None):
        assert "nothing can be built here" in refusal(rule, state)
    with torch.autocast("cpu", dtype=torch.float16):
        assert "is to compute in float16 with a state in float32" in refusal(rule, state)
    with patch.object(event, "MOST_CELLS", 100):
        assert "2**31 cells" in refusal(rule, state)


def test_dense_is_torch_everywhere():
    """Without a line of compiled code, whatever could be had of it."""
    rule = lively("gradient")
    with patch.object(native_code, "library", side_effect=AssertionError):
        nca3d.rollout(rule, body(rule), 2, executor="dense").sum().backward()


@pytest.mark.parametrize("form", [lambda state: state, nca3d.compact])
@torch.no_grad()
def test_the_answer_has_the_form_of_the_question(form):
    rule = lively("gradient")
    state = body(rule)
    found = nca3d.rollout(rule, form(state), 3, executor="compiled")
    wanted = nca3d.rollout(rule, state, 3, executor="dense")
    torch.testing.assert_close(nca3d.dense(found) if isinstance(found, nca3d.Compact) else found, wanted)
    assert nca3d.rollout(rule, state[:0], 3, executor="compiled").shape == (0, 8, *SIZE)
