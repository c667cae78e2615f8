"""What ranks that share a cube out compute, against the whole cube, which each of them computes by itself; see the test.

Run by torchrun: `cube_cells.py NAME FOLDER`, where NAME is one of the functions below.
"""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nca3d
from nca3d import checkpoint
from nca3d.cube.executor.learning import CellsInBackward
from nca3d.errors import ArgumentError, InputError, RunError
from nca3d.ranks import Ranks, by_first, current
from nca3d.ranks.joined import joined
from nca3d.training.trainer import Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "laws"))
from tiny_runs import tiny_cube

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
        share, grad = rule.cells.share, weights[name]
        assert torch.equal(own, share.own)
        weights[name] = share.gather(grad.flatten(1)[:, None], share.cells)[:, 0].reshape(-1, *grad.shape[1:])
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


def step(rule: nca3d.GMLPRule, optimizer: torch.optim.Optimizer, inside: CellsInBackward | None, number: int) -> None:
    """One iteration of a training by hand."""
    optimizer.zero_grad()
    question = numbers(number, 4, rule.size[1] * rule.size[2])
    last = nca3d.rollout(rule, rule.rest(4), 5, inputs=rule.ask(question), random_seed=number)
    with inside.noting() if inside else contextlib.nullcontext():
        (rule.answer(last) - question.flip(1)).square().mean().backward()
    if inside:
        assert inside.surely_finite()
        inside.step()
    optimizer.step()


def training(folder: Path) -> None:
    """Weights after 30 iterations, by an optimizer behind the backward pass or inside it."""
    for name, is_inside in ((torch.optim.Adam, False), (torch.optim.AdamW, False), (torch.optim.AdamW, True)):
        whole, mine = cubes((5, 4, 3), start="carry", external=0)
        for rule in (whole, mine):
            optimizer = name(rule.parameters(), lr=1e-3)
            inside = CellsInBackward(rule, optimizer) if is_inside else None
            for number in range(30):
                step(rule, optimizer, inside, number)
        found = mine.whole()
        assert (found is None) != current().first
        if found:
            for one, other in zip(found.parameters(), whole.parameters(), strict=True):
                assert (one - other).norm() < 1e-5 * other.norm()


def trainer(folder: Path, **changes) -> Trainer:
    config = tiny_cube(folder / "set.jsonl", teacher="tfidf", teacher_width=8, fire_rate=0.7, batch=4, pool_size=4, **changes)
    return Trainer.begin(config.replace(iterations=20, optimizer="adamw", average=0.9, damage_count=1, pattern_every=2))


def keep(trainer: Trainer, path: Path, metrics: list[dict[str, float]]) -> None:
    """Writes the weights, the average and what was logged, from rank 0."""
    whole = trainer.trained_rule().whole()
    weights = trainer.shards.whole(trainer.rule.state_dict())
    if whole is not None and current().first:
        torch.save([weights, whole.state_dict(), metrics, trainer.watch.plain()], path)


def steps(trainer: Trainer, count: int) -> list[dict[str, float]]:
    outcomes = [trainer.step() for _ in range(count)]
    assert not any(outcome.fault for outcome in outcomes)
    more = trainer.task.pattern(trainer.rule, outcomes[-1].states)
    return [outcome.metrics | {"norm": trainer.learner.norm} for outcome in outcomes] + [
        {"reached": more["cells_with_gradient"][0]}
    ]


TREATMENTS = ("clip", "normalise", "none")


def begun(folder: Path) -> None:
    """Six iterations with a save after three, by each treatment of gradients."""
    for treatment in TREATMENTS:
        run = folder / f"{treatment}-{current().size}"
        if current().first:
            run.mkdir()
        one = trainer(folder, gradient=treatment)
        before = steps(one, 3)
        assert one.save(run) == run / "checkpoints" / "step-000003"
        keep(one, run / "whole.pt", before + steps(one, 3))


def resumed(folder: Path) -> None:
    """The last three iterations of the runs that any number of ranks began."""
    for run in sorted(folder.glob("clip-?")):
        one = trainer(folder, gradient="clip")
        one.restore(checkpoint.load(run))
        keep(one, run / f"by-{current().size}.pt", steps(one, 3))


def refused(folder: Path) -> None:
    """What can't be had where cells are shared out is refused by name, and nobody hangs."""
    _, mine = cubes()
    question = mine.ask(numbers(1, 2, 15))
    for executor in ("graph", "event-approx"):
        with pytest.raises(ArgumentError, match="the whole cube"), torch.no_grad():
            nca3d.rollout(mine, mine.rest(2), 2, inputs=question, executor=executor)
    with pytest.raises(ArgumentError, match="the whole cube"):
        mine(mine.rest(2), torch.ones(2, 1, *SIZE, dtype=torch.bool))
    # Ranks that do different things say so instead of reading each other's numbers wrongly.
    with pytest.raises(RunError, match="different things"):
        nca3d.rollout(mine, mine.rest(2), 2 + current().rank)
    with pytest.raises(InputError, match=r"optimizer: found AdamW8bit .*, allowed adam, adamw"):
        trainer(folder).shards.check(type("AdamW8bit", (torch.optim.SGD,), {})(mine.parameters()))
    with pytest.raises(ArgumentError, match="ranks: found 2, allowed at most the 1 columns"):
        nca3d.GMLPRule((3, 1, 1), **CELL, ranks=Ranks(0, 2))
    # A disk that is full on rank 0 is full for all.
    with pytest.raises(RunError, match="disk") as caught:
        by_first(full)
    assert isinstance(caught.value.__cause__, OSError)
    # What was whole before is cut, and whole again.
    whole, mine = cubes(weights="low_rank")
    asked = whole.state_dict()
    whole.share_out(current())
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), mine.parameters(), strict=True))
    mine.load_state_dict(asked)
    again = mine.whole()
    assert again is None or all(torch.equal(tensor, asked[name]) for name, tensor in again.state_dict().items())


def full() -> None:
    try:
        raise OSError(28, "No space left")
    except OSError as error:
        raise RunError("the disk") from error


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined(60) as ranks:
        ranks.splits = "lattice"
        globals()[sys.argv[1]](Path(sys.argv[2]))
