"""What really ran: what "auto" chose and what took the place of what couldn't be had, for the record of a run."""

from typing import TYPE_CHECKING

import torch

from nca3d.config import Config
from nca3d.executors import EXECUTORS, EveryCell, Memory, choose, compiled, event, torch_compile
from nca3d.executors.cores import cores
from nca3d.executors.every_cell import stepper_of
from nca3d.rules.cell import Rule
from nca3d.training.threads import choose_threads
from nca3d.versions import processor

if TYPE_CHECKING:
    from nca3d.training.trainer import Trainer


def ran(trainer: "Trainer") -> dict[str, str | int | float]:
    """Returns what a run computes with, by name, as it is after `Trainer.begin`.

    `executor` is the one of training's rollouts and in what it runs ("event, compiled code"), `compiled` whether a step of the
    rule's own went through torch.compile, and if not why ("not asked for", "no: …"); `segment` is the number of steps that
    are kept at once for the backward pass of the longest rollout, 0 = all of them, -1 = as many as living cells leave room for.

    Args:
        trainer: the run.
    """
    config, rule, device = trainer.config, trainer.rule, trainer.task.device
    # The states that "auto" chooses by: where a run begins, which is the same when it is resumed.
    state = trainer.pool.seed.to(device).expand(config.batch // config.accumulate, *trainer.pool.seed.shape)
    # Executors run the core, where a rule has one.
    rule, state = rule.core or rule, rule.to_core(state)
    executor, how = executor_of(config, rule, state)
    told = torch_compile.told(rule)
    optimizer = type(trainer.optimizer)
    return {
        "executor": f"{executor}, {how}",
        "precision": config.precision,
        "optimizer": f"{optimizer.__module__.partition('.')[0]}.{optimizer.__name__}",
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "threads": choose_threads(config),
        "cores": config.threads or cores(),
        "compiled": told if config.compile else "not asked for",
        "memory": config.memory if isinstance(config.memory, str) else "segments",
        "segment": segment_of(config, rule, state, executor),
        "offload": config.offload,
        "pool_device": trainer.pool.seed.device.type,
    }


def executor_of(config: Config, rule: Rule, state: torch.Tensor) -> tuple[str, str]:
    """Returns the executor of training's rollouts, and what it runs in: "compiled code", "torch", or torch and why.

    Args:
        config: the experiment.
        rule: what one cell does.
        state: the states that rollouts begin with, (B, C, D, H, W).
    """
    # An approximate executor has no gradient: it runs what has none, and "auto" the rest.
    asked = "auto" if "approx" in config.executor else config.executor
    name = choose(rule, state) if asked == "auto" else asked
    if name == "compiled":
        return name, "compiled code"
    if name in ("event", "slabs"):
        why = event.not_compiled(rule, state)
        return name, f"torch: the rule {why}" if why else "compiled code"
    # Where compiled code would have been the choice, it is worth knowing why it wasn't.
    if asked == "auto" and name == "dense" and (why := compiled.unsupported(rule, state)) and state.device.type == "cpu":
        return name, f"torch: the rule {why}"
    return name, "torch"


def segment_of(config: Config, rule: Rule, state: torch.Tensor, executor: str) -> int:
    """Returns how many steps the longest rollout keeps at once for its backward pass: 0 = all, -1 = it depends on living cells.

    Args:
        config: the experiment.
        rule: what one cell does.
        state: the states that rollouts begin with, (B, C, D, H, W).
        executor: the executor that runs them.
    """
    plan, steps = Memory.of(config.memory, config.memory_budget << 20), config.steps_range[1]
    if plan.length is not None:
        return plan.length
    own, run = stepper_of(rule), EXECUTORS[executor]
    if own is None and not isinstance(run, EveryCell):
        return -1
    step_bytes = own.step_bytes(rule, state) if own else run.step_bytes(rule, state)
    return plan.segment(steps, step_bytes) or 0


def note_place(trainer: "Trainer") -> str:
    """Returns what asking for host memory means on a CPU, to be shown before training begins; "" elsewhere."""
    config = trainer.config
    if trainer.task.device.type != "cpu":
        return ""
    asked = [f"offload = {config.offload}"] * (config.offload == "host")
    asked += [f"pool_device = {config.pool_device}"] * (config.pool_device != "auto")
    return f"{', '.join(asked)}: on a CPU all lies in host memory already: it is counted, and nothing moves" if asked else ""
