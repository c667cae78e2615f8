"""How the weights move: optimizers, the learning rate over a run, and the treatment of gradients before a step."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nca3d.config import Config
from nca3d.training.eight_bit import eight_bit

if TYPE_CHECKING:
    from nca3d.training.sharding import Shards

# From this many weights on, Adam runs in one fused pass: several times faster, without temporaries, rounded differently
# (so that small runs keep their numbers).
MANY_WEIGHTS = 1_000_000

# Key of a parameter group: its learning rate in multiples of the run's. Checkpoints hold it under this name, so it stays.
LR_MULTIPLIER = "pace"

# How high the learning rate begins in the healing phase, and how much rarer fresh seeds are there: measured on one large body,
# which healed from five of its six sides before it and from all after (docs/experiments.md).
RESTART, RARER = 0.5, 3


def build_optimizer(
    config: Config,
    parameters: Sequence[nn.Parameter],
    lr_multipliers: Mapping[nn.Parameter, float] | None = None,
    in_full: Collection[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """Returns the optimizer that the config names.

    Args:
        config: says which optimizer, and its options.
        parameters: what it moves.
        lr_multipliers: learning rates of single parameters, as multiples of the config's; 1 for those not in it.
        in_full: those whose state has 32 bits, whatever the config says of 8.

    Raises:
        InputError: the config asks for 8 bits, and bitsandbytes is not installed, or for pages without a CUDA device.
    """
    options: dict[str, Any] = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.optimizer in ("adam", "adamw") and sum(p.numel() for p in parameters) >= MANY_WEIGHTS:
        options["fused"] = all(p.device.type == "cpu" for p in parameters) or None
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((lr_multipliers or {}).get(parameter, 1.0), []).append(parameter)
    # A multiplier of 1 is left out, so that the checkpoint of a body looks as it did before there were multipliers.
    param_groups = [
        {"params": group, **({} if multiplier == 1 else {LR_MULTIPLIER: multiplier})} for multiplier, group in groups.items()
    ]
    if config.optimizer == "adam":
        return torch.optim.Adam(param_groups, **options)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(param_groups, **options)
    return eight_bit(param_groups, options, in_full, paged=config.optimizer == "paged_adamw8bit")


def learning_rate(config: Config, iteration: int) -> float:
    """Returns the learning rate of an iteration: warm-up times schedule.

    Schedules: "constant"; "step" multiplies by `final_learning_rate` at each milestone (a share of the iterations); "cosine"
    falls to `final_learning_rate` of the start at the last iteration. Where the config has a healing phase, the schedule has
    come to its end when that begins, and runs a second time at half its height (a warm restart, Loshchilov and Hutter 2017).

    Args:
        config: learning rate, schedule and number of iterations.
        iteration: 1, 2, …
    """
    # A pure function of the iteration, without a scheduler's state, so that a resumed run follows it.
    done = min(1.0, iteration / config.iterations)
    late = healing(config, iteration)
    done = 1 - (1 - done) / config.healing_phase if late else done / (1 - config.healing_phase)
    factor = 1.0
    if config.schedule == "step":
        factor = config.final_learning_rate ** sum(done > milestone for milestone in config.milestones)
    elif config.schedule == "cosine":
        factor = config.final_learning_rate + (1 - config.final_learning_rate) * (1 + math.cos(math.pi * done)) / 2
    warm = min(1.0, iteration / config.warmup) if config.warmup else 1.0
    return config.learning_rate * warm * factor * (RESTART if late else 1.0)


def healing(config: Config, iteration: int) -> bool:
    """Returns whether an iteration belongs to the healing phase, the last one of a run, if its config has one."""
    # Whoever measures iterations may go on beyond the last one of a config.
    return config.healing_phase > 0 and iteration > (1 - config.healing_phase) * config.iterations


def gradient_norm(parameters: Iterable[nn.Parameter], shards: "Shards | None" = None) -> float:
    """Returns the norm of all gradients together, not finite if one is not or if it overflows; asked before they are treated.

    One NaN would spread to all weights, and a norm that overflows would scale every gradient to zero without a word.

    Args:
        parameters: whose gradients are looked at.
        shards: which of them are split among ranks; None = none is.
    """
    if shards is not None and shards.places and (learning := [p for p in parameters if p.grad is not None]):
        return float(shards.norms(learning).norm())
    # One number for all of them: a device must come to rest for each answer.
    return float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def treat_gradients(config: Config, parameters: Iterable[nn.Parameter], shards: "Shards | None" = None) -> None:
    """Changes the gradients in place, as the config says.

    "normalise" gives each parameter's gradient the length 1 (Mordvintsev et al. 2020): long rollouts have gradients of very
    different lengths from one iteration to the next. "clip" shortens all gradients together
    to length 1 at most. "none" changes nothing.

    Args:
        config: `gradient` names the treatment.
        parameters: whose gradients are changed.
        shards: which of them are split among ranks; None = none is.
    """
    if shards is not None and shards.places:
        _treat_split(config, [p for p in parameters if p.grad is not None], shards)
    elif config.gradient == "normalise":
        for grad in [p.grad for p in parameters if p.grad is not None]:
            # 1e-8 keeps a gradient of zeros at zero.
            grad.div_(grad.norm() + 1e-8)
    elif config.gradient == "clip":
        nn.utils.clip_grad_norm_(list(parameters), 1.0)


def _treat_split(config: Config, parameters: Sequence[nn.Parameter], shards: "Shards") -> None:
    """Changes gradients of which ranks have some rows each; a length is that of the whole."""
    if config.gradient == "none" or not parameters:
        return
    norms = shards.norms(parameters)
    # The small numbers are those above, and of torch's own clipping.
    factors = (
        1 / (norms + 1e-8) if config.gradient == "normalise" else (1 / (norms.norm() + 1e-6)).clamp_max(1).expand(len(norms))
    )
    for parameter, factor in zip(parameters, factors, strict=True):
        assert parameter.grad is not None
        parameter.grad.mul_(factor)
