"""The convolutional rule of the growing-NCA line of papers, in 3D: fixed or learned kernels, then a pointwise network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from nca3d.errors import ArgumentError
from nca3d.rules.cell import Rule
from nca3d.rules.kernels import LEARNED_KERNELS, PERCEPTIONS


class ConvRule(Rule):
    """A rule that perceives by 3×3×3 depthwise kernels and updates by linear layers and ReLUs, the last layer zero at first.

    With the defaults it has 16·4·128 + 128 + 128·16 = 10,368 parameters. A fresh rule does nothing (law 1): its last layer is
    zero and has no bias, so training starts from "stay as you are" (Mordvintsev et al. 2020).

    Args:
        channels: The number of channels of a cell: visible, alpha and hidden ones together.
        hidden: The widths of the hidden layers, at least one.
        perception: The kernels that a cell perceives through: "gradient" = identity, d/dx, d/dy, d/dz;
            "gradient+laplacian" = these and the Laplacian; "gradient+laplacian/4" = these and a quarter of it, by which bodies
            learn more safely; "isotropic" = identity and Laplacian, which know no direction; "learned" = 3 kernels for each
            channel, trained with the network.
        visible, visible_kind, fire_rate, alive_threshold, step_size, padding: See `Rule`.
        generator: Draws the initial weights; None = torch's global one.

    Raises:
        ValueError: An argument is out of its range; the line names it.
    """

    def __init__(
        self,
        channels: int = 16,
        hidden: Sequence[int] = (128,),
        perception: Literal["gradient", "gradient+laplacian", "gradient+laplacian/4", "isotropic", "learned"] = "gradient",
        visible: int = 3,
        visible_kind: Literal["rgb", "classes"] = "rgb",
        fire_rate: float = 0.5,
        alive_threshold: float | None = 0.1,
        step_size: float = 1.0,
        padding: Literal["zeros", "replicate", "circular"] = "zeros",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(channels, visible, visible_kind, fire_rate, alive_threshold, step_size, padding)
        allowed = (*PERCEPTIONS, "learned")
        if perception not in allowed:
            raise ArgumentError("perception", repr(perception), ", ".join(allowed))
        self.hidden, self.perception = tuple(hidden), perception
        if not self.hidden or min(self.hidden) < 1:
            raise ArgumentError("hidden", self.hidden, "at least one width, each 1 or more")

        self.learned: nn.Parameter | None = None
        self.learns_kernels = perception == "learned"
        if self.learns_kernels:
            # 27 weights of this size keep the variance of what they add up, so the network starts with numbers of size 1.
            kernels = torch.randn(LEARNED_KERNELS, channels, 3, 3, 3, generator=generator) / 27**0.5
            self.learned = nn.Parameter(kernels)
        else:
            for place, kernel in enumerate(PERCEPTIONS[perception]):
                if kernel is not None:
                    # Buffers, so that `rule.to(device)` moves them; not saved, because they follow from the perception's name.
                    self.register_buffer(f"kernel_{place}", kernel[None].clone(), persistent=False)

        views = LEARNED_KERNELS if self.learns_kernels else len(PERCEPTIONS[perception])
        widths = [views * channels, *self.hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            # In place: hidden layers are by far the largest tensors of a step.
            layers += [_linear(inputs, outputs, generator), nn.ReLU(inplace=True)]
        # Without a bias, which would push all cells alike, those of the empty space too.
        last = nn.Linear(widths[-1], channels, bias=False)
        nn.init.zeros_(last.weight)
        self.network = nn.Sequential(*layers, last)

    def kernels(self) -> list[Tensor | None]:
        """Returns the depthwise kernels, (1 or C, 3, 3, 3) each; None = the cell itself."""
        if self.learned is not None:
            return list(self.learned)
        fixed = PERCEPTIONS[self.perception]
        return [None if kernel is None else self.get_buffer(f"kernel_{place}") for place, kernel in enumerate(fixed)]

    def update(self, perception: Tensor) -> Tensor:
        """Returns the change (…, C) that the network proposes for cells that perceive (…, K·C)."""
        return self.network(perception)

    def multiply_adds(self) -> int | None:
        """Returns the multiply-adds of the network's layers for one cell; None for a subclass with an update of its own."""
        if type(self).update is not ConvRule.update:
            return None
        return sum(layer.weight.numel() for layer in self.network if isinstance(layer, nn.Linear))

    def spec(self) -> dict[str, object]:
        """Returns the keyword arguments that build this rule anew, without its weights."""
        # `generator` is left out: the weights that it drew are saved themselves.
        names = (
            "channels",
            "perception",
            "visible",
            "visible_kind",
            "fire_rate",
            "alive_threshold",
            "step_size",
            "padding",
        )
        return {"hidden": list(self.hidden), **{name: getattr(self, name) for name in names}}


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """Returns a layer with torch's default initialisation, drawn by `generator`: a run is a function of its random_seed."""
    layer = nn.Linear(inputs, outputs)
    bound = inputs**-0.5
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
