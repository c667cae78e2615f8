"""How the weights move: optimizers, the learning rate over a run, and what is done to a gradient before it is used."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.errors import InputError

# From here on Adam runs in one pass over the weights: rounded differently, several times faster, without temporaries.
MANY_WEIGHTS = 1_000_000

# Option of a group of parameters: its learning rate, in multiples of the run's. Checkpoints hold it under this name.
LR_MULTIPLIER = "pace"

# Numbers that an 8-bit optimizer works on at once; whole blocks of 256.
SLICE = 1 << 18


def build_optimizer(
    config: Config, parameters: Sequence[nn.Parameter], lr_multipliers: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.Optimizer:
    """The optimizer that the config names.

    Args:
        config: which one, and how it moves.
        parameters: what it moves.
        lr_multipliers: of those whose learning rate is a multiple of the config's, that multiple.

    Raises:
        InputError: "adamw8bit" without bitsandbytes: never a silent substitute.
    """
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.optimizer != "adamw8bit" and sum(p.numel() for p in parameters) >= MANY_WEIGHTS:
        options["fused"] = all(p.device.type == "cpu" for p in parameters) or None
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((lr_multipliers or {}).get(parameter, 1.0), []).append(parameter)
    param_groups = [
        {"params": group, **({} if multiplier == 1 else {LR_MULTIPLIER: multiplier})} for multiplier, group in groups.items()
    ]
    if config.optimizer == "adam":
        return torch.optim.Adam(param_groups, **options)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(param_groups, **options)
    try:
        import bitsandbytes
    except ImportError as error:
        raise InputError(
            "config", "optimizer", "'adamw8bit' without bitsandbytes", "adam, adamw; or pip install 'nca3d[gpu]'"
        ) from error
    return _in_slices(bitsandbytes.optim.AdamW8bit)(param_groups, **options)


def _in_slices(optimizer: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """An 8-bit optimizer whose work space on the CPU is that of a slice, not of the largest weight; the numbers are the same.

    Its state is quantised in blocks of 256 numbers, so slices of whole blocks know nothing of each other.
    """

    def update_step(self: Any, group: Any, p: Tensor, gindex: int, pindex: int) -> None:
        state = self.state[p]
        if p.device.type != "cpu" or state["state1"].dtype != torch.uint8 or not (p.is_contiguous() and p.grad is not None):
            return optimizer.update_step(self, group, p, gindex, pindex)  # type: ignore[attr-defined]
        before, flat = state["step"], p.detach().view(-1)
        for start in range(0, p.numel(), SLICE):
            cells, blocks = slice(start, start + SLICE), slice(start // 256, (start + SLICE) // 256)
            part = nn.Parameter(flat[cells])
            part.grad = p.grad.reshape(-1)[cells]
            self.state[part] = {
                **state,
                "step": before,
                **{name: state[name].view(-1)[cells] for name in ("state1", "state2")},
                **{name: state[name][blocks] for name in ("absmax1", "absmax2")},
            }
            optimizer.update_step(self, group, part, gindex, pindex)  # type: ignore[attr-defined]
            state["step"] = self.state.pop(part)["step"]

    # Under its own name: a checkpoint says which optimizer it belongs to, and this one is no other.
    return type(optimizer.__name__, (optimizer,), {"update_step": update_step, "__module__": optimizer.__module__})


def learning_rate(config: Config, iteration: int) -> float:
    """The learning rate of an iteration (1, 2, …), a pure function, so that a resumed run follows it.

    Warm-up, then the schedule.

    "constant"; "step": times `final_learning_rate` at each milestone (a share of the iterations); "cosine": down to
    `final_learning_rate` of the start at the last iteration.
    """
    done = min(1.0, iteration / config.iterations)
    factor = 1.0
    if config.schedule == "step":
        factor = config.final_learning_rate ** sum(done > milestone for milestone in config.milestones)
    elif config.schedule == "cosine":
        factor = config.final_learning_rate + (1 - config.final_learning_rate) * (1 + math.cos(math.pi * done)) / 2
    warm = min(1.0, iteration / config.warmup) if config.warmup else 1.0
    return config.learning_rate * warm * factor


def gradients_finite(parameters: Iterable[nn.Parameter]) -> bool:
    """Whether every gradient is finite: asked before anything is normalised, since one NaN would spread to all weights."""
    return all(bool(torch.isfinite(p.grad).all()) for p in parameters if p.grad is not None)


def treat_gradients(config: Config, parameters: Iterable[nn.Parameter]) -> None:
    """ "normalise": each variable's gradient to length 1 (Mordvintsev et al. 2020), "clip": all together to at most 1."""
    if config.gradient == "normalise":
        for grad in [p.grad for p in parameters if p.grad is not None]:
            grad.div_(grad.norm() + 1e-8)
    elif config.gradient == "clip":
        nn.utils.clip_grad_norm_(list(parameters), 1.0)
