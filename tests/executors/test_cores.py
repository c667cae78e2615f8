"""Threads: small bodies run on one of torch's, in a rollout and its backward pass alone; nobody's choice is changed."""

import pytest
import torch

import nca3d
from nca3d.executors.cores import SMALL, cores
from nca3d.rules.cell import Rule


class Watching(nca3d.ConvRule):
    """A rule that notes with how many threads it is asked, forward and backward; it has no compiled code."""

    def __init__(self) -> None:
        super().__init__(channels=8, hidden=(8,))
        self.seen: dict[str, set[tuple[int, int]]] = {"forward": set(), "backward": set()}

    def update(self, perception):
        self.seen["forward"].add((torch.get_num_threads(), cores()))
        change = super().update(perception) + 0.01
        if change.requires_grad:
            change.register_hook(lambda grad: self.seen["backward"].add((torch.get_num_threads(), cores())))
        return change


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def ran(rule: Rule, size, **options) -> torch.Tensor:
    state = torch.rand(1, rule.channels, *size)
    return nca3d.rollout(rule, state, 3, executor="dense", **options)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("memory", ["keep", "recompute"])
def test_a_small_rollout_and_its_backward_pass_run_on_one_thread(two_threads, memory, compact):
    rule = Watching()
    state = torch.rand(1, 8, 5, 6, 7)
    out = nca3d.rollout(rule, nca3d.compact(state) if compact else state, 3, executor="dense", memory=memory)
    assert torch.get_num_threads() == 2
    (out.values if compact else out).square().mean().backward()
    assert rule.seen == {"forward": {(1, 2)}, "backward": {(1, 2)}}
    assert (torch.get_num_threads(), cores()) == (2, 2)


def test_any_recorded_state_leads_back_on_one_thread(two_threads):
    rule = Watching()
    path = ran(rule, (5, 6, 7), record_every=1)
    path.states[1].square().mean().backward()
    assert rule.seen["backward"] == {(1, 2)} and torch.get_num_threads() == 2


def test_a_large_one_runs_on_all(two_threads):
    rule = Watching()
    ran(rule, (33, 32, 32)).mean().backward()
    assert SMALL < 33 * 32 * 32 and rule.seen == {"forward": {(2, 2)}, "backward": {(2, 2)}}


def test_threads_come_back_where_a_pass_fails(two_threads):
    rule = Watching()

    def fail(grad):
        raise RuntimeError("in the middle")

    for module in (rule.network[0], rule.network[-1]):
        module.weight.register_hook(fail)
    out = ran(rule, (5, 6, 7))
    with pytest.raises(RuntimeError, match="in the middle"):
        out.mean().backward()
    assert (torch.get_num_threads(), cores()) == (2, 2)
