"""Rows about numbers that go wrong while a run learns: NaN, dead pools, spikes, types that change, memory that grows."""

import gc
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from reliability.children import run
from reliability.peers import Ours, Peer, State, Torch
from reliability.resealing import reseal
from reliability.signals import NOT_ASKED
from reliability.trainings import ClippedLoop, Fault, Training, training_of


def nan_weights(weights: State) -> str:
    bad = sum(int((~tensor.isfinite()).sum()) for tensor in weights.values() if tensor.is_floating_point())
    count = sum(tensor.numel() for tensor in weights.values() if tensor.is_floating_point())
    return f"**{bad} of {count} weights NaN**" if bad else "no weight NaN"


def _after(training: Training, folder: Path, fault: Fault, steps: int, every: int = 10) -> tuple[int | None, str, str]:
    """Returns exit code, what the newest checkpoint holds, and what was said, of a run with a fault."""
    ended = run(lambda: training.train(folder, steps, every, fault))
    found = run(lambda: nan_weights(training.weights(folder)))
    return ended.code, str(found.value or "nothing saved"), ended.error + ended.said


def one_gradient(peer: Peer, folder: Path) -> str:
    """One number of one gradient is NaN, in step 5 alone, after which the run saves and ends."""
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    _, left, _ = _after(training, folder / "run", Fault("gradient", 5, 5), 5, 5)
    if isinstance(peer, Torch):
        _, clipped, _ = _after(ClippedLoop(), folder / "clipped", Fault("gradient", 5, 5), 5, 5)
        return f"{left}; with clip_grad_norm_ {clipped}"
    return f"{left}, {_counted(folder / 'run')}" if isinstance(peer, Ours) else left


def _counted(run_folder: Path) -> str:
    from nca3d import checkpoint

    count = checkpoint.load(run_folder).scalars["skipped"]
    return f"{count} step skipped" if count == 1 else f"**{count} steps skipped**"


def gradients_for_long(peer: Peer, folder: Path) -> str:
    """From step 12 on every gradient has a NaN: 48 steps of 60."""
    return _for_long(peer, folder, "gradient")


def loss_for_long(peer: Peer, folder: Path) -> str:
    """From step 12 on the loss is NaN."""
    return _for_long(peer, folder, "loss")


def _for_long(peer: Peer, folder: Path, kind: str) -> str:
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    code, left, _ = _after(training, folder / "run", Fault(kind, 12), steps=60)
    return f"{f'exit {code}' if code else '**exit 0**'}, {left}"


def spike(peer: Peer, folder: Path) -> str:
    """The loss of step 42 is ten times as large: is it marked?

    Not in a fifth step, in which our bodies age: there many a loss is as large by itself.
    """
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    # Beside a run without the fault: a loss may have spikes of its own.
    marks = [_marks(training, folder / name, fault) for name, fault in (("run", Fault("spike", 42, 42)), ("calm", Fault()))]
    return "marked" if marks[0] - marks[1] else "**not marked**"


def _marks(training: Training, folder: Path, fault: Fault) -> set[str]:
    """Returns the lines of a run of 60 steps that speak of a spike, those of a log by their iterations."""
    _, _, said = _after(training, folder, fault, steps=60)
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    told = {str(line["iteration"]) for line in map(json.loads, lines) if "spike" in line}
    return told | {line for line in said.splitlines() if "spike" in line}


def dead_pool(peer: Peer, folder: Path) -> str:
    """Every state of the pool is dead: no gradient says how to come back to life."""
    if isinstance(peer, Torch):
        zero = run(_dead_in_torch).value
        return f"**gradient 0 in {zero} of 20 steps, not told**"
    if not isinstance(peer, Ours):
        return NOT_ASKED
    training, place = training_of(peer), folder / "run"
    run(lambda: training.train(place, 10))
    reseal(max((place / "checkpoints").iterdir()), {"pool.states": torch.zeros_like})
    ended = run(lambda: training.train(place, 20))
    lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    again = int(sum(line.get("reseeded_dead", 0) for line in lines))
    return f"exit {ended.code}, {again} reseeded, counted" if again else f"exit {ended.code}, **none reseeded**"


