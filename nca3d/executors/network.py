"""The update network of a rule on rows of perceptions: forward, and backward with the hidden layers computed again."""

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
    """Pads rows (n,) or (n, …) by repeating the last one until their number is a multiple of `ROW_MULTIPLE`.

    Libraries compute what is left over at the end of a matrix by other instructions, in another order: without this, a cell's
    bits would depend on how many cells anywhere fire beside it (law 3).
    """
    return torch.cat([rows, rows[-1:].expand(-len(rows) % ROW_MULTIPLE)])


def trainable_parameters(rule: Rule) -> list[nn.Parameter]:
    """Returns the parameters that need a gradient, in the order in which executors hand them to autograd."""
    return [parameter for parameter in rule.parameters() if parameter.requires_grad]


def network_dtype(values: Tensor) -> torch.dtype | None:
    """Returns the dtype that autocast wants update networks to compute in beside states (N, C), or None."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def unknown_arithmetic(values: Tensor) -> str:
    """Returns why compiled code can't compute as autocast wants beside states (N, C), or ""."""
    dtype = network_dtype(values)
    if dtype is None or (dtype == torch.bfloat16 and values.dtype == torch.float32):
        return ""
    return f"is to answer in {dtype} with a state in {values.dtype}, where compiled code knows bfloat16 with float32".replace(
        "torch.", ""
    )


def gradients(outputs: Sequence[Tensor], grad_outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns the gradients of outputs with respect to inputs, each of the input's shape (…,), given those of the outputs.

    They are zeros where an output does not depend on an input: the optimizer must not tell a step's shape from a missing one.
    """
    return torch.autograd.grad(outputs, inputs, grad_outputs, allow_unused=True, materialize_grads=True)


def add_kernel_gradients(rule: Rule, grads: list[Tensor], grad_kernels: Sequence[Tensor]) -> list[Tensor]:
    """Adds to the parameters' gradients what flows into them through learned kernels.

    Args:
        rule: whose trainable parameters they are.
        grads: a gradient for each of them.
        grad_kernels: the gradients (C, 3, 3, 3) of the kernels other than the identity.
    """
    with torch.enable_grad():
        kernels = [kernel.expand(rule.channels, 3, 3, 3) for kernel in rule.kernels() if kernel is not None]
    learned = [pair for pair in zip(kernels, grad_kernels, strict=True) if pair[0].requires_grad]
    if not learned:
        return grads
    through = gradients([kernel for kernel, _ in learned], [grad for _, grad in learned], trainable_parameters(rule))
    return [a + b for a, b in zip(grads, through, strict=True)]


def propose(rule: Rule, perception: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Returns the change (n, C) that cells propose for a perception (n, K·C), in its dtype.

    Args:
        rule: whose update network it is.
        perception: (n, K·C).
        dtype: the network computes in it; None = in that of the perception.
    """
    with torch.autocast(perception.device.type, dtype=dtype, enabled=dtype is not None):
        change = rule.update(perception)
    return change.to(perception.dtype)


class Network:
    """Any update network, run by autograd. `gradients` sums the parameters' gradients over calls of `backward`.

    Args:
        rule: whose network it is.
        dtype: the network computes in it; None = in that of the state.
    """

    def __init__(self, rule: Rule, dtype: torch.dtype | None) -> None:
        self.rule, self.dtype = rule, dtype
        self.parameters = trainable_parameters(rule)
        self.gradients: list[Tensor] = []

    def clear(self) -> None:
        """Starts a new sum of gradients. They are new tensors: the old ones may have been handed to autograd."""
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def forward(self, perception: Tensor) -> Tensor:
        """Returns the change (n, C) for a perception (n, K·C), in its dtype; it is valid until the next call."""
        return propose(self.rule, perception, self.dtype)

    def backward(self, perception: Tensor, grad_delta: Tensor) -> Tensor:
        """Returns the gradient of a perception (n, K·C), given that of the change (n, C); it is valid until the next call."""
        with torch.enable_grad():
            perception = perception.detach().requires_grad_()
            change = propose(self.rule, perception, self.dtype)
        grad_perception, *grads = gradients([change], [grad_delta], [perception, *self.parameters])
        for total, part in zip(self.gradients, grads, strict=True):
            total += part
        return grad_perception


def linear_layers(rule: Rule) -> list[nn.Linear] | None:
    """Returns the linear layers of a rule whose update is that of `ConvRule`, no layer hooked into or replaced; else None."""
    if not isinstance(rule, ConvRule) or type(rule.network) is not nn.Sequential:
        return None
    if type(rule).update is not ConvRule.update or "update" in vars(rule):
        return None
    # A layer shared with something outside the rule would not be trained with it.
    own = {id(parameter) for parameter in rule.parameters()}
    modules = list(rule.network)
    for place, module in enumerate(modules):
        expected = nn.ReLU if place % 2 else nn.Linear
        if type(module) is not expected or any(id(p) not in own for p in module.parameters()):
            return None
    # Compiled code calls no hooks, and so must not run where somebody waits for one.
    if any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in rule.network.modules()):
        return None
    return [module for module in modules if isinstance(module, nn.Linear)] if len(modules) % 2 else None
