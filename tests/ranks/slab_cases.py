"""Rollouts that several processes share out, beside the same in one: torchrun starts this file, rank 0 writes what was found.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/ranks/slab_cases.py FILE [CASE …]

Each case is a function that all ranks call; it returns figures by name.
"""

import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
from rule_cases import RULE_CASES, body, lively

import nca3d
from nca3d.errors import ArgumentError
from nca3d.executors import choose, native_code
from nca3d.executors.slabs.cuts import Cuts
from nca3d.executors.slabs.ghosts import noted_crossing
from nca3d.fire import fire_mask
from nca3d.ranks import current
from nca3d.ranks.joined import joined
from nca3d.rollout import rollout
from nca3d.rules.by_sample import BySample
from nca3d.sparse import Compact, compact

CASES: dict[str, Callable[[], dict]] = {}


def case(function: Callable[[], dict]) -> Callable[[], dict]:
    CASES[function.__name__] = function
    return function


def run(rule, state, executor, *, no_state_gradient=False, **options):
    """The last state of a rollout, and the gradients of a random weighing of it, by the state first."""
    values = state.values if isinstance(state, Compact) else state
    values = values.clone().requires_grad_(not no_state_gradient)
    start = Compact(values, state.cells, state.batch, state.size) if isinstance(state, Compact) else values
    out = rollout(rule, start, executor=executor, **options)
    last = nca3d.dense(out) if isinstance(out, Compact) else out
    weighing = torch.randn(last.shape, dtype=last.dtype, generator=torch.Generator().manual_seed(3))
    asked = [*([] if no_state_gradient else [values]), *(p for p in rule.parameters() if p.requires_grad)]
    return last.detach(), torch.autograd.grad((last * weighing).sum(), asked)


def same_everywhere(tensors) -> bool:
    return all(bool((torch.stack(current().gather(tensor)) == tensor).all()) for tensor in tensors)


def compared(rule, state, steps, seed=5, **options) -> dict:
    """How a shared rollout differs from one of this process alone."""
    shared, grads = run(rule, state, "slabs", steps=steps, random_seed=seed, **options)
    alone, wanted = run(rule, state, "event", steps=steps, random_seed=seed, **options)
    pairs = [(a, b) for a, b in zip(grads, wanted, strict=True) if a.numel()]
    error = max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-30)) for a, b in pairs), default=0.0)
    return {
        "states": torch.equal(shared, alone),
        "everywhere": same_everywhere([shared, *grads]),
        "error": error,
        "living": int((alone[:, rule.alpha] > rule.threshold).sum()),
    }


def worst(found: list[dict]) -> dict:
    """The worst of several comparisons."""
    return {
        "states": all(one["states"] for one in found),
        "everywhere": all(one["everywhere"] for one in found),
        "error": max(one["error"] for one in found),
        "living": max(one["living"] for one in found),
    }


@case
def every_rule():
    """Rules of the laws, on bodies that grow and die."""
    found = []
    for name in RULE_CASES:
        rule = lively(name)
        # Of three samples two ranks cut the second, three ranks none; of one every rank cuts it.
        found += [compared(rule, body(rule, batch=batch), 6) for batch in (1, 3)]
    return worst(found)


@case
def random_states():
    """Random lattices, bodies, paddings, networks and plans of memory."""
    generator, found = torch.Generator().manual_seed(7), []

    def drawn(choices):
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    names = ["gradient", "circular", "replicate", "learned circular", "half steps", "own network", "six neighbours"]
    for seed in range(40):
        rule = lively(drawn(names), seed, strength=drawn([0.1, 0.3, 0.6]))
        if seed % 3 == 0:
            with torch.no_grad():
                list(rule.parameters())[-1].neg_()
        size = tuple(drawn([1, 2, 3, 5, 9]) for _ in range(3))
        state = body(rule, drawn([1, 2, 3]), size, drawn([0.02, 0.2, 1.0]), seed)
        found.append(compared(rule, state, drawn([1, 2, 5]), seed, memory=drawn(["keep", "recompute", 2, "auto"])))
    return worst(found)


@case
def growing():
    """A body that grows from one cell for longer than ranks go without a look."""
    rule = lively("gradient", strength=0.1)
    seeds = nca3d.seed_state(rule, (17, 9, 9), batch=3)
    return worst([compared(rule, seeds[:1], 40), compared(rule, seeds, 24, no_state_gradient=True)])


