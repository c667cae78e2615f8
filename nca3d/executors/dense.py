"""The executor `dense`, the reference for the others: steps over the whole lattice, with their own backward pass.

Choose it where most cells live and there is no compiled code (a GPU), or to compare another executor with it. Its cost is that
of every cell, whether it lives or not.

It computes what `Rule.forward` says, cell for cell, and leaves out only what can't matter:

* the update network runs on cells that fire and are alive before the step; the others keep their state or die;
* a firing cell just outside (the ring) can matter in one way: its alpha may keep a living neighbour alive. So the alpha of ring
  cells is computed, without gradient (a mask has none), and only where a living cell's `post` is still open.

The backward pass is written out because autograd would keep every intermediate result: here a step saves the perceptions of its
firing cells, and computes the network's hidden layers again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv3d_weight

from nca3d.executors import every_cell
from nca3d.executors.arithmetic import full_float32
from nca3d.executors.every_cell import AT_FIRST, Clock, stepper_of
from nca3d.executors.network import add_kernel_gradients, gradients, network_dtype, pad_rows, propose, trainable_parameters
from nca3d.executors.torch_compile import step_of
from nca3d.lattice import dilate
from nca3d.rules.cell import Rule


def run(rule: Rule, state: Tensor, fire: Tensor, clock: Clock = AT_FIRST) -> Tensor:
    """Runs several steps of every cell.

    Args:
        rule: What one cell does.
        state: The first state, float (B, D, H, W, C), contiguous.
        fire: The cells that update in each of the T steps, bool (T, B, D, H, W).
        clock: The number and the draws of the first step, for rules that ask for them.

    Returns:
        The last state, (B, D, H, W, C).
    """
    if own := stepper_of(rule):
        return own.runs["dense"](rule, state, fire, clock)
    # A step that the rule wrote itself is run as it is written or compiled, with autograd's own backward pass.
    if rule.has_own_step():
        state, step = state.movedim(-1, 1), step_of(rule)
        for fire_now in fire:
            state = step(state, fire_now[:, None])
        return state.movedim(1, -1).contiguous()
    # A mask has no gradient. Each step returns the mask of the next one, so that it is computed once.
    pre = alive_mask(rule, state.detach())
    for fire_now in fire:
        state, pre = _Step.apply(rule, state, pre, fire_now, *trainable_parameters(rule))
    return state


def step_bytes(rule: Rule, state: Tensor) -> int:
    """Returns how many bytes one step of a state (B, C, D, H, W) saves for its backward pass."""
    own = stepper_of(rule)
    return own.step_bytes(rule, state) if own else every_cell.step_bytes(rule, state)


def alive_mask(rule: Rule, state: Tensor) -> Tensor:
    """Returns `Rule.alive_mask` of a state with channels last, (B, D, H, W, C), as bool (B, D, H, W)."""
    if rule.alive_threshold is None:
        return torch.ones_like(state[..., 0], dtype=torch.bool)
    return dilate(state[..., rule.alpha] > rule.alive_threshold, circular=rule.padding == "circular")


class _Step(torch.autograd.Function):
    """One step: takes a state (B, D, H, W, C) and which cells are alive, bool (B, D, H, W), and returns both after it."""

    @staticmethod
    def forward(ctx: Any, rule: Rule, state: Tensor, pre: Tensor, fire: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        ctx.network_dtype = network_dtype(state)
        # Only the network may compute in fewer bits.
        with torch.autocast(state.device.type, enabled=False), full_float32(state.device):
            fields = _perceive(rule, state)
            # Other cells keep their state or die, whatever the network proposes: it need not run on them.
            rows = _rows(pre & fire)
            perception = _at(fields, pad_rows(rows))
            # A copy: the state before the step belongs to autograd.
            y = state.clone(memory_format=torch.contiguous_format)
            y.view(-1, rule.channels).index_add_(0, rows, _delta(rule, perception, ctx.network_dtype)[: len(rows)])

            near = alive_mask(rule, y)
            post = near
            # They were alive, and nothing around them is above the threshold: only the ring can still keep them alive.
            undecided = pre & ~near
            if undecided.any():
                post = near | _near_ring(rule, fields, y, pre, undecided, fire, ctx.network_dtype)
        alive = pre & post

        ctx.rule = rule
        # Gradients of learned kernels need the whole state; all others only the perceptions.
        ctx.save_for_backward(state if rule.learns_kernels else None, rows, perception, alive)
        ctx.mark_non_differentiable(near)
        # `near` is the next step's `pre`: a cell above the threshold was alive before, so it stays; the ring dies.
        return _where(alive, y, rule.dead_value), near

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        rule: Rule = ctx.rule
        state, rows, perception, alive = ctx.saved_tensors
        grad_state = _where(alive, gradient.contiguous(), 0.0)

        with torch.enable_grad():
            perception = perception.detach().requires_grad_()
            # Hidden layers are computed again: they are the largest tensors of a step.
            delta = _delta(rule, perception, ctx.network_dtype)[: len(rows)]
        grad_delta = grad_state.view(-1, rule.channels).index_select(0, rows)
        grad_perception, *grad_parameters = gradients([delta], [grad_delta], [perception, *trainable_parameters(rule)])
        grad_perception = grad_perception[: len(rows)]

        with full_float32(gradient.device):
            _perceive_backward(rule, rows, grad_perception, grad_state)
            if state is not None:
                grad_kernels = _grad_kernels(rule, state, rows, grad_perception)
                grad_parameters = add_kernel_gradients(rule, grad_parameters, grad_kernels)
        return None, grad_state, None, None, *grad_parameters


def _perceive(rule: Rule, state: Tensor) -> list[Tensor]:
    """Returns the perceptions of all cells, kernel by kernel, each as rows (B·D·H·W, C)."""
    image, border = _padded(rule, state)
    fields = []
    for kernel in rule.kernels():
        field = state
        if kernel is not None:
            # One convolution for each kernel: three with C outputs take a fifth of the time of one with 3·C.
            field = F.conv3d(image, _depthwise(rule, kernel), padding=border, groups=rule.channels).permute(0, 2, 3, 4, 1)
        fields.append(field.reshape(-1, rule.channels))
    return fields


def _perceive_backward(rule: Rule, rows: Tensor, grad_perception: Tensor, grad_state: Tensor) -> None:
    """Adds the gradient that reaches cells through perceptions to `grad_state` (B, D, H, W, C): the adjoint of `_perceive`."""
    zeros = rule.padding == "zeros"
    for kernel, grad_field in zip(rule.kernels(), grad_perception.split(rule.channels, dim=1), strict=True):
        if kernel is None:
            grad_state.view(-1, rule.channels).index_add_(0, rows, grad_field)
            continue
        # The adjoint of a correlation is the correlation with the mirrored kernel.
        mirrored = _depthwise(rule, kernel.flip(-1, -2, -3))
        field = _field(grad_field, rows, grad_state)
        grad_image = F.conv3d(field, mirrored, padding=1 if zeros else 2, groups=rule.channels)
        if not zeros:
            grad_image = _pad_backward(rule, grad_image, field.shape)
        grad_state += grad_image.permute(0, 2, 3, 4, 1)


def _grad_kernels(rule: Rule, state: Tensor, rows: Tensor, grad_perception: Tensor) -> list[Tensor]:
    """Returns the gradients of the kernels that are not the identity, (C, 3, 3, 3) each."""
    image, border = _padded(rule, state)
    wide, channels = (rule.channels, 1, 3, 3, 3), rule.channels
    return [
        conv3d_weight(image, wide, _field(grad_field, rows, state), padding=border, groups=channels)[:, 0]
        for kernel, grad_field in zip(rule.kernels(), grad_perception.split(channels, dim=1), strict=True)
        if kernel is not None
    ]


def _field(at_rows: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    """Returns rows in their places of a field (B, C, D, H, W), zero elsewhere; `like` is a state (B, D, H, W, C)."""
    flat = at_rows.new_zeros(like[..., 0].numel(), like.shape[-1])
    return flat.index_copy_(0, rows, at_rows).view_as(like).permute(0, 4, 1, 2, 3)


def _padded(rule: Rule, state: Tensor) -> tuple[Tensor, int]:
    """Returns the state as an image (B, C, …), channels last in memory, and the width of the border of zeros still to add."""
    image = state.permute(0, 4, 1, 2, 3)
    if rule.padding == "zeros":
        return image, 1  # convolutions add zeros by themselves, without a copy
    return rule.pad(image).contiguous(memory_format=torch.channels_last_3d), 0


def _pad_backward(rule: Rule, padded: Tensor, shape: torch.Size) -> Tensor:
    """Returns the gradient of an image from that of the padded one: cells get back that of their copies in the border."""
    with torch.enable_grad():
        image = torch.zeros(shape, dtype=padded.dtype, device=padded.device, requires_grad=True)
        return torch.autograd.grad(rule.pad(image), image, padded)[0]


def _depthwise(rule: Rule, kernel: Tensor) -> Tensor:
    """Returns a kernel as the weight of a convolution of each channel by itself, (C, 1, 3, 3, 3)."""
    return kernel.expand(rule.channels, 3, 3, 3)[:, None]


def _rows(mask: Tensor) -> Tensor:
    """Returns the flat indices of marked cells, (n,)."""
    return mask.flatten().nonzero().squeeze(1)


def _at(fields: list[Tensor], rows: Tensor) -> Tensor:
    """Returns the perception (n, K·C) of some cells from the fields of all."""
    return torch.cat([field.index_select(0, rows) for field in fields], dim=1)


def _delta(rule: Rule, perception: Tensor, network_dtype: torch.dtype | None) -> Tensor:
    """Returns what is added to cells with this perception; the network may compute in fewer bits than the state."""
    return rule.step_size * propose(rule, perception, network_dtype)


def _near_ring(
    rule: Rule,
    fields: list[Tensor],
    y: Tensor,
    pre: Tensor,
    undecided: Tensor,
    fire: Tensor,
    network_dtype: torch.dtype | None,
) -> Tensor:
    """Returns which cells touch a ring cell whose alpha is above the threshold after its update, bool (B, D, H, W)."""
    circular = rule.padding == "circular"
    ring = dilate(undecided, circular) & ~pre & fire
    alpha = y[..., rule.alpha].flatten()
    rows = _rows(ring)
    delta = _delta(rule, _at(fields, pad_rows(rows)), network_dtype)
    # Only the alpha of a ring cell matters: the cell dies in this step, whatever it proposes, since it was not alive before.
    alpha.index_add_(0, rows, delta[: len(rows), rule.alpha])
    return dilate((alpha.view_as(ring) > rule.threshold) & ring, circular)


def _where(alive: Tensor, cells: Tensor, dead_value: float) -> Tensor:
    """Returns `torch.where(alive, cells, dead_value)` for a mask without the channels, bool (B, D, H, W)."""
    # A dead value of 0 is a number without bits: a bitwise and does the same, NaN included, in a tenth of the time.
    if dead_value != 0.0:
        return torch.where(alive[..., None], cells, dead_value)
    integer = _INTEGERS[cells.element_size()]
    return (cells.view(integer) & -alive.to(integer)[..., None]).view(cells.dtype)


# Integers of as many bytes as a number of the state.
_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
