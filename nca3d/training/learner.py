"""How a loss becomes moved weights: the backward pass with its scale, a look at the gradients, the optimizer."""

import contextlib
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nca3d.config import Config
from nca3d.training.optim import gradient_norm, treat_gradients
from nca3d.training.precision import LossScale
from nca3d.training.recovery import BAD_GRADIENT
from nca3d.training.sharding import Shards
from nca3d.training.task import InBackward

# What `look` says of gradients that only the scale of the loss has made infinite.
OVERFLOW = "overflow"


class Learner:
    """Moves the weights of a rule, or leaves every one of them as it was.

    Args:
        config: the experiment.
        optimizer: moves the weights.
        device: where the rule lies.
        in_backward: what moves some of the weights inside the backward pass; None = the optimizer moves all of them.
        shards: which weights are split among ranks; None = none is.

    Attributes:
        scale: the scale of the loss.
        overflows: how often the weights stayed where they were because the scale was too large.
        norm: the norm of the last gradients, but for those that move weights inside the backward pass.
    """

    def __init__(
        self,
        config: Config,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        in_backward: InBackward | None = None,
        shards: Shards | None = None,
    ) -> None:
        self.optimizer, self.in_backward, self.shards = optimizer, in_backward, shards
        self.scale = LossScale(config, device)
        self.overflows, self.norm = 0, math.nan

    def begin(self) -> None:
        """Drops the gradients of the iteration before."""
        self.optimizer.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of a loss, a scalar, to those that are there."""
        with self.in_backward.noting() if self.in_backward else contextlib.nullcontext():
            self.scale.up(loss).backward()

    def look(self, parameters: Iterable[nn.Parameter]) -> str:
        """Returns what is wrong with the gradients: "", `OVERFLOW` or a fault; they are no longer scaled then."""
        parameters = list(parameters)
        if self.shards is not None and self.scale.scaler.is_enabled():
            self.shards.spread_infinity(parameters)
        self.scale.down(self.optimizer)
        # What moves weights before it knows all of their gradients must know beforehand that these are finite.
        if self.in_backward and not self.in_backward.surely_finite():
            self.in_backward.write_gradients()
        self.norm = gradient_norm(parameters, self.shards)
        if math.isfinite(self.norm):
            return ""
        return OVERFLOW if self.scale.overflowed() else BAD_GRADIENT

    def step(self, config: Config, parameters: Iterable[nn.Parameter]) -> None:
        """Moves the weights by their gradients, treated as the config says; `look` has found nothing wrong with them."""
        treat_gradients(config, parameters, self.shards)
        self.optimizer.step()
        if self.in_backward:
            self.in_backward.step()

    def end(self, overflowed: bool) -> None:
        """Ends an iteration, whatever came of it.

        Args:
            overflowed: whether the weights stayed because of the scale.
        """
        self.overflows += overflowed
        self.scale.settle()
        if self.in_backward:
            self.in_backward.forget()
