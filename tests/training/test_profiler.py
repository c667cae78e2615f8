"""`nca3d train --profile`: a trace, a page that says where the time went, and the same training."""

import json
import math

import pytest
import torch
from resuming import everything, timeless
from tiny_runs import tiny_body

import nca3d
from nca3d.reports.profile import Operation, Phase, Profile
from nca3d.training.phases import PHASES, Clock, phase, watch
from nca3d.training.profiler import Window, windows


def short(folder, **changes):
    return tiny_body(iterations=16, steps=(4, 6), ageing=6, curriculum=0.0, log_every=4, out=str(folder), **changes)


@pytest.mark.slow
def test_a_run_is_the_same_with_and_without(tmp_path, capfd):
    plain = nca3d.train(short(tmp_path / "plain"), progress=False)
    looked = nca3d.train(short(tmp_path / "looked", profile=True), progress=False)
    one, two = everything(plain), everything(looked)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert timeless(plain.metrics) == timeless(looked.metrics)
    assert not (tmp_path / "plain" / "profile").exists() and not (tmp_path / "plain" / "profile.html").exists()
    assert capfd.readouterr().err == "", "torch's profiler has lines of its own"

    trace = json.loads((tmp_path / "looked" / "profile" / "trace.json").read_text())["traceEvents"]
    names = [event["name"] for event in trace if event.get("cat") == "user_annotation"]
    # 16 iterations: 4 that don't count, 8 that are timed, 4 that are traced.
    assert {name: names.count(name) for name in PHASES if names.count(name) != 4} == {"draw": 8, "losses": 8}
    page = (tmp_path / "looked" / "profile.html").read_text()
    assert "of an iteration is" in page and "the mean of iterations 5 to 12" in page and "iterations 13 to 16" in page
    assert "the backward pass" in page and "http" not in page.replace("http-equiv", "")


def test_too_short_a_run_says_so(tmp_path, capsys):
    nca3d.train(tiny_body(iterations=1, steps=(4, 4), profile=True, out=str(tmp_path / "run")), progress=False)
    assert "profile: too few iterations" in capsys.readouterr().err and not (tmp_path / "run" / "profile.html").exists()


def test_it_looks_early_and_once_more_where_states_age():
    assert windows(0, 3000, 901) == [Window(11, 20, 5), Window(901, 20, 5)]
    assert windows(0, 3000, None) == windows(0, 3000, 1) == [Window(11, 20, 5)]
    assert windows(1000, 3000, 901) == [Window(1011, 20, 5)], "a run that goes on"
    assert windows(0, 40, 13) == [Window(11, 20, 5)], "no room for a second look"
    assert windows(0, 60, 13) == [Window(11, 20, 5), Window(36, 20, 5)], "one after the other"
    for left in range(2, 40):
        (window,) = windows(0, left, None)
        assert window.timed >= 1 <= window.traced and window.first + window.timed + window.traced - 1 <= left
    assert windows(0, 1, None) == windows(7, 7, 1) == []


def test_phases_follow_one_another(monkeypatch):
    clock, now = Clock(torch.device("cpu")), iter([0.0, 1.0, 4.0, 4.5, 6.0])
    monkeypatch.setattr("nca3d.training.phases.time.perf_counter", lambda: next(now))
    watch(clock)
    try:
        for name in ("forward", "backward", "forward", "log", ""):
            phase(name)
    finally:
        watch(None)
    phase("draw")
    assert clock.seconds == {"forward": 1.5, "backward": 3.0, "log": 1.5}


def profile_of(**seconds):
    phases = {name: Phase(words, seconds.get(name, 0.0), 3 << 20) for name, words in PHASES.items()}
    return Profile("t", (3, 4), (5, 6), phases, [Operation("aten::<b>", 2.5, 0.02), Operation("_Steps", 1, 0.06)], 1.25)


def test_the_page_says_what_took_longest_first():
    found = profile_of(forward=0.03, backward=0.062, ageing=0.008)
    assert math.isclose(found.seconds, 0.1)
    page = found.page()
    assert "<p>62 % of an iteration is the backward pass; 30 % is the forward pass" in page
    assert "An iteration takes 100 ms, the mean of iterations 3 to 4." in page
    assert "width:62.0%" in page and "1.2 times as long" in page
    assert "Below 0.5 %: drawing states" in page, "what has no bar is named"
    assert "aten::&lt;b&gt;" in page and "25 %" in page and "3.0 MiB" in page
