"""What ranks that share a cube out compute, against the whole cube, which each of them computes by itself; see the test.

Run by torchrun: `cube_cells.py NAME FOLDER`, where NAME is one of the functions below.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import nca3d
from nca3d.ranks import current
from nca3d.ranks.joined import joined

SIZE = (4, 3, 5)
CELL = {"features": 8, "memory": 4, "external": 3, "widened": 8, "preset": "cube"}


def cubes(size: tuple[int, int, int] = SIZE, dtype: torch.dtype = torch.float32, **options) -> Iterator[nca3d.GMLPRule]:
    """The whole cube, and this rank's share of the same."""
    for ranks in (None, current()):
        generator = torch.Generator().manual_seed(0)
        yield nca3d.GMLPRule(size, **{**CELL, **options}, fire_rate=0.8, generator=generator, ranks=ranks).to(dtype)


def numbers(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def learned(rule: nca3d.GMLPRule, batch: int, steps: int, half: bool = False, asked: bool = True, **options) -> list[Tensor]:
    """The last state, and the gradients of the first one, of the question, of inputs and of all weights, whole."""
    dtype = next(rule.parameters()).dtype
    state = numbers(1, batch, *rule.size, rule.channels, dtype=dtype).movedim(-1, 1).requires_grad_()
    question = numbers(2, batch, rule.size[1] * rule.size[2], dtype=dtype).requires_grad_()
    told = rule.ask(question)
    external = numbers(3, batch, rule.external, *rule.size, dtype=dtype).requires_grad_()
    inputs = told._replace(external=external) if asked else None
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        last = nca3d.rollout(rule, state, steps, inputs=inputs, random_seed=5, **options)
    (last * numbers(4, *last.shape, dtype=dtype)).sum().backward()
    weights = {name: weight.grad for name, weight in rule.named_parameters()}
    for name, own in rule.sharded().items():
        share = rule.cells.share
        assert torch.equal(own, share.own)
        weights[name] = share.gather(weights[name].flatten(1)[:, None], share.owners)[:, 0].reshape(
            -1, *weights[name].shape[1:]
        )
    found = [last.detach(), state.grad, question.grad, external.grad, *weights.values()]
    return [tensor for tensor in found if tensor is not None]


def same(found: list[Tensor], expected: list[Tensor], tolerance: float, bits: bool = True) -> None:
    """States to the bit, or nearly; gradients so near, by the largest number."""
    assert len(found) == len(expected)
    if bits:
        assert torch.equal(found[0], expected[0]), "the states"
    else:
        torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=2e-6)
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.shape == other.shape
        apart = (one - other).abs().max() / other.abs().max().clamp_min(1e-30)
        assert apart <= tolerance, (tuple(one.shape), float(apart))


def rollouts(folder: Path) -> None:
    """States to the bit and gradients to 1e-5, in both executors, whoever shares weights, however the rollout is cut."""
    # 33 samples: more than a chunk of compiled code, and one more.
    for options in (
        {},
        {"batch": 33},
        {"asked": False},
        {"memory": 2},
        {"half": True},
        {"executor": "dense"},
        {"executor": "dense", "memory": 2},
    ):
        wanted, found = (learned(rule, **{"batch": 3, "steps": 6, **options}) for rule in cubes())
        # torch's products have another order of sums where other cells share their block.
        same(found, wanted, 0.05 if "half" in options else 1e-5, bits=options.get("executor") != "dense")
    for more in (
        {"weights": "shared"},
        {"weights": "low_rank"},
        {"weights": "types"},
        {"weights": "types", "types_by": "learned"},
        {"coarse": 2},
        {"periods": (1, 3)},
        {"mixing": False, "preset": "nca"},
        {"size": (1, 2, 3)},
        {"size": (7, 1, 3)},
    ):
        for executor in ("compiled", "dense"):
            wanted, found = (learned(rule, 3, 4, executor=executor) for rule in cubes(**more))
            same(found, wanted, 1e-5, bits=executor != "dense")
    wanted, found = (learned(rule.train(), 3, 4, executor="dense") for rule in cubes(dropout=0.5))
    same(found, wanted, 1e-5, bits=False)
    wanted, found = (learned(rule, 3, 4) for rule in cubes(dtype=torch.float64))
    same(found, wanted, 1e-13)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(60):
        globals()[sys.argv[1]](Path(sys.argv[2]))
