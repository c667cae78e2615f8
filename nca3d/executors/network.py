"""The update network of a rule on rows of what cells saw: forward, and backward with the hidden layers computed again.

Linear layers with ReLUs between them (`ConvRule`) run as matrix products into buffers that are used again, because a step of a
small body is thirty tiny operations whose allocation and bookkeeping cost more than their arithmetic. Any other network runs
through autograd.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

ROWS = 4096
"""Rows at once: their hidden activations stay in the processor's cache, and a product of so many rows is at its full rate."""


def network_of(rule: Rule, dtype: torch.dtype | None) -> Network:
    """The fastest way to run `rule.update` on rows. dtype: of the arithmetic, None = that of the rows."""
    layers = _layers(rule)
    return Network(rule, dtype) if layers is None else Layers(rule, dtype, layers)


def trained(rule: Rule) -> list[nn.Parameter]:
    """The parameters that ask for a gradient, in the order in which executors hand them to autograd."""
    return [parameter for parameter in rule.parameters() if parameter.requires_grad]


class Network:
    """Any network, through autograd. `gradients` collects what flows into the trained parameters over all calls of `backward`."""

    def __init__(self, rule: Rule, dtype: torch.dtype | None) -> None:
        self.rule, self.dtype = rule, dtype
        self.parameters = trained(rule)
        self.gradients: list[Tensor] = []

    def clear(self) -> None:
        """Start a new sum of gradients. They are new tensors: the old ones may have been handed to autograd."""
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def forward(self, seen: Tensor) -> Tensor:
        """(n, K·C) -> (n, C), in the dtype of `seen`; valid until the next call."""
        return self._update(seen)

    def backward(self, seen: Tensor, into_change: Tensor) -> Tensor:
        """What flows into `seen`, (n, K·C), given what flows into the change, (n, C); valid until the next call."""
        with torch.enable_grad():
            seen = seen.detach().requires_grad_()
            change = self._update(seen)
        into_seen, *into = torch.autograd.grad(
            change, [seen, *self.parameters], into_change, allow_unused=True, materialize_grads=True
        )
        for total, part in zip(self.gradients, into, strict=True):
            total += part
        return into_seen

    def _update(self, seen: Tensor) -> Tensor:
        with torch.autocast(seen.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            answer = self.rule.update(seen)
        return answer.to(seen.dtype)


class Layers(Network):
    """Linear layers with ReLUs between them."""

    def __init__(self, rule: Rule, dtype: torch.dtype | None, layers: list[nn.Linear]) -> None:
        super().__init__(rule, dtype)
        self.layers = [tuple(None if p is None else self._cast(p.detach()) for p in (l.weight, l.bias)) for l in layers]
        place = {id(parameter): k for k, parameter in enumerate(self.parameters)}
        self.places = [(place.get(id(layer.weight)), place.get(id(layer.bias))) for layer in layers]
        self.buffers: dict[Any, Tensor] = {}

    def forward(self, seen: Tensor) -> Tensor:
        """(n, K·C) -> (n, C)."""
        return self._activations(self._cast(seen))[-1].to(seen.dtype)

    def backward(self, seen: Tensor, into_change: Tensor) -> Tensor:
        """(n, C) -> (n, K·C)."""
        inputs = self._activations(self._cast(seen))[:-1]
        into = self._cast(into_change)
        for k in reversed(range(len(self.layers))):
            weight, _ = self.layers[k]
            assert weight is not None
            weight_place, bias_place = self.places[k]
            if weight_place is not None:
                self._accumulate(self.gradients[weight_place], into.t(), inputs[k])
            if bias_place is not None:
                self.gradients[bias_place] += into.sum(0)
            into = torch.mm(into, weight, out=self._buffer("into", k, into, weight.shape[1]))
            if k:  # inputs[k] is what a ReLU let through
                torch.ops.aten.threshold_backward.grad_input(into, inputs[k], 0, grad_input=into)
        return into.to(into_change.dtype)

    def _activations(self, seen: Tensor) -> list[Tensor]:
        """What each layer gets, and the answer of the last."""
        values = [seen]
        for k, (weight, bias) in enumerate(self.layers):
            assert weight is not None
            out = self._buffer("out", k, seen, weight.shape[0])
            if bias is None:
                torch.mm(values[-1], weight.t(), out=out)
            else:
                torch.addmm(bias, values[-1], weight.t(), out=out)
            values.append(out.relu_() if k + 1 < len(self.layers) else out)
        return values

    def _accumulate(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        if self.dtype is None:
            total.addmm_(left, right)
        else:
            total += left @ right  # fewer bits in a product of one step, all bits in the sum over steps

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor if self.dtype is None else tensor.to(self.dtype)

    def _buffer(self, name: str, layer: int, like: Tensor, width: int) -> Tensor:
        rows = len(like)
        found = self.buffers.get((name, layer))
        if found is None or len(found) < rows:
            found = self.buffers[name, layer] = like.new_empty(max(rows, min(ROWS, rows + rows // 4)), width)
        return found[:rows]


def _layers(rule: Rule) -> list[nn.Linear] | None:
    """The linear layers of a `ConvRule`, if its update is the one of `ConvRule` and nobody hooked into or replaced a layer."""
    if not isinstance(rule, ConvRule) or type(rule).update is not ConvRule.update or type(rule.network) is not nn.Sequential:
        return None
    own = {id(parameter) for parameter in rule.parameters()}
    modules = list(rule.network)
    for place, module in enumerate(modules):
        wanted = nn.ReLU if place % 2 else nn.Linear
        if type(module) is not wanted or any(id(p) not in own for p in module.parameters()) or module._forward_hooks:
            return None
    linear = [module for module in modules if isinstance(module, nn.Linear)]
    return linear if len(modules) % 2 and not rule.network._forward_hooks else None
