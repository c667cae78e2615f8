"""The update network of a rule on rows of what cells saw: forward, and backward with the hidden layers computed again."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

# Rows at once: their hidden activations stay in the processor's cache, and a product of so many rows is at its full rate.
ROWS = 4096

# Rows that matrix products take side by side at most: how many are left over must not decide how they are computed.
ROW_MULTIPLE = 16


def pad_rows(rows: Tensor) -> Tensor:
    """The same rows, the last one again until their number is a multiple of `ROW_MULTIPLE`.

    Libraries compute what is left over at the end of a matrix by other instructions, in another order: without this, a cell's
    bits would depend on how many cells anywhere fire beside it (law 3).
    """
    return torch.cat([rows, rows[-1:].expand(-len(rows) % ROW_MULTIPLE)])


def trainable_parameters(rule: Rule) -> list[nn.Parameter]:
    """The parameters that ask for a gradient, in the order in which executors hand them to autograd."""
    return [parameter for parameter in rule.parameters() if parameter.requires_grad]


def network_dtype(values: Tensor) -> torch.dtype | None:
    """What autocast asks of update networks beside such states, if anything."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def unknown_arithmetic(values: Tensor) -> str:
    """Why compiled code doesn't know the arithmetic that is asked for, or ""."""
    asked = network_dtype(values)
    if asked is None or (asked == torch.bfloat16 and values.dtype == torch.float32):
        return ""
    return f"is to answer in {asked} with a state in {values.dtype}, where compiled code knows bfloat16 with float32".replace(
        "torch.", ""
    )


def gradients(outputs: Sequence[Tensor], grad_outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Zeros where an output does not depend on an input: the optimizer must not tell a step's shape from a missing gradient."""
    return torch.autograd.grad(outputs, inputs, grad_outputs, allow_unused=True, materialize_grads=True)


def add_kernel_gradients(rule: Rule, into: list[Tensor], grad_kernels: Sequence[Tensor]) -> list[Tensor]:
    """What flows into each trained parameter: what is given, and what flows through the kernels, each (C, 3, 3, 3), into it."""
    with torch.enable_grad():
        kernels = [kernel.expand(rule.channels, 3, 3, 3) for kernel in rule.kernels() if kernel is not None]
    learned = [pair for pair in zip(kernels, grad_kernels, strict=True) if pair[0].requires_grad]
    if not learned:
        return into
    through = gradients([kernel for kernel, _ in learned], [given for _, given in learned], trainable_parameters(rule))
    return [a + b for a, b in zip(into, through, strict=True)]


def propose(rule: Rule, seen: Tensor, dtype: torch.dtype | None) -> Tensor:
    """What the cells that saw (n, K·C) propose, in the dtype of `seen`; the network computes in `dtype`, if there is one."""
    with torch.autocast(seen.device.type, dtype=dtype, enabled=dtype is not None):
        proposed = rule.update(seen)
    return proposed.to(seen.dtype)


class Network:
    """Any network, through autograd. `gradients` sums what flows into the trained parameters over calls of `backward`."""

    def __init__(self, rule: Rule, dtype: torch.dtype | None) -> None:
        self.rule, self.dtype = rule, dtype
        self.parameters = trainable_parameters(rule)
        self.gradients: list[Tensor] = []

    def clear(self) -> None:
        """Start a new sum of gradients. They are new tensors: the old ones may have been handed to autograd."""
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def forward(self, seen: Tensor) -> Tensor:
        """(n, K·C) -> (n, C), in the dtype of `seen`; valid until the next call."""
        return propose(self.rule, seen, self.dtype)

    def backward(self, seen: Tensor, grad_delta: Tensor) -> Tensor:
        """What flows into `seen`, (n, K·C), given what flows into the change, (n, C); valid until the next call."""
        with torch.enable_grad():
            seen = seen.detach().requires_grad_()
            change = propose(self.rule, seen, self.dtype)
        grad_perception, *into = gradients([change], [grad_delta], [seen, *self.parameters])
        for total, part in zip(self.gradients, into, strict=True):
            total += part
        return grad_perception


def linear_layers(rule: Rule) -> list[nn.Linear] | None:
    """The linear layers of a `ConvRule`, if its update is the one of `ConvRule` and nobody hooked into or replaced a layer."""
    if not isinstance(rule, ConvRule) or type(rule.network) is not nn.Sequential:
        return None
    if type(rule).update is not ConvRule.update or "update" in vars(rule):
        return None
    own = {id(parameter) for parameter in rule.parameters()}
    modules = list(rule.network)
    for place, module in enumerate(modules):
        wanted = nn.ReLU if place % 2 else nn.Linear
        if type(module) is not wanted or any(id(p) not in own for p in module.parameters()):
            return None
    if any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in rule.network.modules()):
        return None
    return [module for module in modules if isinstance(module, nn.Linear)] if len(modules) % 2 else None