def _dead_in_torch() -> int:
    """Steps whose gradient is zero, of 20 of a textbook automaton with a pool of dead states."""
    net, pool = nn.Conv3d(4, 4, 1), torch.zeros(8, 4, 3, 3, 3)
    optimizer, zero = torch.optim.AdamW(net.parameters()), 0
    for _ in range(20):
        after = pool + net(pool)
        alive = nn.functional.max_pool3d(pool[:, :1], 3, 1, 1) > 0.1
        after = torch.where(alive, after, 0)
        optimizer.zero_grad()
        (after - 1).square().mean().backward()
        zero += all(not parameter.grad.any() for parameter in net.parameters())
        optimizer.step()
        pool = after.detach()
    return zero


class Bytes(torch.optim.Optimizer):
    """An optimizer whose state has few bits, as 8-bit ones have."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.1})
        for parameter in self.param_groups[0]["params"]:
            self.state[parameter] = {"q": torch.arange(8, dtype=torch.uint8), "scale": torch.linspace(0, 1, 8)}


def state_types(peer: Peer, folder: Path) -> str:
    """8-bit optimizer state, and float32 state of bfloat16 weights: saved, and loaded by what each loads optimizers with."""
    weights = {"float32": nn.Parameter(torch.zeros(8)), "bfloat16": nn.Parameter(torch.zeros(8).bfloat16())}
    fresh, optimizer = Bytes(weights.values()), Bytes(weights.values())
    if isinstance(peer, Ours):
        from nca3d.training.optimizer_state import pack_optimizer, unpack_optimizer

        tensors, scalars = pack_optimizer(optimizer)
        peer.checkpoint.save(folder, 1, {"optimizer": tensors}, scalars, keep=2)
        saved = peer.checkpoint.load(folder)
        unpack_optimizer(fresh, saved.groups["optimizer"], saved.scalars)
    elif isinstance(peer, Torch) or peer.name == "Lightning":
        # Lightning restores optimizers by the same call (Strategy.load_optimizer_state_dict).
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        fresh.load_state_dict(torch.load(folder / "optimizer.pt"))
    else:
        return NOT_ASKED
    pairs = {"uint8": ("float32", "q"), "float32": ("bfloat16", "scale")}
    after = {before: str(fresh.state[weights[at]][key].dtype).removeprefix("torch.") for before, (at, key) in pairs.items()}
    changed = [f"{before} → {now}" for before, now in after.items() if before != now]
    return f"**{', '.join(changed)}, silently**" if changed else "types and bits kept"


def halves(peer: Peer, folder: Path) -> str:
    """Tensors of float16, bfloat16, int8 and bool, saved and loaded."""
    kinds = [torch.float16, torch.bfloat16, torch.int8, torch.bool]
    state = {f"w{number}": (torch.arange(16) % 2).to(kind) for number, kind in enumerate(kinds)}
    try:
        peer.save(folder, 1, state)
    except Exception as error:
        return f"refused: {error}"
    found = peer.load(folder)
    kept = [kind for name, kind in zip(state, kinds, strict=True) if name in found and found[name].dtype == kind]
    return "kept 4 of 4" if len(kept) == 4 else f"**kept {len(kept)} of 4**"


def growth(peer: Peer, folder: Path, steps: int = 2000) -> str:
    """Memory and open files over 2,000 small steps, from step 200 on."""
    training = training_of(peer)
    if training is None:
        return NOT_ASKED
    figures: dict[int, tuple[int, int]] = {}

    def note() -> None:
        if fault.step in (200, steps):
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            figures[fault.step] = (pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")))
            (folder / "figures").write_text(json.dumps(figures))

    fault = Fault(note=note)
    # Saved once, at the end: what saves leave behind has rows of its own.
    ended = run(lambda: training.train(folder / "run", steps, steps, fault), timeout=200)
    found = json.loads((folder / "figures").read_text())
    if str(steps) not in found:
        return f"broke: exit {ended.code}: {(ended.error or ended.said)[-80:]}"
    (memory, files), (later, more) = found["200"], found[str(steps)]
    return f"{(later - memory) / 1024 / (steps - 200):.2f} KiB a step, {more - files:+d} files"


ROWS = {
    "one number of one gradient is NaN, once": one_gradient,
    "NaN in the gradients from step 12 on": gradients_for_long,
    "NaN loss from step 12 on": loss_for_long,
    "loss ×10 in one step": spike,
    "every state of the pool dead": dead_pool,
    "8-bit optimizer state, float32 state of bfloat16 weights": state_types,
    "float16, bfloat16, int8, bool tensors": halves,
    "2,000 small steps": growth,
}
