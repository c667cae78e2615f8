"""AdamW with a state of 8 bits (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"), by bitsandbytes.

What is added here: it works slice by slice on the CPU, so that its work space is small; it can move a part of a weight at a
time; and some weights keep a state of 32 bits. The numbers are bitsandbytes' own.
"""

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from nca3d.errors import InputError

# The state is quantised in blocks of so many numbers that follow one another.
BLOCK = 256
# How many numbers are worked on at once on the CPU: whole blocks, few enough for little work space.
SLICE = 1 << 18


def eight_bit(
    groups: list[dict[str, Any]], options: dict[str, Any], in_full: Collection[nn.Parameter] = (), paged: bool = False
) -> torch.optim.Optimizer:
    """Returns bitsandbytes' AdamW8bit, or PagedAdamW8bit, which keeps its state in host memory where the device is full.

    Args:
        groups: The groups of parameters, as any optimizer takes them.
        options: lr, betas, weight_decay.
        in_full: The parameters whose state has 32 bits.
        paged: Whether the state is paged.

    Raises:
        InputError: bitsandbytes is not installed, or paging is asked for without a CUDA device.
    """
    try:
        import bitsandbytes
    except ImportError as error:
        found = f"{'paged_' * paged}adamw8bit"
        raise InputError(
            "config", "optimizer", f"{found!r} without bitsandbytes", "adam, adamw; or pip install 'nca3d[gpu]'"
        ) from error
    if paged and not all(p.device.type == "cuda" for group in groups for p in group["params"]):
        raise InputError("config", "optimizer", "'paged_adamw8bit' on a CPU", "adamw8bit: pages move between device and host")
    kind = bitsandbytes.optim.PagedAdamW8bit if paged else bitsandbytes.optim.AdamW8bit
    optimizer: torch.optim.Optimizer = _in_parts(kind, {id(p) for p in in_full})(groups, **options)
    return optimizer


def _in_parts(optimizer: type[torch.optim.Optimizer], in_full: set[int]) -> type[torch.optim.Optimizer]:
    """Returns an 8-bit optimizer that can work part by part; the numbers are the same."""

    def get_config(self: torch.optim.Optimizer, gindex: int, pindex: int, group: dict[str, Any]) -> dict[str, Any]:
        config: dict[str, Any] = optimizer.get_config(self, gindex, pindex, group)  # type: ignore[attr-defined]
        # bitsandbytes has a manager for such overrides, which holds every parameter that it was ever told of.
        return config | ({"optim_bits": 32} if id(group["params"][pindex]) in in_full else {})

    def move_part(self: torch.optim.Optimizer, gindex: int, pindex: int, part: slice, grad: Tensor) -> None:
        """Moves a part of a weight; whoever has moved all parts counts the step (`state["step"]`)."""
        group = self.param_groups[gindex]
        p = group["params"][pindex]
        state = self.state[p]
        # A view: the optimizer moves the weight itself through it.
        view = nn.Parameter(p.detach().view(-1)[part])
        view.grad = grad
        own = {name: state[name].view(-1)[part] for name in ("state1", "state2")}
        if state["state1"].dtype == torch.uint8:
            blocks = slice(part.start // BLOCK, -(-part.stop // BLOCK))
            own |= {name: state[name][blocks] for name in ("absmax1", "absmax2")}
        self.state[view] = {**state, **own}
        optimizer.update_step(self, group, view, gindex, pindex)  # type: ignore[attr-defined]
        del self.state[view]

    def update_step(self: torch.optim.Optimizer, group: dict[str, Any], p: Tensor, gindex: int, pindex: int) -> None:
        state = self.state[p]
        if p.device.type != "cpu" or state["state1"].dtype != torch.uint8 or not (p.is_contiguous() and p.grad is not None):
            return optimizer.update_step(self, group, p, gindex, pindex)  # type: ignore[attr-defined]
        grad = p.grad.reshape(-1)
        for start in range(0, p.numel(), SLICE):
            part = slice(start, min(start + SLICE, p.numel()))
            self.move_part(gindex, pindex, part, grad[part])  # type: ignore[attr-defined]
        state["step"] += 1

    # Under the optimizer's own name: a checkpoint records it, and with or without parts it is the same optimizer.
    added = {"update_step": update_step, "get_config": get_config, "move_part": move_part}
    return type(optimizer.__name__, (optimizer,), {**added, "__module__": optimizer.__module__})
