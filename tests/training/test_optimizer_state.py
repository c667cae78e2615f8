"""An optimizer's state is saved and restored without a bit changed, and one that does not fit is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nca3d import checkpoint
from nca3d.errors import InputError
from nca3d.training.optimizer_state import pack_optimizer, unpack_optimizer


def trained(kind: str, seed: int = 0, width: int = 96) -> tuple[torch.optim.Optimizer, nn.Module]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 3))
    if kind == "AdamW8bit":
        bitsandbytes = pytest.importorskip("bitsandbytes")
        optimizer = bitsandbytes.optim.AdamW8bit(model.parameters(), lr=1e-2, betas=(0.9, 0.95))
    else:
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=1e-2)
    return optimizer, model


def step(optimizer: torch.optim.Optimizer, model: nn.Module, times: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(times):
        optimizer.zero_grad()
        model(torch.randn(8, 64, generator=generator)).square().mean().backward()
        optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Adam", "AdamW", "SGD", "AdamW8bit"])
def test_an_optimizer_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    optimizer, model = trained(kind)
    optimizer.param_groups[0]["lr"] = 0.0123456789
    step(optimizer, model, 3, seed=1)
    tensors, scalars = pack_optimizer(optimizer)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint.save(tmp_path, 3, {"optimizer": tensors, "rule": weights}, {"optimizer": scalars}, keep=2)
    found = checkpoint.load(tmp_path)

    second, copy = trained(kind, seed=7)
    copy.load_state_dict(found.groups["rule"])
    unpack_optimizer(second, found.groups["optimizer"], found.scalars["optimizer"])
    again, plain = pack_optimizer(second)
    assert plain == scalars
    assert again.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
    if kind == "AdamW8bit":
        assert any(tensor.dtype == torch.uint8 for tensor in again.values()), "a tensor of 4,096 elements is in 8 bits"
    step(optimizer, model, 3, seed=2)
    step(second, copy, 3, seed=2)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, copy.state_dict()[name])


def test_state_that_does_not_fit_is_refused_and_nothing_touched() -> None:
    optimizer, model = trained("Adam")
    step(optimizer, model, 1, seed=1)
    tensors, scalars = pack_optimizer(optimizer)
    cases: list[tuple[torch.optim.Optimizer, dict[str, Any], str]] = [
        (trained("AdamW")[0], {}, r"type: found that of torch\.Adam, where this config asks for torch\.AdamW"),
        (trained("Adam", width=80)[0], {}, "shapes"),
        (trained("Adam")[0], {"states": []}, "states"),
        (trained("Adam")[0], {"groups": [{"bogus": 1}]}, "bogus"),
        (trained("Adam")[0], {"type": None}, "type"),
    ]
    for second, changes, words in cases:
        with pytest.raises(InputError, match=words):
            unpack_optimizer(second, tensors, {**scalars, **changes})
        assert not second.state
    with pytest.raises(InputError, match=r"9\.exp_avg"):
        unpack_optimizer(trained("Adam")[0], {**tensors, "9.exp_avg": torch.ones(1)}, scalars)
