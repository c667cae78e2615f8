"""The squared error of colours on compact states is that of whole pictures."""

import pytest
import torch

import nca3d
from nca3d.evaluation.trials import look
from nca3d.sparse import compact
from nca3d.targets import Target


def body(kind: str) -> Target:
    generator = torch.Generator().manual_seed(0)
    occupied = torch.rand(5, 6, 7, generator=generator) < 0.4
    if kind == "rgb":
        return nca3d.targets.from_array(torch.rand(5, 6, 7, 4, generator=generator) * occupied[..., None], size=(5, 6, 7))
    return nca3d.targets.from_array(torch.randint(1, 5, (5, 6, 7), generator=generator) * occupied, size=(5, 6, 7))


@pytest.mark.parametrize("kind", ["rgb", "classes"])
def test_it_is_that_of_whole_pictures(kind: str) -> None:
    target, generator = body(kind), torch.Generator().manual_seed(1)
    rule = nca3d.ConvRule(visible=target.visible, visible_kind=kind)
    state = torch.rand(3, rule.channels, 5, 6, 7, generator=generator) * (torch.rand(3, 1, 5, 6, 7, generator=generator) < 0.5)
    found = look([compact(state)], [0], target).mse[0]
    if kind == "rgb":
        wanted = (state[:, :4] - target.values).square().mean(dim=(1, 2, 3, 4))
    else:
        shown, truth = torch.from_numpy(nca3d.to_rgba(state, rule, target.palette)), torch.from_numpy(target.rgba())
        # A class is there or not: its colour counts in full.
        shown, truth = (
            torch.where(part[..., 3:] > 0, torch.cat([part[..., :3], part[..., 3:] * 0 + 1], -1), 0.0)
            for part in (shown, truth)
        )
        wanted = (shown - truth).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["rgb", "classes"])
def test_a_perfect_body_has_none(kind: str) -> None:
    target = body(kind)
    rule = nca3d.ConvRule(visible=target.visible, visible_kind=kind)
    state = torch.zeros(1, rule.channels, 5, 6, 7)
    state[0, : target.visible + 1] = target.values
    assert float(look([compact(state)], [0], target).mse) == pytest.approx(0, abs=1e-6)
