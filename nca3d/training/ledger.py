"""What a run holds in memory, counted: parameters, gradients, optimizer state, what is kept for the backward pass, the pool."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from nca3d.training.trainer import Trainer


def held_bytes(trainer: "Trainer") -> dict[str, int]:
    """Returns how many bytes each part of a run holds, by name, as they are after its last iteration.

    `kept` is the most that was kept on the device for one backward pass, and `offloaded` what of that waited in host memory
    instead; both are 0 before the first iteration. Gradients of weights that move inside the backward pass never lie in memory.

    Args:
        trainer: the run.
    """
    rule, optimizer = trainer.rule, trainer.optimizer
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = (value for entry in optimizer.state.values() for value in entry.values() if isinstance(value, Tensor))
    pool = trainer.pool
    return {
        "parameters": _bytes([*rule.parameters(), *trainer.balance.parameters()]),
        "gradients": _bytes(p.grad for p in parameters if p.grad is not None),
        "optimizer": _bytes(state),
        "average": _bytes(trainer.average.values()),
        "kept": trainer.kept_bytes,
        "offloaded": trainer.moved_bytes,
        "pool": _bytes([pool.states, pool.seeds, pool.age]),
    }


def memory_figures(trainer: "Trainer") -> dict[str, Any]:
    """Returns `held_bytes` in MiB, with the bytes of optimizer state for each weight, for a report."""
    held = held_bytes(trainer)
    weights = sum(p.numel() for group in trainer.optimizer.param_groups for p in group["params"])
    figures: dict[str, Any] = {f"{name}_mib": round(size / 2**20, 3) for name, size in held.items()}
    return figures | {"optimizer_bytes_a_weight": round(held["optimizer"] / max(1, weights), 3)}


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of some tensors, memory that several of them share counted once."""
    places = {(t.untyped_storage().data_ptr(), t.nbytes): t.nbytes for t in tensors}
    return sum(places.values())