@case
def damaged():
    """Bodies that lost a half, at the cut and across it, and single cells."""
    rule, found = lively("gradient"), []
    whole = body(rule, 2, (12, 8, 8), share=0.9)
    for hurt in (slice(0, 6), slice(5, 7), slice(6, 12)):
        state = whole.clone()
        state[:, :, hurt] = 0.0
        found.append(compared(rule, state, 5))
    return worst(found)


@case
def memory():
    """Law 8: whatever is kept, the same bits; in float32 and with a network in bfloat16, which keeps more."""
    rule = lively("gradient")
    state, same = body(rule, 3, (14, 6, 6), share=0.2), True
    for precision in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            first, grads = run(rule, state, "slabs", steps=20, memory="keep")
            for plan in ({"memory": "recompute"}, {"memory": 3}, {"memory": 100}, {"memory_budget": 1}):
                other, others = run(rule, state, "slabs", steps=20, **plan)
                same &= torch.equal(first, other) and all(torch.equal(a, b) for a, b in zip(grads, others, strict=True))
            alone, wanted = run(rule, state, "event", steps=20)
            same &= torch.equal(first, alone)
            same &= all((a - b).abs().max() <= 1e-5 * b.abs().max() for a, b in zip(grads, wanted, strict=True))
    return {"same": same}


@case
def rebalanced():
    """A body that grows along the lattice from its first plane: rows move to other ranks, and gradients back."""
    rule = lively("gradient", strength=0.2)
    state = torch.zeros(1, rule.channels, 40, 5, 5)
    state[:, :, 0] = body(rule, 1, (1, 5, 5), share=1.0)[:, :, 0]
    moves, original = [], Cuts.rebalanced

    def noted(cuts, rows):
        moves.append(original(cuts, rows) is not cuts)
        return original(cuts, rows)

    with patch.object(Cuts, "rebalanced", noted):
        found = compared(rule, state, 50)
    return {**found, "moves": sum(moves), "looks": len(moves)}


@case
def nothing():
    """Empty states, bodies that die, more ranks than planes, an empty batch."""
    rule, deadly = lively("gradient"), lively("gradient", strength=2.0)
    with torch.no_grad():
        list(deadly.parameters())[-1].neg_()
    found = [compared(rule, torch.zeros(2, 8, 5, 4, 4), 4)]
    found += [compared(deadly, body(deadly, 2, (6, 5, 5)), 20)]
    found += [compared(rule, body(rule, batch, (depth, 5, 5)), 4) for depth in (1, 2) for batch in (1, 2)]
    found += [compared(rule, body(rule, 1, (9, 9, 9), share=0.002), 3)]
    assert rollout(rule, torch.zeros(0, 8, 5, 4, 4), 3, executor="slabs").shape[0] == 0
    return {**worst(found), "extinct": found[1]["living"] == 0}


@case
def forms():
    """Compact states, recorded ones, float64, given masks, no gradient at all, a frozen rule."""
    rule = lively("gradient")
    state = body(rule, 4, (9, 6, 6))[[0, 2, 3]]
    small = compact(state)
    masks = torch.stack([fire_mask(9, step, [4, 5, 6], (9, 6, 6), 0.7) for step in range(5)])
    found = [
        compared(rule, small, 5),
        compared(rule, state, 5, fire_masks=masks),
        compared(rule, state, 5, sample_ids=torch.tensor([7, 3, 9]), first_step=11),
        compared(lively("gradient").double(), state.double(), 5),
    ]
    with torch.no_grad():
        films = [rollout(rule, state, 21, record_every=4, executor=name).states for name in ("slabs", "event")]
        lists = [rollout(rule, small, 21, executor=name) for name in ("slabs", "event")]
    found[0]["states"] &= torch.equal(*films) and torch.equal(lists[0].values, lists[1].values)
    found[0]["states"] &= torch.equal(lists[0].cells, lists[1].cells)
    rule.requires_grad_(False)
    found.append(compared(rule, state, 5))
    return worst(found)


@case
def in_torch():
    """Where there is no compiled code: rows in torch."""
    with patch.object(native_code, "library", return_value=None):
        found = [compared(rule, body(rule, 1), 5) for rule in (lively("gradient"), lively("learned circular"))]
    return worst(found)


