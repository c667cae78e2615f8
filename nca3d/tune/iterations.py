"""What one iteration of training takes: real iterations, chosen so that those of different batches compare.

An iteration draws the number of its steps, and every fifth one ages pooled states for a number of steps that is drawn too. Both
follow from the config's random seed and the iteration's number: so iterations with the mean of both are looked up, past
curriculum and beginning of damage, and the same ones are run over and over, at each batch.

A fresh rule has one living cell, and where dead cells cost nothing its iterations say little of those to come. So bodies are
grown before the first one: each cell of the target is alive. With a learning rate of nearly nothing they stay so.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nca3d.bench.memory import allocated_on_cuda_bytes, resident_bytes
from nca3d.config import Config, plugins
from nca3d.config.fields import AGEING_EVERY
from nca3d.executors.memory import noted_segments
from nca3d.rollout import rollout
from nca3d.training.build import choose_device
from nca3d.training.draws import ageing_steps, draw_steps
from nca3d.training.memory import free_memory
from nca3d.training.step import Outcome
from nca3d.training.task import Task
from nca3d.training.threads import threads
from nca3d.training.trainer import Trainer

# Weights that don't move: what is measured at the end is what was measured at the beginning.
STILL = 1e-12
# Iterations among which those with mean draws are looked for.
CANDIDATES = 1000
# What is near enough: of the range that is drawn from.
CLOSE = 0.02
# The measurement of a point is over after so many seconds of iterations, but for the fewest.
ENOUGH, FEWEST, MOST = 1.5, 6, 60


@dataclass(frozen=True)
class Picked:
    """The numbers of the iterations that are run, each over and over: they are the same work then, at any batch.

    Attributes:
        longest: One with the most steps that can be drawn.
        plain: One with the mean number of steps, without ageing.
        aged: One with about the mean number of steps that ages for about its mean number of steps; None where nothing is aged.
        steps: The number of steps of `plain`.
        most: The number of steps of `longest`.
        aged_steps: The number of steps without gradient of `aged`.
    """

    longest: int
    plain: int
    aged: int | None
    steps: int
    most: int
    aged_steps: int


def pick(config: Config, task: Task[Any]) -> Picked:
    """Returns the iterations to run: those of a run in its middle, with draws near their means.

    Args:
        config: The experiment, its size in numbers.
        task: What it trains for.
    """
    # Where damage begins at the end, there is none in the run itself.
    begun = config.damage_from if task.damaging and config.damage_from < 1 else 0.0
    first = int(max(task.curriculum, begun) * config.iterations) + 1
    low, high = config.steps_range
    # Rounded upwards: of two middle numbers always the same one.
    mean, wide = -(-(low + high) // 2), high - low or 1
    # How far each is from what is looked for, and what it draws; drawing takes a millisecond: the search ends where it can.
    plain: dict[int, tuple[float, int]] = {}
    aged: dict[int, tuple[float, int]] = {}
    for number in range(first, first + CANDIDATES):
        steps = draw_steps(config, number, task.curriculum)
        if task.ageing and number % AGEING_EVERY == 0:
            ageing = ageing_steps(config, number, task)
            aged[number] = abs(steps - mean) / wide + abs(ageing - task.ageing / 2) / task.ageing, ageing
        else:
            plain[number] = abs(steps - mean) / wide, steps
        found = [min(some.values(), default=(1.0, 0))[0] for some in (plain, aged)]
        if found[0] < CLOSE and (found[1] < CLOSE or not task.ageing) and any(drawn == high for _, drawn in plain.values()):
            break
    longest, middle = max(plain, key=lambda n: plain[n][1]), min(plain, key=lambda n: plain[n][0])
    old = min(aged, key=lambda n: aged[n][0], default=None)
    return Picked(longest, middle, old, plain[middle][1], plain[longest][1], 0 if old is None else aged[old][1])


def measure(config: Config, seconds: float) -> dict[str, Any]:
    """Trains for some iterations and returns the fields of a `Point` that were measured.

    Args:
        config: The experiment; nothing is written for it.
        seconds: How long the iterations may take; each kind is run once in any case.

    Raises:
        InputError: The config can't be trained.
        RuntimeError: Every iteration is faulty, or memory is used up.
    """
    config = config.anchored().replace(learning_rate=STILL)
    plugins.run(config.plugins, config.plugins_from)
    device = choose_device(config)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    found: dict[str, Any] = {}

    def train() -> None:
        found.update(_train(config, device, seconds))

    if device.type == "cuda":
        peak: int | None = allocated_on_cuda_bytes(train, device)
    else:
        peak = resident_bytes(train)
        if not found:  # the system doesn't say what a process takes
            train()
    return {**found, "peak": peak, "free": None if free == 1 << 62 else free}


def _train(config: Config, device: torch.device, seconds: float) -> dict[str, Any]:
    """Begins a run and times its iterations; the peak of memory is that of this call."""
    began = time.perf_counter()
    config, given = config.kind.sized(config)
    with threads(config), noted_segments() as segments:
        trainer = Trainer.begin(config, given)
        # What a run reads of its target is not wanted twice in memory.
        del given
        picked, bodies = pick(config, trainer.task), _grown(trainer, device)
        if bodies is not None:
            trainer.pool.seeds.copy_(bodies)
        # First: its memory is the most that an iteration takes, and the libraries are loaded by it.
        outcome, longest = _timed(trainer, picked.longest, bodies, device)
        states = bodies if bodies is not None or outcome.states is None else outcome.states.cpu()
        run = lambda n: _timed(trainer, n, states, device)[1]  # noqa: E731
        if longest < 1:
            run(picked.plain)
        gc.collect()
        measuring, waited = time.perf_counter(), _waited()
        plain, aged = _in_turn(picked, run, lambda: time.perf_counter() - began > seconds)
        waited, measuring = _waited() - waited, time.perf_counter() - measuring
    every = AGEING_EVERY if aged else 1
    a_while = statistics.median(plain) * (every - 1) + statistics.median(aged) if aged else statistics.median(plain)
    alive = None if outcome.states is None else float(trainer.rule.alive_mask(outcome.states).float().mean())
    return {
        "seconds": a_while / every,
        "segment": min(segments, default=None),
        "steps": picked.steps,
        "longest": picked.most,
        "aged_steps": picked.aged_steps,
        "living": alive,
        "plain_all": plain,
        "aged_all": aged,
        "waited": waited / measuring,
    }


def _in_turn(picked: Picked, run: Callable[[int], float], over: Callable[[], bool]) -> tuple[list[float], list[float]]:
    """Returns the seconds of iterations without and with ageing, in turn until there are enough or the time is over."""
    plain: list[float] = []
    aged: list[float] = []
    while len(plain) < MOST:
        plain.append(run(picked.plain))
        if picked.aged is not None:
            aged.append(run(picked.aged))
        if over() or (sum(plain) + sum(aged) > ENOUGH and len(plain) + len(aged) >= FEWEST):
            break
    return plain, aged


def _waited() -> float:
    """Returns the seconds that this thread has waited for a core so far; 0 where the system doesn't say (Linux does)."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _timed(trainer: Trainer, number: int, states: Tensor | None, device: torch.device) -> tuple[Outcome, float]:
    """Runs one iteration of a run, with its pool as at the beginning; returns its outcome and its seconds of computing.

    Raises:
        RuntimeError: It was faulty: its weights would not have moved.
    """
    pool = trainer.pool
    if states is not None:
        # Damage stays where a rule heals nothing: each iteration finds whole bodies again.
        # Of several bodies each slot has its own.
        pool.states.copy_(states[pool.label if pool.labelled else torch.arange(len(pool)) % len(states)])
    trainer.iteration = number - 1
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start, waited = time.perf_counter(), _waited()
    outcome = trainer.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    # What other processes took of the cores says nothing of the batch.
    seconds = time.perf_counter() - start - (_waited() - waited)
    if outcome.fault:
        raise RuntimeError(f"iterations are faulty: {outcome.fault}")
    return outcome, seconds


@torch.no_grad()
def _grown(trainer: Trainer, device: torch.device) -> Tensor | None:
    """Returns each body grown, (L, C, D, H, W); None for a task without bodies, whose cells are all alive at the beginning."""
    rule, seeds, config = trainer.rule, trainer.pool.seeds, trainer.config
    if not trainer.targets:
        return None
    if config.init:
        told = torch.arange(len(seeds)) if rule.told else None
        return rollout(rule, seeds.to(device), config.horizon, condition=told, executor=config.executor).to(seeds)
    # A fresh rule leaves each cell as it is: a body of first cells.
    dead, bodies = torch.as_tensor(rule.dead_value).to(seeds), []
    for seed, target in zip(seeds, trainer.targets, strict=True):
        cell = seed.flatten(1)[:, int(seed[rule.alpha].argmax())]
        bodies.append(torch.where(target.occupied.to(seed.device), cell[:, None, None, None], dead))
    return torch.stack(bodies)
