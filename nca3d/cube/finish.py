"""The end of a cube's run: ask it, hurt it, time it, film a question on its way, write the report."""

import copy
import math
import timeit
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from nca3d.cube.cell import GMLPRule
from nca3d.cube.evaluation import activity, evaluate_cube, figures_of
from nca3d.cube.executor.buffers import give_back
from nca3d.cube.reports.page import write_cube_report
from nca3d.cube.task import Answering
from nca3d.experiment import trained
from nca3d.fire import evaluation_seed
from nca3d.reports.report import Report
from nca3d.rollout import rollout
from nca3d.versions import versions

if TYPE_CHECKING:  # training imports this file at the end of a run, not the other way round
    from nca3d.training.loop import Run
    from nca3d.training.trainer import Trainer

# Of the curve of samples a second over the batch size.
BATCHES = (1, 8, 32, 128)

# How often a step is timed; the faster counts, since other work on the machine only ever slows it down.
TIMES = 2


def finish_cube(run: "Run", trainer: "Trainer", *, progress: bool = True) -> Report:
    """Figures, pictures, film and report of a finished run, written into its folder.

    Returns:
        What `evaluate_cube` measured, with iterations, seconds of training and of an epoch.
    """
    config, rule, task = trainer.config, cast(GMLPRule, run.rule), cast(Answering, trainer.task)
    taught = task.taught
    report = evaluate_cube(rule, taught, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    rule.card = {**rule.card, "figures": figures_of(report)}
    epoch = len(taught.of("train")) / config.batch  # iterations
    seconds = trainer.seconds / max(1, trainer.iteration)
    report |= trained(trainer) | {
        "seconds_per_epoch": round(seconds * epoch, 1),
        "samples_a_second": round(config.batch / max(seconds, 1e-9), 2),
    }
    report.series["batches"] = batch_curve(rule)
    report.about |= {"title": f"{taught.questions.name} · a cube that answers", "versions": versions()}
    pair = next(iter((*taught.of("test"), *taught.of("train"))))
    asked = taught.asked[pair][None].to(task.device)
    write_cube_report(
        run.folder,
        report,
        activity(rule, asked, config.horizon + 5, evaluation_seed(config.random_seed, 0)),
        metrics=run.metrics,
        config_toml=config.to_toml(),
        progress=progress,
    )
    return report


def batch_curve(rule: GMLPRule, batches: Sequence[int] = BATCHES) -> list[dict[str, Any]]:
    """Samples a second of one step forward and backward, as trained, in fp32, and the most memory that it took, by batch size.

    Memory is what the step needs at its height above rule and input, gradients among it, whatever ran before it.
    """
    rows = []
    rule = copy.deepcopy(rule).requires_grad_(True)
    cells, device = math.prod(rule.size), next(rule.parameters()).device
    for batch in batches:
        state = 0.1 * torch.randn(batch, rule.channels, *rule.size, generator=torch.Generator().manual_seed(0))
        step = partial(_step, rule, state.to(device))
        step()  # what a first step of this size sets up, for good, is no part of what a step takes
        peak = _peak(step, device)
        seconds = min(timeit.repeat(step, number=1, repeat=TIMES))
        rows.append(
            {
                "batch": batch,
                "samples_a_second": round(batch / seconds, 2),
                "cells_a_second": round(batch * cells / seconds),
                "memory_mib": round(peak / 2**20),
            }
        )
    return rows


def _step(rule: GMLPRule, state: Tensor) -> None:
    rollout(rule, state, 1).square().mean().backward()
    rule.zero_grad(set_to_none=True)
    if state.is_cuda:
        torch.cuda.synchronize(state.device)


def _peak(work: Callable[[], None], device: torch.device) -> int:
    """Bytes at the height of some work above what was held before: resident ones, where the system tells; else of tensors."""
    from nca3d.bench import memory

    if device.type == "cuda":
        return memory.allocated_on_cuda_bytes(work, device)
    give_back()  # or the step would be lent what an earlier one left behind, which nobody sees
    resident = memory.resident_bytes(work)
    return memory.allocated_bytes(work) if resident is None else resident
