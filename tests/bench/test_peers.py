"""A peer gets the textbook's state and weights, and is a row beside it; CAX, where it is installed, computes the same."""

import os
import runpy
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from nca3d.bench import peers
from nca3d.bench.contenders import Contender, contenders
from nca3d.bench.inputs import loss, make_rule, make_state
from nca3d.bench.measure import Means, announce, measure_setting
from nca3d.bench.peers import FOLDER, Peer, find_peer
from nca3d.bench.settings import SETTINGS
from nca3d.bench.textbook import Textbook
from nca3d.errors import InputError
from nca3d.rollout import rollout

CPU = torch.device("cpu")
SETTING = replace(SETTINGS["quick-body"], size=(10, 11, 9), steps=4, living=0.3, fire_rate=1.0)
ORDER = [0, 1, 2, *range(4, 16), 3]

WORKER = """
import json, sys
import numpy as np
if sys.argv[1:]:
    names = np.load(sys.argv[1]).files
    answers = {"warm-up": 0.25, "forward": 1.5, "training": 4.0, "memory": [3000, None], "inputs": names + sys.argv[2:]}
    for line in sys.stdin:
        if line.strip() not in answers:
            sys.exit("what is " + line.strip())
        print(json.dumps(answers[line.strip()]), flush=True)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The command of a peer of one's own."""
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    (tmp_path / "own_worker.py").write_text(WORKER)
    return find_peer("own", sys.executable)


@pytest.mark.slow
def test_a_peer_is_asked_and_is_a_row(own):
    assert own == {"own": [sys.executable, str(peers.FOLDER / "own_worker.py")]} == find_peer("own", None)
    assert [c.name for c in contenders(SETTING, ["dense"], own)] == ["textbook", "own", "dense"]
    means, who = Means(CPU, repeats=2, peers=own), [Contender("own")]
    announce(SETTING, who, means)
    (row,) = measure_setting(SETTING, who, means)
    assert (row.contender, row.forward, row.training, row.living_end) == ("own", 1.5, 4.0, 0.25)
    assert (row.allocated, row.resident, row.training_all) == (3000, None, [4.0, 4.0])


def test_a_peer_is_given_the_textbooks_weights_and_its_last_words_are_heard(own):
    peer = Peer(own["own"], SETTING, CPU)
    try:
        words = ["4", "1.0", str(torch.get_num_threads()), "cpu"]
        assert peer.ask("inputs") == ["state", *Textbook(make_rule(SETTING)).state_dict(), *words]
        with pytest.raises(RuntimeError, match="the peer ended: what is love"):
            peer.ask("love")
    finally:
        peer.close()


def test_a_peer_that_is_not_there_is_refused(monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"--cax: found nowhere/python: .*allowed a Python in which .*cax_worker.py runs"):
        find_peer("cax", "nowhere/python")
    monkeypatch.setattr(peers, "FOLDER", tmp_path / "as in a wheel")
    with pytest.raises(InputError, match=r"cax_worker.py.*No such file.*allowed .* from a clone \(pip install -e \.\)"):
        find_peer("cax", sys.executable)
    assert find_peer("cax", None) == {}


def test_cax_has_channels_last_alpha_last():
    rule = make_rule(SETTING)
    state = make_state(SETTING, rule)
    arrays = {name: value.numpy() for name, value in {"state": state, **Textbook(rule).state_dict()}.items()}
    own, kernel, weights, biases = runpy.run_path(str(FOLDER / "cax_worker.py"))["ordered"](arrays, rule.fire_rate)
    assert own.shape == (2, 10, 11, 9, 16)
    assert np.array_equal(own[..., -1], state[:, 3])
    assert kernel.shape == (3, 3, 3, 1, 64)
    seen = rule.perceive(state)[0, :, 4, 5, 4].view(4, 16)[:, ORDER].t().flatten()  # channel by channel
    around = own[0, 3:6, 4:7, 3:6].repeat(4, axis=-1)
    np.testing.assert_allclose((around * kernel[..., 0, :]).sum((0, 1, 2)), seen, atol=1e-5)
    change = np.maximum(seen.numpy() @ weights[0] + biases[0], 0) @ weights[1] + biases[1]
    wanted = rule.update(rule.perceive(state)[0, :, 4, 5, 4])[ORDER]
    np.testing.assert_allclose(change, wanted.detach().numpy(), atol=1e-5)


def test_cax_computes_the_same():
    command = find_peer("cax", os.environ.get("NCA3D_CAX_PYTHON"))
    if not command:
        pytest.skip("no CAX here; $NCA3D_CAX_PYTHON names a Python that has it")
    runner = Peer(command["cax"], SETTING, CPU)
    try:
        rule = make_rule(SETTING)
        wanted = loss(rollout(rule, make_state(SETTING, rule), SETTING.steps), rule)
        assert runner.ask("loss") == pytest.approx(wanted.item(), rel=1e-5)
        assert runner.time(True, 0) > 0
    finally:
        runner.close()
