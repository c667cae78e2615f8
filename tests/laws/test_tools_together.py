"""Every pair of tools that a config allows leaves training as it is: law 8, over all that saves memory or time.

In float32 gradients agree to 1e-5 of the largest; weights after a step where gradients are never there at once. With fewer bits
the loss stays near; `benchmarks/tools.py` compares it with the spread of three seeds.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_body, tiny_cube

import nca3d
from nca3d.bench.tools import Tool, of, pairs, plain_of
from nca3d.executors import library
from nca3d.training.trainer import Trainer

pytestmark = pytest.mark.skipif(library.compiler_found() is None, reason="compiled code is among the tools")
ITERATIONS = 2


def body() -> nca3d.Config:
    return tiny_body(iterations=10, warmup=0, learning_rate=1e-3, average=0.0, steps=(6, 6), ageing=0, damage_count=0)


def cube(folder: Path) -> nca3d.Config:
    lines = [{"question": f"turn {n} by {n % 3}", "answer": f"face {n % 4}", "split": "train"} for n in range(8)]
    (folder / "turns.jsonl").write_text("\n".join(map(json.dumps, lines)))
    options = {"batch": 4, "pool_size": 4, "iterations": 10, "steps": (4, 4), "fire_rate": 0.9, "average": 0.0}
    return tiny_cube(folder / "turns.jsonl", teacher_width=5, learning_rate=1e-3, warmup=0, damage_count=0, **options)


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    patch = pytest.MonkeyPatch()
    patch.setenv("NCA3D_CACHE", str(folder / "cache"))
    yield {"body": body(), **({"cube": cube(folder)} if find_spec("sklearn") else {})}
    patch.undo()


def trained(config: nca3d.Config) -> tuple[Trainer, float]:
    trainer = Trainer.begin(config)
    with torch.no_grad():
        # Law 1 begins with zeros: a fresh body has a gradient in its last layer alone.
        for n, weight in enumerate(trainer.rule.parameters()):
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(n)))
    losses = [trainer.step().metrics["loss"] for _ in range(ITERATIONS)]
    return trainer, losses[-1]


def assert_same(config: nca3d.Config, plain: tuple[Trainer, float], tools: tuple[Tool, ...]) -> None:
    (one, loss), (other, expected) = trained(config), plain
    if not all(tool.exact for tool in tools):
        assert loss == pytest.approx(expected, rel=0.02)
        return
    assert loss == pytest.approx(expected, rel=1e-5)
    for (name, a), b in zip(one.rule.named_parameters(), other.rule.parameters(), strict=True):
        if a.grad is not None and b.grad is not None:
            assert (a.grad - b.grad).abs().max() <= 1e-5 * b.grad.abs().max() + 1e-9, name
        # A step is 1e-3 long.
        assert (a - b).abs().max() <= 1e-5, name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["body", "cube"])
def test_every_tool_and_every_pair_that_is_allowed(kind, configs):
    if kind not in configs:
        pytest.skip("needs scikit-learn")
    if not find_spec("bitsandbytes"):
        pytest.skip("needs bitsandbytes")
    config = configs[kind]
    tried, plain = 0, {}
    for one, other, both in pairs(config):
        if both is not None:
            alone = plain_of(config, one, other)
            if alone.to_toml() not in plain:
                plain[alone.to_toml()] = trained(alone)
            assert_same(both, plain[alone.to_toml()], (one, other))
            tried += 1
    assert tried >= {"body": 25, "cube": 35}[kind]
    assert {tool.name for tool in of(config)} >= {"bf16", "fp16", "8-bit AdamW", "offloading", "segments"}
