"""CAX gets the same rule and state in its own order of channels; where it is installed, it computes the same."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from nca3d.bench.cax_peer import CaxRunner, cax_inputs, find_cax
from nca3d.bench.inputs import loss, make_rule, make_state
from nca3d.bench.settings import SETTINGS
from nca3d.errors import InputError
from nca3d.rollout import rollout

SETTING = replace(SETTINGS["quick-body"], size=(10, 11, 9), steps=4, living=0.3, fire_rate=1.0)
ORDER = [0, 1, 2, *range(4, 16), 3]


def test_channels_last_alpha_last():
    rule = make_rule(SETTING)
    state = make_state(SETTING, rule)
    arrays = cax_inputs(rule, state)
    assert arrays["state"].shape == (2, 10, 11, 9, 16)
    assert np.array_equal(arrays["state"][..., -1], state[:, 3])
    assert arrays["kernel"].shape == (3, 3, 3, 1, 64)
    seen = rule.perceive(state)[0, :, 4, 5, 4].view(4, 16)[:, ORDER].t().flatten()  # channel by channel
    own = np.maximum(arrays["weight_0"].T @ seen.numpy() + arrays["bias_0"], 0) @ arrays["weight_1"] + arrays["bias_1"]
    wanted = rule.update(rule.perceive(state)[0, :, 4, 5, 4])[ORDER]
    np.testing.assert_allclose(own, wanted.detach().numpy(), atol=1e-5)


def test_a_python_without_cax_is_refused():
    with pytest.raises(InputError, match=r"--cax: found .*nowhere"):
        find_cax("nowhere/python")
    assert find_cax(None) is None or os.path.exists(find_cax(None))


def test_cax_computes_the_same():
    python = os.environ.get("NCA3D_CAX_PYTHON") or find_cax()
    if python is None:
        pytest.skip("no CAX here; $NCA3D_CAX_PYTHON names a Python that has it")
    runner = CaxRunner(SETTING, python, torch.device("cpu"))
    try:
        rule = make_rule(SETTING)
        wanted = loss(rollout(rule, make_state(SETTING, rule), SETTING.steps), rule)
        assert runner.loss() == pytest.approx(float(wanted), rel=1e-5)
        assert runner.time(True, 0) > 0
    finally:
        runner.close()
