"""Memory that rollouts use again, and what layers see, which they keep where there is room."""

import gc

import pytest
import torch

from nca3d import ConvRule, rollout, seed_state
from nca3d.executors.native_code import library
from nca3d.executors.native_part import NativePart
from nca3d.executors.tapes import IDLE, PATIENCE, SMALL, Tapes


def test_a_tape_is_used_again_when_nobody_shares_its_memory():
    tapes = Tapes()
    first = tapes.take(SMALL + 5)
    assert first.shape == (SMALL + 5,) and first.dtype == torch.uint8
    at, alias = first.data_ptr(), first[7:].detach()
    del first
    gc.collect()
    second = tapes.take(SMALL + 5)
    assert second.data_ptr() != at, "a part of the first still uses it"
    del alias
    gc.collect()
    assert tapes.take(SMALL + 9).data_ptr() == at
    assert tapes.take(SMALL + 9).data_ptr() != second.data_ptr()


def test_idle_tapes_are_few_and_go_when_nobody_needs_them():
    tapes = Tapes()
    several = [tapes.take(IDLE // 4) for _ in range(6)]
    del several
    assert sum(len(block) for block, _ in tapes.idle) <= IDLE
    for _ in range(PATIENCE + 1):
        tapes.take(SMALL)
    assert all(len(block) <= 2 * SMALL for block, _ in tapes.idle)
    # Nothing is kept of what is small.
    taken = tapes.taken
    tapes.take(SMALL - 1)
    assert tapes.taken == taken


@pytest.mark.skipif(library(torch.float32) is None, reason="needs compiled code")
@pytest.mark.parametrize("perception", ["gradient", "gradient+laplacian/4", "learned"])
def test_gradients_are_the_same_whether_layers_keep_what_they_see(perception, monkeypatch):
    """A budget of one byte has no room for it; nothing else may change, to the bit (law 8)."""
    rule = ConvRule(8, (24, 40), perception, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rule.network[-1].weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    found, keeps, keep = [], [], NativePart.keep
    monkeypatch.setattr(
        NativePart, "keep", lambda part, wanted: (keeps.append((wanted, part.kept_bytes() > 0)), keep(part, wanted))
    )
    for budget in (1, 1 << 30):
        rule.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            state = rollout(rule, seed_state(rule, (9, 9, 9), 3), 12, executor="event", memory="keep", memory_budget=budget)
        state.square().sum().backward()
        found.append([state.detach(), *(parameter.grad.clone() for parameter in rule.parameters())])
    # Kept with room alone, and then wherever the processor can use it.
    without, wanted = keeps[: len(keeps) // 2], keeps[len(keeps) // 2 :]
    assert keeps and not any(kept for kept, _ in without) and all(kept == able for kept, able in wanted)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert all(grad.abs().sum() > 0 for grad in found[0])
