"""The update network of a rule on rows of perceptions, forward and backward; shared by `dense` and `event`.

Hidden layers are computed again on the way back: they are the largest tensors of a step, and a matrix product is cheap.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nca3d.rules.cell import Rule
from nca3d.rules.conv import ConvRule

# The number of rows that go through the network at once: their hidden layers stay in the processor's cache, and a matrix
# product of so many rows runs at full speed.
ROWS = 4096

# Matrix products take at most so many rows side by side.
ROW_MULTIPLE = 16


def pad_rows(rows: Tensor) -> Tensor:
    """Pads rows (n,) or (n, …) by repeating the last one until their number is a multiple of `ROW_MULTIPLE`.

    The caller drops the rows that were added.
    """
    # Libraries compute the rows left over at the end of a matrix by other instructions, in another order: without this, a
    # cell's bits would depend on how many cells fire anywhere else (law 3).
    return torch.cat([rows, rows[-1:].expand(-len(rows) % ROW_MULTIPLE)])


def trainable_parameters(rule: Rule) -> list[nn.Parameter]:
    """Returns the parameters that need a gradient, in the order in which executors pass them to autograd."""
    return [parameter for parameter in rule.parameters() if parameter.requires_grad]


def network_dtype(values: Tensor) -> torch.dtype | None:
    """Returns the dtype that autocast asks of a network beside states (N, C), or None where it is off."""
    device = values.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def unknown_arithmetic(values: Tensor) -> str:
    """Returns why compiled code can't compute in the dtype that autocast asks for beside states (N, C), or ""."""
    dtype = network_dtype(values)
    if dtype is None or (dtype == torch.bfloat16 and values.dtype == torch.float32):
        return ""
    return f"is to compute in {dtype} with a state in {values.dtype}, where compiled code knows bfloat16 with float32".replace(
        "torch.", ""
    )


def gradients(outputs: Sequence[Tensor], grad_outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Returns the gradients of some outputs with respect to some inputs, each of the input's shape (…,).

    Args:
        outputs: The outputs, of any shape.
        grad_outputs: The gradient of each, of its shape.
        inputs: The tensors that they were computed from.
    """
    # Zeros where no output depends on an input: an optimizer treats a missing gradient in another way than one of zero.
    return torch.autograd.grad(outputs, inputs, grad_outputs, allow_unused=True, materialize_grads=True)


def add_kernel_gradients(rule: Rule, grads: list[Tensor], grad_kernels: Sequence[Tensor]) -> list[Tensor]:
    """Returns the gradients of a rule's parameters with those added that reach them through learned kernels.

    Args:
        rule: The rule that the parameters and kernels belong to.
        grads: The gradient of each trainable parameter, of its shape.
        grad_kernels: The gradients of the kernels but the identity, (C, 3, 3, 3) each.
    """
    # Kernels may be any function of parameters: autograd takes it from there.
    with torch.enable_grad():
        kernels = [kernel.expand(rule.channels, 3, 3, 3) for kernel in rule.kernels() if kernel is not None]
    learned = [pair for pair in zip(kernels, grad_kernels, strict=True) if pair[0].requires_grad]
    if not learned:
        return grads
    through = gradients([kernel for kernel, _ in learned], [grad for _, grad in learned], trainable_parameters(rule))
    return [a + b for a, b in zip(grads, through, strict=True)]


def propose(rule: Rule, perception: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Returns the change (n, C) that cells propose for a perception, in the dtype of the perception.

    Args:
        rule: The rule that the network belongs to.
        perception: What the cells perceive, (n, K·C).
        dtype: The dtype that the network computes in; None = that of the perception.
    """
    with torch.autocast(perception.device.type, dtype=dtype, enabled=dtype is not None):
        change = rule.update(perception)
    return change.to(perception.dtype)


class Network:
    """The update network of any rule, run by autograd.

    Args:
        rule: The rule that the network belongs to.
        dtype: The dtype that the network computes in; None = that of the state.

    Attributes:
        gradients: The gradient of each trainable parameter, of its shape, summed over calls of `backward` since `clear`.
    """

    def __init__(self, rule: Rule, dtype: torch.dtype | None) -> None:
        self.rule, self.dtype = rule, dtype
        self.parameters = trainable_parameters(rule)
        self.gradients: list[Tensor] = []

    def clear(self) -> None:
        """Starts a new sum of the parameters' gradients."""
        # New tensors: autograd may hold the old ones.
        self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def forward(self, perception: Tensor) -> Tensor:
        """Returns the change (n, C) for a perception (n, K·C), in its dtype."""
        return propose(self.rule, perception, self.dtype)

    def backward(self, perception: Tensor, grad_delta: Tensor) -> Tensor:
        """Returns the gradient of a perception (n, K·C), from the gradient of the change (n, C), and adds to `gradients`."""
        with torch.enable_grad():
            perception = perception.detach().requires_grad_()
            change = propose(self.rule, perception, self.dtype)
        grad_perception, *grads = gradients([change], [grad_delta], [perception, *self.parameters])
        for total, part in zip(self.gradients, grads, strict=True):
            total += part
        return grad_perception


def linear_layers(rule: Rule) -> list[nn.Linear] | None:
    """Returns the linear layers of a rule whose update is plainly that of `ConvRule`; None for any other update."""
    if not isinstance(rule, ConvRule) or type(rule.network) is not nn.Sequential:
        return None
    if type(rule).update is not ConvRule.update or "update" in vars(rule):
        return None
    # A layer that is no parameter of the rule would get no gradient here.
    own = {id(parameter) for parameter in rule.parameters()}
    modules = list(rule.network)
    for place, module in enumerate(modules):
        expected = nn.ReLU if place % 2 else nn.Linear
        if type(module) is not expected or any(id(p) not in own for p in module.parameters()):
            return None
    # Compiled code calls no hooks, so it must not run where someone has set one.
    if any(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks for module in rule.network.modules()):
        return None
    return [module for module in modules if isinstance(module, nn.Linear)] if len(modules) % 2 else None
