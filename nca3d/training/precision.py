"""In how many bits the update network computes, and how a loss in fp16 is scaled; the state is float32 in all of them.

fp16 has five bits for the exponent: small gradients become zero, so the loss is scaled up before the backward pass and
gradients down after it (Micikevicius et al. 2018, "Mixed Precision Training"; torch's GradScaler). bf16 has the exponent of
float32, and needs none.
"""

from typing import Any

import torch
from torch import Tensor

from nca3d.config import Config

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The first scale: torch's own, 65,536, is too large for the first gradients of a cube, and its iterations would be lost.
FIRST = 2.0**12
# The least scale. What isn't finite at this one is no overflow of fp16.
LEAST = 1.0


def autocast(config: Config, device: torch.device) -> torch.autocast:
    """Returns a context in which update networks compute in the config's precision; executors keep the state in float32."""
    return torch.autocast(device.type, dtype=DTYPES[config.precision], enabled=config.precision != "fp32")


class LossScale:
    """The scale of the loss: 1 and never changed but in fp16.

    A scale that was too large is no fault: the weights stay, and the next iteration has half of it. So that a rule whose
    numbers really aren't finite doesn't go on like this for ever, the scale has an end, and there it is a fault.

    Args:
        config: `precision` decides whether there is a scale at all.
        device: where the loss is computed.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.scaler = torch.amp.GradScaler(device.type, init_scale=FIRST, enabled=config.precision == "fp16")
        # Whether gradients of this iteration have been looked at: the scaler has nothing to go by else.
        self._down = False

    @property
    def value(self) -> float:
        """The factor on the loss at the moment."""
        return self.scaler.get_scale()

    def up(self, loss: Tensor) -> Tensor:
        """Returns the loss, of any shape, times the scale."""
        return self.scaler.scale(loss)

    def down(self, optimizer: torch.optim.Optimizer) -> None:
        """Divides all gradients by the scale, in place; finite or not."""
        if self.scaler.is_enabled() and any(p.grad is not None for group in optimizer.param_groups for p in group["params"]):
            self.scaler.unscale_(optimizer)
            self._down = True

    def overflowed(self) -> bool:
        """Whether gradients that aren't finite may be the scale's fault alone."""
        return self.scaler.is_enabled() and self.value > LEAST

    def settle(self) -> None:
        """Halves the scale if the gradients of this iteration weren't finite; doubles it after 2,000 that were."""
        if self._down:
            self._down = False
            self.scaler.update()
            if self.value < LEAST:
                self.scaler.update(LEAST)

    def plain(self) -> dict[str, Any]:
        """Returns the scale and its counters as plain numbers, {} where there is none."""
        return self.scaler.state_dict()

    def restore(self, saved: dict[str, Any]) -> None:
        """Continues with what `plain` returned; {} leaves a fresh scale, as where a run goes on in fp16 that wasn't before."""
        if saved and self.scaler.is_enabled():
            self.scaler.load_state_dict(saved)
