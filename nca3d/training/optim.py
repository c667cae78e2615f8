"""How the weights move: optimizers, the learning rate over a run, and what is done to a gradient before it is used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from nca3d.config import Config
from nca3d.errors import InputError


def build_optimizer(config: Config, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that the config names.

    Raises:
        InputError: "adamw8bit" without bitsandbytes: never a silent substitute.
    """
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(parameters, **options)
    try:
        import bitsandbytes
    except ImportError as error:
        raise InputError(
            "config", "optimizer", "'adamw8bit' without bitsandbytes", "adam, adamw; or pip install 'nca3d[gpu]'"
        ) from error
    return bitsandbytes.optim.AdamW8bit(parameters, **options)


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
    trained = [p for p in parameters if p.grad is not None]
    if config.gradient == "normalise":
        for parameter in trained:
            assert parameter.grad is not None
            parameter.grad /= parameter.grad.norm() + 1e-8
    elif config.gradient == "clip":
        nn.utils.clip_grad_norm_(trained, 1.0)
