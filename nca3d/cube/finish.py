"""The end of a cube's run: it is evaluated, damaged and timed, a question is filmed on its way, and the report is written."""

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
from nca3d.experiment import training_summary
from nca3d.fire import evaluation_seed
from nca3d.ranks import alone, current
from nca3d.reports.report import Report
from nca3d.rollout import rollout
from nca3d.versions import versions

if TYPE_CHECKING:  # training imports this file at the end of a run, not the other way round
    from nca3d.training.loop import Run
    from nca3d.training.trainer import Trainer

# The batch sizes of the curve of samples a second.
BATCHES = (1, 8, 32, 128)

# How often a step is timed; the fastest run counts, since other work on the machine only ever slows a step down.
TIMES = 2


def finish_cube(run: "Run", trainer: "Trainer", *, progress: bool = True) -> Report:
    """Evaluates a trained cube, and writes figures, pictures, film and report into the run's folder.

    Args:
        run: The finished run; its rule's card gets the figures.
        trainer: The trainer of that run, for its task, its times and its config.
        progress: Whether to show progress bars.

    Returns:
        The report of `evaluate_cube`, with iterations and with the seconds of training and of an epoch.
    """
    # Of several processes the first one has the whole cube.
    if not current().first:
        return Report({}, {})
    with alone():
        return _finished(run, trainer, progress)


def _finished(run: "Run", trainer: "Trainer", progress: bool) -> Report:
    """Evaluates a cube that is whole in this process; see `finish_cube`."""
    config, rule, task = trainer.config, cast(GMLPRule, run.rule), cast(Answering, trainer.task)
    embedded = task.embedded
    report = evaluate_cube(rule, embedded, horizon=config.horizon, random_seed=config.random_seed, progress=progress)
    rule.card = {**rule.card, "figures": figures_of(report)}
    # A run of 0 iterations (a report on a rule that is only initialised) has no speed, and shall not divide by 0.
    seconds = trainer.seconds / max(1, trainer.iteration)
    report |= training_summary(trainer, run.metrics) | {"samples_a_second": round(config.batch / max(seconds, 1e-9), 2)}
    report.series["batches"] = batch_curve(rule)
    report.about |= {"title": f"{embedded.questions.name} · a cube that answers", "versions": versions()}
    # The film shows a held-out question where there is one.
    pair = next(iter((*embedded.of("test"), *embedded.of("train"))))
    question = embedded.question_embeddings[pair][None].to(task.device)
    write_cube_report(
        run.folder,
        report,
        activity(rule, question, config.horizon + 5, evaluation_seed(config.random_seed, 0)),
        metrics=run.metrics,
        config_toml=config.to_toml(),
        progress=progress,
    )
    return report


def batch_curve(rule: GMLPRule, batches: Sequence[int] = BATCHES) -> list[dict[str, Any]]:
    """Measures one step forward and backward, in float32, by batch size.

    Args:
        rule: The cube's rule; a copy of it is measured.
        batches: The batch sizes.

    Returns:
        A row for each batch size: `batch`, `samples_a_second`, `cells_a_second`, and `memory_mib`, the peak of memory that the
        step needs above rule and input, gradients included.
    """
    rows = []
    rule = copy.deepcopy(rule).requires_grad_(True)
    cells, device = math.prod(rule.size), next(rule.parameters()).device
    for batch in batches:
        state = 0.1 * torch.randn(batch, rule.channels, *rule.size, generator=torch.Generator().manual_seed(0))
        step = partial(_step, rule, state.to(device))
        step()  # a first step of this size also allocates what later ones reuse: it is neither timed nor measured
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
        torch.cuda.synchronize(state.device)  # kernels run on by themselves: else only their launch is timed


def _peak(work: Callable[[], None], device: torch.device) -> int:
    """Returns the peak of memory that some work needs above what was held before, in bytes.

    It counts the process's resident memory where the system tells it, and the memory of tensors elsewhere.
    """
    from nca3d.bench import memory

    if device.type == "cuda":
        return memory.allocated_on_cuda_bytes(work, device)
    give_back()  # else the step would reuse buffers of an earlier one, which are resident already and would not be counted
    resident = memory.resident_bytes(work)
    return memory.allocated_bytes(work) if resident is None else resident
