"""Timing that can be compared: all contenders in one process, in turn, so that a slow minute of the machine hits them all."""

import gc
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch

from nca3d.bench.contenders import Contender, TorchRunner
from nca3d.bench.floor import Floor, Work, measure_work, operations
from nca3d.bench.inputs import make_rule, make_state
from nca3d.bench.memory import Peak, peak_memory
from nca3d.bench.peers import Peer
from nca3d.bench.progress import Progress
from nca3d.bench.results import Row, with_ratios
from nca3d.bench.settings import TEXTBOOK, Setting
from nca3d.executors.floor import reachable
from nca3d.training.memory import free_memory

# Seconds of a forward cell update before anything is measured, for the bar's time left; the rest take `GUESS` or, if
# peers, `PEER_GUESS`.
GUESSES = {TEXTBOOK: 1e-6, "graph": 4e-6, "dense": 0.4e-6, "compiled": 0.2e-6}

GUESS, PEER_GUESS = 0.05e-6, 9e-6

# Seconds that the repetitions of one contender may take; once each is timed anyway.
PATIENCE = 60.0

# Seconds of a training iteration above which both kinds of peak memory are read off one run.
SLOW = 10.0

# How many times the computed memory must be free before a contender that keeps everything is started.
ROOM = 1.3


@dataclass(frozen=True)
class Means:
    """What measuring needs besides settings and contenders.

    Args:
        device: where.
        floor: what the machine reaches; None leaves `floor_share` out.
        repeats: rounds of timing; contenders that use up `PATIENCE` sit some of them out.
        memory: whether peak memory is measured too.
        progress: a bar.
        peers: commands that start those among the contenders, by name (`find_peer`).
    """

    device: torch.device
    floor: Floor | None = None
    repeats: int = 5
    memory: bool = True
    progress: Progress = field(default_factory=lambda: Progress(shown=False))
    peers: Mapping[str, Sequence[str]] = field(default_factory=dict)


def announce(setting: Setting, contenders: Sequence[Contender], means: Means) -> None:
    """Tells the bar what `measure_setting` is going to do."""
    for contender in contenders:
        job = f"{setting.name}: {contender.name}"
        guess = GUESSES.get(contender.executor, PEER_GUESS if contender.executor in means.peers else GUESS)
        guess *= setting.updates / torch.get_num_threads() ** 0.5
        means.progress.expect(f"{job}, warm-up", 4 * guess)
        means.progress.expect(f"{job}, forward", guess, _rounds(guess, means.repeats))
        means.progress.expect(f"{job}, training", 3 * guess, _rounds(3 * guess, means.repeats))
        if means.memory:
            means.progress.expect(f"{job}, memory", 6 * guess + 4)


@dataclass
class _Entry:
    """What is known of a contender so far."""

    contender: Contender
    runner: TorchRunner | Peer | None = None
    times: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    peak: Peak = field(default_factory=Peak)
    skipped: str | None = None


def measure_setting(setting: Setting, contenders: Sequence[Contender], means: Means) -> list[Row]:
    """A row for each contender, in their order.

    Raises:
        RunError: the setting is not what its name says.
    """
    rule = make_rule(setting)
    state = make_state(setting, rule)
    work = measure_work(setting, rule.to(means.device), state.to(means.device))
    del state
    entries = [_Entry(contender) for contender in contenders]
    try:
        for entry in entries:
            try:
                entry.runner = _start(setting, entry.contender, means)
            except (ImportError, RuntimeError, ValueError) as trouble:  # one contender that can't run must not end all
                entry.skipped = " ".join(str(trouble).split())
                means.progress.forget(f"{setting.name}: {entry.contender.name},")
        _take_turns(setting, entries, means)
        for entry in entries if means.memory else ():
            if entry.runner is not None:
                with means.progress.doing(f"{setting.name}: {entry.contender.name}, memory"):
                    entry.peak = _peak(setting, entry, means)
    finally:
        for entry in entries:
            if entry.runner is not None:
                entry.runner.close()
    return with_ratios([_row(setting, entry, work, means.floor) for entry in entries])


def _start(setting: Setting, contender: Contender, means: Means) -> TorchRunner | Peer:
    """The contender with its inputs, warmed up.

    Raises:
        RuntimeError: it would not fit into memory.
    """
    peer = means.peers.get(contender.executor)
    if peer or contender.executor == TEXTBOOK:
        needed, free = ROOM * kept_bytes(setting), free_bytes(means.device)
        if needed > free:
            raise RuntimeError(f"skipped: needs about {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    runner = Peer(peer, setting, means.device) if peer else TorchRunner(contender, setting, means.device)
    with means.progress.doing(f"{setting.name}: {contender.name}, warm-up"):
        runner.warm_up()
    return runner


def _take_turns(setting: Setting, entries: Sequence[_Entry], means: Means) -> None:
    """Round robin, back and forth, so that nobody always runs after the one that has swept the caches."""
    gc.collect()
    gc.disable()
    try:
        for turn in range(means.repeats):
            for entry in list(entries)[:: -1 if turn % 2 else 1]:
                for training, kind in enumerate(("forward", "training") if entry.runner else ()):
                    done, job = entry.times[training], f"{setting.name}: {entry.contender.name}, {kind}"
                    if done and sum(done) + statistics.median(done) > PATIENCE:
                        means.progress.forget(job)
                        continue
                    assert entry.runner is not None
                    with means.progress.doing(job):
                        done.append(entry.runner.time(bool(training), setting.random_seed + turn))
    finally:
        gc.enable()


def _rounds(seconds: float, repeats: int) -> int:
    return max(1, min(repeats, int(PATIENCE / max(seconds, 1e-9))))


def _peak(setting: Setting, entry: _Entry, means: Means) -> Peak:
    if isinstance(entry.runner, Peer):
        return Peak(*cast("list[int | None]", entry.runner.ask("memory")))
    try:
        return peak_memory(entry.contender, setting, means.device, at_once=entry.times[1][0] > SLOW)
    except RuntimeError:  # an executor registered in this process alone, or memory that another process took meanwhile
        return Peak()


def _row(setting: Setting, entry: _Entry, work: Work, floor: Floor | None) -> Row:
    forward, training = (statistics.median(seconds) if seconds else None for seconds in entry.times)
    rate = reachable(floor.float32, floor.bf16 if entry.contender.bf16 else None) if floor else None
    return Row(
        setting.name,
        entry.contender.name,
        forward,
        training,
        iterations=1 / training if training else None,
        updates=setting.updates / training if training else None,
        allocated=entry.peak.allocated,
        resident=entry.peak.resident,
        floor_share=operations(setting, work.fired) / training / rate if training and rate else None,
        living_start=work.living_start,
        living_end=entry.runner.living if entry.runner else None,
        living_cells=work.living_start * setting.volume / setting.batch,
        volume=setting.volume // setting.batch,
        skipped=entry.skipped,
        forward_all=entry.times[0],
        training_all=entry.times[1],
    )


def kept_bytes(setting: Setting) -> int:
    """What the textbook allocates in a training iteration (checked against `memory.py`): all that cells see and think.

    A step keeps state, perception and hidden layers of every cell (and two masks); at the turn to the backward pass the widest
    layer is there twice more.
    """
    step = 5 * setting.channels + sum(setting.hidden) + 0.5
    return int(4 * setting.volume * (setting.steps * step + setting.channels + 2 * max(setting.hidden)))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