@case
def conditions():
    """Rules of several bodies: told by a bias, for each sample and each step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rule = nca3d.ConditionalRule(("first", "second"), channels=8, hidden=(24,))
        with torch.no_grad():
            rule.cell.network[-1].weight.normal_(0, 0.1)
    state = body(rule, 4)
    each = [["first"] * 4, ["second", "first", "first", "first"]]
    found = [compared(rule, state, 4, condition=torch.tensor([0, 1, 0, 0])), compared(rule, state, 2, condition=each)]
    return worst(found)


@case
def by_sample():
    """Gradients that training collects sample by sample are those of all ranks."""
    rule, found = lively("learned"), {}
    state = body(rule, 3, (9, 6, 6))
    for executor in ("slabs", "event"):
        with BySample().over([0, 1, 2]) as collector:
            rollout(rule, state, 6, executor=executor).square().sum().backward()
        found[executor] = [collector.of(p, place) for p in rule.parameters() for place in range(3)]
        assert all(p.grad is None for p in rule.parameters())
    pairs = list(zip(found["slabs"], found["event"], strict=True))
    error = max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)
    return {"error": error, "everywhere": same_everywhere(found["slabs"])}


def weights_of(out: str, **changes) -> list[torch.Tensor]:
    """The weights after a few iterations of `nca3d.train`."""
    config = nca3d.Config.load("tiny").replace(iterations=8, damage_from=0.4, report=False, threads=1, out=out, **changes)
    return [parameter.detach() for parameter in nca3d.train(config, progress=False).rule.parameters()]


@case
def training():
    """Weights of `nca3d.train` that shares out the lattice."""
    folder = current().from_first(tempfile.mkdtemp() if current().first else None)
    weights = weights_of(f"{folder}/run", split="lattice")
    current().splits = "samples"
    return {"weights": [weight.tolist() for weight in weights], "everywhere": same_everywhere(weights)}


@case
def chosen():
    """What "auto" takes, and what can't be run."""
    rule, state, names = lively("gradient"), torch.zeros(1, 8, 5, 5, 5), []
    for current().splits in ("samples", "lattice"):
        names += [choose(rule, state), choose(rule, compact(state))]
    current().splits = "samples"
    try:
        rollout(nca3d.ConvRule(channels=8, hidden=(24,), alive_threshold=None), state, 1, executor="slabs")
        names.append("")
    except ArgumentError as error:
        names.append(str(error))
    return {"names": names}


@case
def crossing():
    """Bytes across the cuts of a ball of 5 % of its lattice, and those of two dense planes each way."""
    rule, side, steps = nca3d.ConvRule(channels=16, hidden=(16,)), 40, 8
    at = torch.stack(torch.meshgrid(*[torch.arange(side) - (side - 1) / 2] * 3, indexing="ij")).norm(dim=0)
    state = torch.where(at < side * (0.05 * 3 / 4 / torch.pi) ** (1 / 3) - 1, torch.rand(1, 16, side, side, side), 0.0)
    state[:, 3] = (state[:, 3] > 0).float()
    with noted_crossing() as crossed:
        rollout(rule, state.requires_grad_(), steps, executor="slabs").sum().backward()
    sent = torch.stack(current().gather(torch.tensor([crossed.forward, crossed.backward]))).sum(0)
    planes = 2 * 2 * (current().size - 1) * side * side * 16 * 4 * steps
    living = float(rule.alive_mask(state).float().mean())
    return {"forward": float(sent[0]) / planes, "backward": float(sent[1]) / planes, "living": living}


@case
def bytes_of_any_length():
    """`Ranks.exchange_bytes`: fewer bytes than expected, as many, more, none."""
    ranks, right = current(), True
    others = [rank for rank in range(ranks.size) if rank != ranks.rank]
    for length, expected in ((0, 0), (5, 0), (5, 5), (5, 9), (70_000, 60_000), (0, 8)):
        sent = {rank: torch.full((length + ranks.rank,), 10 * ranks.rank + rank, dtype=torch.uint8) for rank in others}
        found = ranks.exchange_bytes(sent, dict.fromkeys(others, (expected, expected)))
        wanted = {rank: torch.full((length + rank,), 10 * rank + ranks.rank, dtype=torch.uint8) for rank in others}
        right &= all(torch.equal(found[rank], wanted[rank]) for rank in others)
    return {"right": right}


def main(file: str, *names: str) -> None:
    torch.set_num_threads(1)
    with joined(120) as ranks:
        found = {}
        for name in names or CASES:
            try:
                found[name] = CASES[name]()
            except Exception:
                found[name] = {"failed": traceback.format_exc()}
            everywhere = ranks.gather_objects(found[name].get("failed", ""))
            found[name] |= {"failed": "\n".join(filter(None, everywhere))} if any(everywhere) else {}
        if ranks.first:
            Path(file).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
