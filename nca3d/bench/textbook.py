"""The textbook step: a neural cellular automaton as PyTorch code has written it since 2020, one module over the whole lattice.

This is what executors are measured against, so it is written as its readers would write it, neither faster nor slower:
states (B, C, D, H, W) in torch's default memory format, one depthwise `Conv3d` that holds every kernel, 1×1×1 `Conv3d` layers,
a fire mask drawn by `torch.rand`, two `max_pool3d`, masks multiplied in, and autograd keeping whatever it wants.
It computes what a `ConvRule` with perception "gradient" computes; the order of channels inside it is its own.

Mordvintsev et al. 2020, "Growing Neural Cellular Automata" (Distill), carried from 2D to 3D.
"""

from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.errors import ArgumentError
from nca3d.rules import ConvRule
from nca3d.rules.kernels import sobel


class Textbook(nn.Module):
    """The textbook step with the weights of a rule.

    Args:
        rule: perception "gradient", padding "zeros", step size 1: the defaults, and what textbook code can do.

    Raises:
        ValueError: a rule that textbook code has no word for.
    """

    def __init__(self, rule: ConvRule) -> None:
        super().__init__()
        options = (rule.perception, rule.padding, rule.step_size, rule.dead_value)
        if options != ("gradient", "zeros", 1.0, 0.0) or rule.alive_threshold is None:
            allowed = "perception 'gradient', padding 'zeros', step size 1, dead value 0, and an alive mask"
            raise ArgumentError("rule", f"{options}, threshold {rule.alive_threshold}", allowed)
        self.channels, self.alpha = rule.channels, rule.alpha
        self.fire_rate, self.alive_threshold = rule.fire_rate, rule.alive_threshold

        identity = torch.zeros(3, 3, 3)
        identity[1, 1, 1] = 1
        kernels = torch.stack([identity, *(sobel(axis) for axis in "xyz")])
        self.perceive = nn.Conv3d(self.channels, 4 * self.channels, 3, padding=1, groups=self.channels, bias=False)
        self.perceive.weight = nn.Parameter(kernels.repeat(self.channels, 1, 1, 1)[:, None], requires_grad=False)

        widths = [4 * self.channels, *rule.hidden]
        layers: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv3d(narrow, wide, 1), nn.ReLU()]
        self.update = nn.Sequential(*layers, nn.Conv3d(widths[-1], self.channels, 1, bias=False))
        self._take(rule)

    def _take(self, rule: ConvRule) -> None:
        """The rule's weights: its linear layers as 1×1×1 convolutions."""
        with torch.no_grad():
            for mine, theirs in zip(self.update, rule.network, strict=True):
                if isinstance(theirs, nn.Linear):
                    weight = theirs.weight
                    if mine is self.update[0]:
                        # A grouped convolution answers channel by channel, the rule's perception kernel by kernel.
                        weight = weight.view(-1, 4, self.channels).transpose(1, 2).reshape(len(weight), -1)
                    layer = cast(nn.Conv3d, mine)
                    layer.weight.copy_(weight[:, :, None, None, None])
                    if layer.bias is not None:
                        layer.bias.copy_(theirs.bias)

    def alive(self, state: Tensor) -> Tensor:
        """Which cells are alive, bool (B, 1, D, H, W): alpha above the threshold here or in a neighbour."""
        alpha = state[:, self.alpha : self.alpha + 1]
        return F.max_pool3d(alpha, 3, stride=1, padding=1) > self.alive_threshold

    def forward(self, state: Tensor, fire: Tensor | None = None) -> Tensor:
        """One step, (B, C, D, H, W) -> the same; fire: bool (B, 1, D, H, W) instead of a fresh draw."""
        pre = self.alive(state)
        delta = self.update(self.perceive(state))
        if fire is None:
            fire = torch.rand(state[:, :1].shape, device=state.device) < self.fire_rate
        state = state + delta * fire
        return state * (pre & self.alive(state))

    def rollout(self, state: Tensor, steps: int) -> Tensor:
        """Returns the state (B, C, D, H, W) after many steps."""
        for _ in range(steps):
            state = self(state)
        return state
